// Numbers are read by std::from_chars, which knows no locale. A row with the wrong number of cells
// is one fault; its cells are not looked at.

#include "hw_models/csv_table.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

namespace fleetsim {

namespace {
constexpr std::int64_t kFaultsShown = 20;
}

FileFaults::~FileFaults() {
  if (count_ > kFaultsShown) {
    problems_.add(file_, {std::numeric_limits<int>::max(), 1},
                  fmt::format("{} more faults in this file are not shown", count_ - kFaultsShown));
  }
}

void FileFaults::add(int line, int column, const std::string& message) {
  if (++count_ <= kFaultsShown) problems_.add(file_, {line, column}, message);
}

std::string in_quotes(std::string_view text) {
  std::string word = "'";
  for (const char c : text.substr(0, 40)) word += c >= ' ' && c <= '~' ? c : '?';
  return word + (text.size() > 40 ? "…'" : "'");
}

std::string joined(const std::vector<std::string>& words) {
  std::string list;
  for (const std::string& word : words) list += (list.empty() ? "" : ", ") + word;
  return list;
}

CsvTable::CsvTable(const std::string& path, std::vector<CsvColumn> columns, Others others,
                   Problems& problems)
    : text_(path), faults_(path, problems), columns_(std::move(columns)) {
  read_header(others);
}

void CsvTable::split(std::string_view line) {
  cells_.clear();
  starts_.clear();
  std::size_t start = 0;
  for (;;) {
    const std::size_t comma = line.find(',', start);
    starts_.push_back(static_cast<int>(start) + 1);
    cells_.push_back(line.substr(start, comma == std::string_view::npos ? comma : comma - start));
    if (comma == std::string_view::npos) return;
    start = comma + 1;
  }
}

void CsvTable::read_header(Others others) {
  std::vector<std::string> known, required;
  for (const CsvColumn& column : columns_) {
    known.push_back(column.name);
    if (column.required) required.push_back(column.name);
  }
  place_.assign(columns_.size(), -1);
  std::string_view line;
  if (!text_.next_line(line)) {
    faults_.add(1, 1, "file is empty; expected a header with " + joined(required));
    return;
  }
  split(line);
  header_cells_ = cells_.size();
  for (std::size_t i = 0; i < cells_.size(); ++i) {
    const std::string name(cells_[i]);
    std::size_t column = 0;
    while (column < known.size() && known[column] != name) ++column;
    if (column == known.size()) {
      if (others == Others::allowed) continue;
      const std::string hint = nearest_word(name, known);
      faults_.add(1, starts_[i],
                  "unknown column " + in_quotes(name) +
                      (hint.empty() ? " (known: " + joined(known) + ")"
                                    : "; did you mean '" + hint + "'?"));
    } else if (place_[column] >= 0) {
      faults_.add(1, starts_[i], "column '" + name + "' occurs twice");
    } else {
      place_[column] = static_cast<int>(i);
    }
  }
  for (std::size_t column = 0; column < columns_.size(); ++column) {
    if (columns_[column].required && place_[column] < 0) {
      faults_.add(1, 1, "column '" + columns_[column].name + "' is missing from the header");
    }
  }
  header_good_ = faults_.count() == 0;
}

bool CsvTable::next_row() {
  if (!header_good_) return false;
  std::string_view line;
  int empty_line = 0;
  while (text_.next_line(line)) {
    if (line.empty()) {  // allowed at the end only
      if (empty_line == 0) empty_line = text_.line_number();
      continue;
    }
    if (empty_line > 0) faults_.add(empty_line, 1, "row is empty");
    empty_line = 0;
    split(line);
    if (cells_.size() == header_cells_) return true;
    const std::size_t extra = header_cells_ < cells_.size() ? header_cells_ : cells_.size() - 1;
    faults_.add(
        text_.line_number(), starts_[extra],
        fmt::format("row has {} cells where the header has {}", cells_.size(), header_cells_));
  }
  if (text_.line_number() == 1) faults_.add(1, 1, "file has a header and no rows");
  return false;
}

std::string_view CsvTable::cell(std::size_t column) const {
  const int place = place_[column];
  return place < 0 ? std::string_view() : cells_[static_cast<std::size_t>(place)];
}

void CsvTable::fault(std::size_t column, const std::string& message) {
  const int place = place_[column];
  faults_.add(text_.line_number(), place < 0 ? 1 : starts_[static_cast<std::size_t>(place)],
              message);
}

std::optional<std::int64_t> CsvTable::whole(std::size_t column, std::int64_t min,
                                            std::int64_t max) {
  const std::string_view text = cell(column);
  const std::string& name = columns_[column].name;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error == std::errc::invalid_argument || end != text.data() + text.size()) {
    fault(column, fmt::format("{} must be a whole number, not {}", name, in_quotes(text)));
    return std::nullopt;
  }
  if (error == std::errc::result_out_of_range || value < min || value > max) {
    fault(column,
          fmt::format("{} must be between {} and {}, but is {}", name, min, max, in_quotes(text)));
    return std::nullopt;
  }
  return value;
}

std::optional<std::int32_t> CsvTable::tokens(std::size_t column, std::int32_t min) {
  const auto value = whole(column, min, std::numeric_limits<std::int32_t>::max());
  if (!value) return std::nullopt;
  return static_cast<std::int32_t>(*value);
}

std::optional<double> CsvTable::seconds(std::size_t column) {
  const std::string_view text = cell(column);
  const std::string& name = columns_[column].name;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() ||
      !std::isfinite(value)) {
    fault(column, fmt::format("{} must be a number of seconds, not {}", name, in_quotes(text)));
    return std::nullopt;
  }
  if (value < 0 || value > 3.0e9) {  // 95 years: inside SimTime with room to spare
    fault(column, fmt::format("{} must be between 0 and 3e9 s, but is {}", name, in_quotes(text)));
    return std::nullopt;
  }
  return value;
}

std::optional<double> CsvTable::positive(std::size_t column) {
  const std::string_view text = cell(column);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() ||
      !std::isfinite(value) || value <= 0) {
    fault(column, fmt::format("{} must be a number above 0, not {}", columns_[column].name,
                              in_quotes(text)));
    return std::nullopt;
  }
  return value;
}

}  // namespace fleetsim
