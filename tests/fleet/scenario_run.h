#pragma once
// Scenarios written as text, simulated with everything a run hands out kept: records, iterations
// and the bytes of every output file.

#include <string>
#include <vector>

#include "sim/fleet/simulation.h"
#include "tests/fleet/engine_run.h"

namespace fleetsim::test {

/// A scenario read and deployed; faults fail the test.
struct ReadyScenario {
  Scenario scenario;
  Deployment deployment;
};
ReadyScenario ready(const std::string& yaml, const std::vector<std::string>& sets = {});

/// An iteration with its lists, as it outlives the sink's call.
struct KeptIteration {
  IterationRecord record;  // its spans are not valid: the vectors below stand for them
  std::vector<ScheduledTokens> scheduled;
  std::vector<RequestId> preempted, finished;
};

struct WholeRun {
  std::vector<RequestRecord> requests;  // in order of end
  std::vector<KeptIteration> iterations;
  Result result;
  /// The record of a request, which must exist.
  const RequestRecord& of(RequestId id) const;
};

/// Simulates with the scenario's own seed. `observed`: iteration records are asked for.
WholeRun run_whole(const ReadyScenario& ready, const SimulationOptions& options = {},
                   bool observed = true);

/// requests.csv with every field of every record, iterations.jsonl, timeseries.csv, summary.json
/// and the latency curves of a run, one after another.
std::string bytes_of(const ReadyScenario& ready, const WholeRun& run);

/// The first line in which two texts differ, both versions; "" when they are equal.
std::string first_difference(const std::string& a, const std::string& b);

}  // namespace fleetsim::test
