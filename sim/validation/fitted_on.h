#pragma once
// Which rows parameters were fitted on, so that scores of the others stand apart. Parameters are
// physical and few: one value an engine version or a GPU, never one a row.

#include <string>
#include <vector>

#include "sim/validation/service_row.h"

namespace fleetsim {

/// Rows of a source, model, GPU and engine version; an empty text means any.
struct FittedRows {
  std::string source, model, gpu, version;
  std::string parameter;  // what was chosen with their help
};

const std::vector<FittedRows>& fitted_rows();
/// Whether a parameter was chosen with the help of rows like this one.
bool is_fitted_on(const ServiceRow& row);

}  // namespace fleetsim
