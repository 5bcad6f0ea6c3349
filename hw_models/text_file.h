#pragma once
// A text file read line by line, plain or gzip-compressed: the one door to files of traces, laws
// and measurements.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace fleetsim {

/// Lines of a file; names that end in .gz are decompressed on the way.
/// LF and CRLF end a line, the last one may lack both; a UTF-8 byte order mark is skipped.
/// Errors: ConfigError that names the file (and line) when it cannot be read, is truncated or
/// corrupt
///         gzip, has a line above 1 MB or holds a NUL byte.
class TextFile {
 public:
  explicit TextFile(std::string path);
  ~TextFile();
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;

  /// Moves to the next line; false at the end. The view is valid until the next call.
  bool next_line(std::string_view& line);
  /// Number of the last line, from 1.
  int line_number() const { return line_number_; }
  const std::string& path() const { return path_; }

 private:
  struct Bytes;
  [[noreturn]] void fail(int line, int column, const std::string& message) const;
  bool refill();

  std::string path_;
  std::unique_ptr<Bytes> bytes_;
  std::string_view chunk_;  // decompressed bytes not yet given out
  std::string line_;        // a line that spans chunks
  int line_number_ = 0;
};

}  // namespace fleetsim
