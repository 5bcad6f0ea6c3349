#pragma once
// One CSV file of a profile, read strictly: exactly the columns of its family, every value in form.

#include <string>
#include <vector>

#include "hw_models/problems.h"
#include "kernels/measure/measured_row.h"

namespace fleetsim {

struct TableRow {
  kernels::MeasuredRow measured;
  int line = 0;           // of the file, from 1
  int median_column = 0;  // where its median begins, from 1
};

/// Errors: faults to `problems`, the first 20 in full and the rest counted; the rows that are sound
/// come back.
std::vector<TableRow> read_profile_table(const std::string& text, const std::string& file,
                                         const kernels::OperatorAxes& family, Problems& problems);

}  // namespace fleetsim
