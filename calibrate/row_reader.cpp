#include "calibrate/row_reader.h"

#include <utility>

namespace fleetsim {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 40;  // far above any extent, exact as a double

std::vector<CsvColumn> required(const std::vector<std::string>& names) {
  std::vector<CsvColumn> columns;
  for (const std::string& name : names) columns.push_back({name, true});
  return columns;
}

}  // namespace

std::string_view stem_of_csv(std::string_view path) {
  path.remove_prefix(path.find_last_of('/') + 1);  // npos + 1 is 0
  for (const std::string_view end : {".csv", ".csv.gz"})
    if (path.ends_with(end)) return path.substr(0, path.size() - end.size());
  return {};
}

RowReader::RowReader(const std::string& path, const std::vector<std::string>& columns,
                     std::vector<MeasuredOperator>& rows, ImportedFile& file, Problems& problems)
    : table_(path, required(columns), CsvTable::Others::refused, problems),
      time_column_(columns.size() - 1),
      rows_(rows),
      file_(file) {}

bool RowReader::next() {
  sound_ = true;
  if (!table_.next_row()) return false;
  ++file_.rows_read;
  return true;
}

double RowReader::count(std::size_t column, std::int64_t least) {
  const auto value = table_.whole(column, least, kMost);
  if (!value) sound_ = false;
  return static_cast<double>(value.value_or(1));
}

void RowReader::fault(std::size_t column, const std::string& message) {
  table_.fault(column, message);
  sound_ = false;
}

void RowReader::add(const OperatorShape& shape, std::string engine, std::string kernel,
                    RowFlag flag, std::optional<std::size_t> time_column) {
  const auto microseconds = table_.positive(time_column.value_or(time_column_));
  if (microseconds && sound_)
    rows_.push_back({shape, *microseconds * 1e-6, std::move(engine), std::move(kernel), flag});
}

}  // namespace fleetsim
