#pragma once
// What tests ask of the reports of a check.

#include <algorithm>
#include <vector>

#include "kernels/checks/check.h"

#include "tests/catch.h"

namespace fleetsim::kernels {

inline void require_all_passed(const std::vector<CheckReport>& reports) {
  REQUIRE_FALSE(reports.empty());
  for (const CheckReport& report : reports) {
    INFO(report.what << ": " << report.error << ", limit " << report.limit << " "
                     << report.problem);
    REQUIRE(report.passed());
  }
}

inline bool any_failed(const std::vector<CheckReport>& reports) {
  return std::any_of(reports.begin(), reports.end(),
                     [](const CheckReport& report) { return !report.passed(); });
}

}  // namespace fleetsim::kernels
