#pragma once
// Runs written-out requests through one replica with a fixed iteration time and hands back what
// iterations.jsonl would say, line by line.

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sim/fleet/simulation.h"
#include "sim/report/iterations_jsonl.h"
#include "sim/workload/workload.h"

namespace fleetsim::test {

inline constexpr SimTime kMillisecond = 1'000'000;

/// Engine settings of a case, as a record of ../data/engine_traces or a hand-worked table gives
/// them.
struct EngineCase {
  EngineSettings engine;
  std::vector<WrittenRequest> requests;
  SimTime iteration = 10 * kMillisecond;
};

/// "S0[0:8] X3[0:5]" as stretches. For tests only: the scenario reader has the parser for users.
std::vector<NamedStretch> stretches(const std::string& text);

/// The lines of iterations.jsonl, parsed, and the records of the requests.
struct EngineRun {
  std::vector<nlohmann::json> lines;
  std::vector<RequestRecord> requests;
  Result result;
};

Scenario scenario_of(const EngineCase& engine_case);
Deployment deployment_of(const Scenario& scenario, SimTime iteration);
EngineRun run_engine(const EngineCase& engine_case, const RunAhead& run_ahead = {});

/// "A:10 B:6" of a line.
std::string scheduled_text(const nlohmann::json& line);

}  // namespace fleetsim::test
