// Files come in chunks of 256 KiB, through zlib's inflate when the name ends in .gz. zlib is driven
// directly because its file layer takes a truncated or foreign file for plain text without a word.
// Several gzip members one after another are one file, as gunzip has it.

#include "hw_models/text_file.h"

#include <zlib.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <vector>

#include "hw_models/check.h"
#include "hw_models/problems.h"

namespace fleetsim {

namespace {

constexpr std::size_t kChunkBytes = 256 * 1024;
constexpr std::size_t kLineBytes = 1'000'000;

bool ends_in_gz(const std::string& path) {
  return path.size() > 3 && path.compare(path.size() - 3, 3, ".gz") == 0;
}

}  // namespace

/// The file and, for gzip, the state of its decompression.
struct TextFile::Bytes {
  std::FILE* file = nullptr;
  bool compressed = false;
  bool inside_member = false;  // of a gzip file: between its header and its checksum
  bool any_member = false;
  bool corrupt = false;  // found so; what came before it is still given out
  z_stream stream{};
  std::vector<char> input = std::vector<char>(kChunkBytes);
  std::vector<char> output = std::vector<char>(kChunkBytes);

  ~Bytes() {
    if (compressed) inflateEnd(&stream);
    if (file != nullptr) std::fclose(file);
  }
};

TextFile::TextFile(std::string path) : path_(std::move(path)), bytes_(std::make_unique<Bytes>()) {
  bytes_->file = std::fopen(path_.c_str(), "rb");
  if (bytes_->file == nullptr) {
    fail(0, 0, "cannot be opened: " + std::generic_category().message(errno));
  }
  if (ends_in_gz(path_)) {
    CHECK(inflateInit2(&bytes_->stream, 15 + 16) == Z_OK, "zlib could not start");
    bytes_->compressed = true;
  }
}

TextFile::~TextFile() = default;

void TextFile::fail(int line, int column, const std::string& message) const {
  Problems problems;
  problems.add(path_, {line, column}, message);
  throw ConfigError(problems);
}

/// Puts the next decompressed bytes into chunk_; false at the end of the file.
bool TextFile::refill() {
  Bytes& bytes = *bytes_;
  const auto read = [&](std::vector<char>& into) {
    errno = 0;
    const std::size_t count = std::fread(into.data(), 1, into.size(), bytes.file);
    if (std::ferror(bytes.file) != 0) {
      fail(0, 0, "cannot be read: " + std::generic_category().message(errno));
    }
    return count;
  };
  if (!bytes.compressed) {
    chunk_ = {bytes.output.data(), read(bytes.output)};
    return !chunk_.empty();
  }
  z_stream& stream = bytes.stream;
  for (;;) {
    if (bytes.corrupt) {
      // A header that is wrong from the first byte is another format rather than damage.
      if (!bytes.any_member && stream.total_out == 0) {
        fail(0, 0, "is not gzip data although its name ends in .gz, or is corrupt from the start");
      }
      fail(0, 0, "gzip data is corrupt after line " + std::to_string(line_number_));
    }
    if (stream.avail_in == 0) {
      stream.avail_in = static_cast<uInt>(read(bytes.input));
      stream.next_in = reinterpret_cast<Bytef*>(bytes.input.data());
    }
    if (stream.avail_in == 0 && !bytes.inside_member) {
      if (!bytes.any_member) fail(0, 0, "is not gzip data although its name ends in .gz");
      return false;
    }
    const bool at_end_of_file = stream.avail_in == 0;
    bytes.inside_member = true;
    stream.next_out = reinterpret_cast<Bytef*>(bytes.output.data());
    stream.avail_out = static_cast<uInt>(bytes.output.size());
    const int status = inflate(&stream, Z_NO_FLUSH);
    chunk_ = {bytes.output.data(), bytes.output.size() - stream.avail_out};
    if (status == Z_STREAM_END) {
      bytes.inside_member = false;
      bytes.any_member = true;
      CHECK(inflateReset(&stream) == Z_OK);
    } else if (status == Z_DATA_ERROR || status == Z_NEED_DICT) {
      bytes.corrupt = true;
    } else if (chunk_.empty() && at_end_of_file) {
      fail(0, 0,
           "gzip data ends too early, after line " + std::to_string(line_number_) +
               "; the file is truncated");
    } else {
      CHECK(status == Z_OK || status == Z_BUF_ERROR, "inflate: " + std::to_string(status));
    }
    if (!chunk_.empty()) return true;
  }
}

bool TextFile::next_line(std::string_view& line) {
  line_.clear();
  bool spans_chunks = false;
  for (;;) {
    if (chunk_.empty() && !refill()) {
      if (!spans_chunks) return false;
      line = line_;
      break;
    }
    const std::size_t end = chunk_.find('\n');
    const std::string_view part = chunk_.substr(0, end);
    if (line_.size() + part.size() > kLineBytes) {
      fail(line_number_ + 1, 1, "line is longer than 1 MB; is this a text file?");
    }
    if (end == std::string_view::npos || spans_chunks) {
      line_.append(part);
      spans_chunks = true;
      line = line_;
    } else {
      line = part;
    }
    chunk_.remove_prefix(end == std::string_view::npos ? chunk_.size() : end + 1);
    if (end != std::string_view::npos) break;
  }
  ++line_number_;
  const std::size_t nul = line.find('\0');
  if (nul != std::string_view::npos) {
    fail(line_number_, static_cast<int>(nul) + 1, "line holds a NUL byte; is this a text file?");
  }
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (line_number_ == 1 && line.substr(0, 3) == "\xEF\xBB\xBF") line.remove_prefix(3);
  return true;
}

}  // namespace fleetsim
