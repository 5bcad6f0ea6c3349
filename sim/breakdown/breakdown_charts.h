#pragma once
// The charts of the breakdown's page: Vega-Lite specs from plots/ filled with its figures.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sim/breakdown/breakdown.h"

namespace fleetsim {

/// A chart and the words around it. `section` places it on the page.
struct BreakdownChart {
  std::string section;  // "memory", "time", "roofline", "sweeps"
  std::string name;     // unique; the container's data-chart
  std::string title, caption;
  bool wide = false;
  nlohmann::ordered_json spec;
};

std::vector<BreakdownChart> breakdown_charts(const Breakdown& breakdown);

}  // namespace fleetsim
