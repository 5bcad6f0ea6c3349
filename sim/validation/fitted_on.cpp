#include "sim/validation/fitted_on.h"

namespace fleetsim {

const std::vector<FittedRows>& fitted_rows() {
  static const std::vector<FittedRows> table = {};
  return table;
}

bool is_fitted_on(const ServiceRow& row) {
  const auto agrees = [](const std::string& wanted, const std::string& is) {
    return wanted.empty() || wanted == is;
  };
  for (const FittedRows& rows : fitted_rows())
    if (agrees(rows.source, row.source) && agrees(rows.model, row.model) &&
        agrees(rows.gpu, row.gpu) && agrees(rows.version, row.version))
      return true;
  return false;
}

}  // namespace fleetsim
