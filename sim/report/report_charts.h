#pragma once
// The charts of the report: Vega-Lite specs from plots/ filled with the data of one run.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace fleetsim {

/// A chart and the words around it. `section` places it on the page.
struct ReportChart {
  std::string section;  // "slo", "latency", "time", "gpu"
  std::string name;     // unique; the container's data-chart
  std::string title, caption;
  nlohmann::ordered_json spec;
};

/// Every chart that has data, in the order of the page. `data`: a report_data document.
std::vector<ReportChart> report_charts(const nlohmann::ordered_json& data);

/// Names for people of the parts of GPU time ("host_overhead" -> "host") and GPU memory.
std::string part_title(const std::string& key);

}  // namespace fleetsim
