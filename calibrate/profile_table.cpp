// Cells are split by RFC 4180 without line ends inside quotes. Values go through make_point, the
// rules of job lines and grid.

#include "calibrate/profile_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string_view>

#include "hw_models/yaml_reader.h"
#include "kernels/measure/profile_writer.h"

namespace fleetsim {
namespace {

using kernels::L2State;
using kernels::MeasuredRow;
using kernels::OperatorAxes;
using kernels::Point;

constexpr std::size_t kFaultsShown = 20;

struct Cell {
  std::string text;
  int column = 1;  // of its first character
};

class TableReader {
 public:
  TableReader(const std::string& file, const OperatorAxes& family, Problems& problems)
      : file_(file), family_(family), problems_(problems) {
    columns_ = {"op"};
    for (const kernels::Axis& axis : family.axes) columns_.push_back(axis.name);
    columns_.insert(columns_.end(), kernels::result_columns().begin(),
                    kernels::result_columns().end());
  }

  std::vector<TableRow> read(std::string_view text) {
    std::vector<TableRow> rows;
    if (text.empty()) fault(1, 1, "the file is empty; a header is expected");
    if (!text.empty() && text.back() != '\n')
      fault(last_line(text), 1, "the last line does not end: the file was cut off");
    for (line_ = 1; !text.empty(); ++line_) {
      const std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(line.size() + 1, text.size()));
      if (line_ == 1) {
        if (!header_is_sound(line)) break;
        continue;
      }
      if (auto row = read_row(line)) rows.push_back(*std::move(row));
    }
    if (faults_ > kFaultsShown)
      problems_.add(
          file_, {std::numeric_limits<int>::max(), 1},
          fmt::format("{} more faults in this file are not shown", faults_ - kFaultsShown));
    return rows;
  }

 private:
  static int last_line(std::string_view text) {
    return 1 + static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  }
  void fault(int line, int column, std::string message) {
    if (++faults_ <= kFaultsShown) problems_.add(file_, {line, column}, std::move(message));
  }

  /// nullopt, with a fault, when quotes are wrong.
  std::optional<std::vector<Cell>> split(std::string_view line) {
    std::vector<Cell> cells;
    for (std::size_t at = 0;;) {
      Cell cell{"", static_cast<int>(at) + 1};
      if (at < line.size() && line[at] == '"') {
        for (++at;; ++at) {
          if (at >= line.size()) {
            fault(line_, cell.column, "the quote is never closed");
            return std::nullopt;
          }
          if (line[at] != '"') {
            cell.text += line[at];
          } else if (at + 1 < line.size() && line[at + 1] == '"') {
            cell.text += line[++at];
          } else {
            break;
          }
        }
        ++at;
      } else {
        while (at < line.size() && line[at] != ',' && line[at] != '"') cell.text += line[at++];
      }
      cells.push_back(std::move(cell));
      if (at >= line.size()) return cells;
      if (line[at] != ',') {
        fault(line_, static_cast<int>(at) + 1, "a comma is expected here");
        return std::nullopt;
      }
      ++at;
    }
  }

  bool header_is_sound(std::string_view line) {
    const auto cells = split(line);
    if (!cells) return false;
    const std::size_t before = faults_;
    std::vector<std::string> found;
    for (const Cell& cell : *cells) {
      const auto same = [&](const std::string& other) { return other == cell.text; };
      if (std::any_of(found.begin(), found.end(), same))
        fault(1, cell.column, fmt::format("the column '{}' stands twice", shown(cell.text)));
      else if (std::none_of(columns_.begin(), columns_.end(), same))
        fault(1, cell.column,
              fmt::format("unknown column '{}' in a table of {}", shown(cell.text), family_.op));
      found.push_back(cell.text);
    }
    for (const std::string& column : columns_)
      if (std::find(found.begin(), found.end(), column) == found.end())
        fault(1, 1, fmt::format("the column '{}' is missing", column));
    if (faults_ == before && found != columns_)
      fault(1, 1,
            fmt::format("the columns stand in another order; expected is {}",
                        kernels::csv_header(family_)));
    return faults_ == before;
  }

  const Cell& cell(const std::vector<Cell>& cells, std::string_view column) const {
    std::size_t i = 0;
    while (columns_[i] != column) ++i;
    return cells[i];
  }
  void refuse(const Cell& cell, std::string_view column, std::string_view wanted) {
    fault(line_, cell.column,
          fmt::format("{} is '{}'; {} is expected", column, shown(cell.text), wanted));
  }

  std::int64_t whole(const std::vector<Cell>& cells, std::string_view column) {
    const Cell& one = cell(cells, column);
    std::int64_t number = 0;
    const char* end = one.text.data() + one.text.size();
    const auto [rest, error] = std::from_chars(one.text.data(), end, number);
    if (error != std::errc() || rest != end || number < 1)
      refuse(one, column, "a whole number, 1 or more,");
    return number;
  }

  std::optional<Point> read_point(const std::vector<Cell>& cells) {
    const Cell& op = cell(cells, "op");
    if (op.text != family_.op) {
      refuse(op, "op", family_.op);
      return std::nullopt;
    }
    Point::Values values;
    for (const kernels::Axis& axis : family_.axes)
      values.emplace_back(axis.name, cell(cells, axis.name).text);
    std::vector<kernels::PointFault> point_faults;
    auto point = kernels::make_point(family_.op, values, point_faults);
    for (const kernels::PointFault& one : point_faults)
      fault(line_, cell(cells, one.axis.empty() ? "op" : one.axis).column, one.message);
    return point;
  }

  void read_times(const std::vector<Cell>& cells, MeasuredRow& row) {
    const std::size_t before = faults_;
    row.median_ns = whole(cells, "median_ns");
    row.p10_ns = whole(cells, "p10_ns");
    row.p90_ns = whole(cells, "p90_ns");
    row.n = whole(cells, "samples");
    if (faults_ == before && (row.p10_ns > row.median_ns || row.median_ns > row.p90_ns))
      fault(line_, cell(cells, "median_ns").column, "p10_ns <= median_ns <= p90_ns does not hold");
  }

  void read_rest(const std::vector<Cell>& cells, MeasuredRow& row) {
    const Cell& l2 = cell(cells, "l2");
    if (l2.text != "cold" && l2.text != "warm") refuse(l2, "l2", "cold or warm");
    row.l2 = l2.text == "warm" ? L2State::warm : L2State::cold;
    if (!cell(cells, "clock_mhz").text.empty()) row.clock_mhz = whole(cells, "clock_mhz");
    const Cell& error = cell(cells, "check_err");
    const char* end = error.text.data() + error.text.size();
    const auto [rest, code] = std::from_chars(error.text.data(), end, row.check_err);
    if (code != std::errc() || rest != end || !std::isfinite(row.check_err) || row.check_err < 0)
      refuse(error, "check_err", "a number, 0 or more,");
    const Cell& noisy = cell(cells, "noisy");
    if (noisy.text != "0" && noisy.text != "1") refuse(noisy, "noisy", "0 or 1");
    row.noisy = noisy.text == "1";
    row.note = cell(cells, "note").text;
  }

  std::optional<TableRow> read_row(std::string_view line) {
    const std::size_t before = faults_;
    const auto cells = split(line);
    if (!cells) return std::nullopt;
    if (cells->size() != columns_.size()) {
      fault(line_, 1,
            fmt::format("{} values where the header has {}", cells->size(), columns_.size()));
      return std::nullopt;
    }
    TableRow row;
    row.line = line_;
    row.median_column = cell(*cells, "median_ns").column;
    const std::optional<Point> point = read_point(*cells);
    read_times(*cells, row.measured);
    read_rest(*cells, row.measured);
    if (!point || faults_ != before) return std::nullopt;
    row.measured.point = *point;
    const std::string key = point->text() + (row.measured.l2 == L2State::warm ? " warm" : " cold");
    const auto [first, is_new] = seen_.try_emplace(key, line_);
    if (!is_new) fault(line_, 1, fmt::format("the point of line {} again", first->second));
    return row;
  }

  const std::string& file_;
  const OperatorAxes& family_;
  Problems& problems_;
  std::vector<std::string> columns_;
  std::map<std::string, int> seen_;
  std::size_t faults_ = 0;
  int line_ = 1;
};

}  // namespace

std::vector<TableRow> read_profile_table(const std::string& text, const std::string& file,
                                         const OperatorAxes& family, Problems& problems) {
  return TableReader(file, family, problems).read(text);
}

}  // namespace fleetsim
