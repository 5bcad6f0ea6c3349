#pragma once
// report_data.json: everything that the report and the terminal summary say, as one document, so
// that both are pure functions of it and `fleetsim report DIR` can write the page again.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "sim/fleet/deployment.h"
#include "sim/metrics/summary.h"
#include "sim/report/extra_runs.h"
#include "sim/report/summary_json.h"
#include "sim/scenario/scenario.h"

namespace fleetsim {

struct ReportInput {
  const Scenario& scenario;
  const Deployment& deployment;
  const Result& result;
  RunIdentity identity;
  std::string question;              // the comment that opens the scenario file; may be empty
  std::string resolved_scenario;     // YAML
  std::vector<RunDigest> seeds;      // the main run first
  std::optional<Headroom> headroom;  // absent: not asked, or there is no slo
};

/// The document, schema "fleetsim.report/1". Holds nothing that differs from run to run.
nlohmann::ordered_json report_data(const ReportInput& input);

/// The question that a scenario file opens with: its first comment lines joined, up to the first
/// '?'.
std::string opening_comment(const std::string& yaml_text);

}  // namespace fleetsim
