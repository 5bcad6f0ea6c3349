#pragma once
// A CSV file with a header line, read row by row; every fault names file, row and column.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hw_models/problems.h"
#include "hw_models/text_file.h"

namespace fleetsim {

/// A limited flow of faults from one file: the first 20 are reported, the rest are counted, so that
/// a file in a wrong format does not print a million lines.
class FileFaults {
 public:
  FileFaults(std::string file, Problems& problems) : file_(std::move(file)), problems_(problems) {}
  /// Reports how many were left out, if any.
  ~FileFaults();
  FileFaults(const FileFaults&) = delete;
  FileFaults& operator=(const FileFaults&) = delete;

  void add(int line, int column, const std::string& message);
  std::int64_t count() const { return count_; }

 private:
  std::string file_;
  Problems& problems_;
  std::int64_t count_ = 0;
};

/// A column that a format knows.
struct CsvColumn {
  std::string name;
  bool required = true;
};

/// Rows of a CSV file without quoting, as public traces and measurements are written. Columns may
/// stand in any order; unknown ones are faults unless `others_allowed`. Errors: faults go to
/// `problems`; ConfigError from TextFile when the file itself is unreadable.
class CsvTable {
 public:
  enum class Others { refused, allowed };
  CsvTable(const std::string& path, std::vector<CsvColumn> columns, Others others,
           Problems& problems);

  /// Moves to the next row that has the right number of cells; false at the end or after a bad
  /// header.
  bool next_row();
  /// Whether the file has the column, by its place in `columns`.
  bool has(std::size_t column) const { return place_[column] >= 0; }
  /// The cell of the current row; empty when the file lacks the column.
  std::string_view cell(std::size_t column) const;
  /// The cell as a whole number in [min, max] or a fault and nothing.
  std::optional<std::int64_t> whole(std::size_t column, std::int64_t min, std::int64_t max);
  /// The cell as a count of tokens, `min` (0 or 1) to 2^31-1, or a fault and nothing.
  std::optional<std::int32_t> tokens(std::size_t column, std::int32_t min);
  /// The cell as a finite number of seconds, 0 or more, or a fault and nothing.
  std::optional<double> seconds(std::size_t column);
  /// The cell as a finite number above 0, or a fault and nothing.
  std::optional<double> positive(std::size_t column);
  /// A fault in a cell of the current row.
  void fault(std::size_t column, const std::string& message);

  int line_number() const { return text_.line_number(); }
  const std::string& path() const { return text_.path(); }
  bool faulty() const { return faults_.count() > 0; }

 private:
  void read_header(Others others);
  void split(std::string_view line);

  TextFile text_;
  FileFaults faults_;
  std::vector<CsvColumn> columns_;
  std::vector<int> place_;  // of each known column among the cells, -1: absent
  std::size_t header_cells_ = 0;
  bool header_good_ = false;
  std::vector<std::string_view> cells_;
  std::vector<int> starts_;  // column of each cell's first character, from 1
};

/// `text` for a message: cut to 40 bytes, bytes outside printable ASCII as '?'.
std::string in_quotes(std::string_view text);
/// "arrival_s, prompt_tokens, output_tokens".
std::string joined(const std::vector<std::string>& words);

}  // namespace fleetsim
