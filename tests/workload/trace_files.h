#pragma once
// Files for workload tests: temporary ones, the project's synthetic traces, and the public ones.

#include <unistd.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "hw_models/problems.h"

namespace fleetsim::test {

/// A file that lives as long as the object; names that end in .gz are compressed.
class TemporaryFile {
 public:
  TemporaryFile(const std::string& name, const std::string& content) {
    static int number = 0;
    folder_ = std::filesystem::temp_directory_path() /
              ("fleetsim-test-" + std::to_string(::getpid()) + "-" + std::to_string(++number));
    std::filesystem::create_directories(folder_);
    path_ = (folder_ / name).string();
    std::ofstream(path_, std::ios::binary)
        << (name.size() > 3 && name.substr(name.size() - 3) == ".gz" ? gzip(content) : content);
  }
  ~TemporaryFile() { std::filesystem::remove_all(folder_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& path() const { return path_; }
  /// `text` with the path of the file shortened to its name.
  std::string shorten(std::string text) const {
    const std::string prefix = folder_.string() + "/";
    for (std::size_t at; (at = text.find(prefix)) != std::string::npos;)
      text.erase(at, prefix.size());
    return text;
  }

  static std::string gzip(const std::string& content) {
    z_stream stream{};
    deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    std::string packed(deflateBound(&stream, content.size()) + 64, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
    stream.avail_in = static_cast<uInt>(content.size());
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    deflate(&stream, Z_FINISH);
    packed.resize(stream.total_out);
    deflateEnd(&stream);
    return packed;
  }

 private:
  std::filesystem::path folder_;
  std::string path_;
};

/// A file that comes with the project.
inline std::string project_file(const std::string& path) {
  return std::string(FLEETSIM_SOURCE_DIR) + "/" + path;
}

/// A file of the public data sets, or nothing where they are absent.
inline std::optional<std::string> public_file(const std::string& path) {
  const char* folder = std::getenv("FLEETSIM_DATA");
  const std::string file =
      (folder != nullptr ? std::string(folder) : project_file("../shared/data")) + "/" + path;
  if (!std::filesystem::exists(file)) return std::nullopt;
  return file;
}

}  // namespace fleetsim::test
