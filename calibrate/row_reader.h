#pragma once
// What the readers of all owners' tables share: a CSV file whose rows become measured operators.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/imported_file.h"
#include "calibrate/measured_table.h"
#include "hw_models/csv_table.h"
#include "hw_models/problems.h"

namespace fleetsim {

/// "/data/gemm_h200_vllm.csv.gz" -> "gemm_h200_vllm"; empty when the name is of no CSV file.
std::string_view stem_of_csv(std::string_view path);

/// One row at a time: cells are asked for, then add() or without_shape(). A row with a bad cell is
/// a fault of the user and is not added.
class RowReader {
 public:
  /// Times are microseconds in the last of `columns`, unless add() names another. Rows go to
  /// `rows`, counts to `file`.
  RowReader(const std::string& path, const std::vector<std::string>& columns,
            std::vector<MeasuredOperator>& rows, ImportedFile& file, Problems& problems);

  bool next();
  std::string_view word(std::size_t column) const { return table_.cell(column); }
  /// A whole number, `least` or more; 1 and a fault when it is none.
  double count(std::size_t column, std::int64_t least = 1);
  /// A fault in a cell of this row.
  void fault(std::size_t column, const std::string& message);

  void add(const OperatorShape& shape, std::string engine, std::string kernel,
           RowFlag flag = RowFlag::none, std::optional<std::size_t> time_column = std::nullopt);
  void without_shape(const std::string& what) { ++file_.without_shape[what]; }
  void of_another_gpu() { ++file_.rows_of_other_gpus; }

 private:
  CsvTable table_;
  std::size_t time_column_;
  std::vector<MeasuredOperator>& rows_;
  ImportedFile& file_;
  bool sound_ = true;  // of the row in hand
};

}  // namespace fleetsim
