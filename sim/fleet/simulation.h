#pragma once
// The pure function at the centre: a scenario, a seed and a sink in, a Result out. No globals, no
// clock, no environment; two calls run side by side on different threads.

#include "sim/fleet/deployment.h"
#include "sim/metrics/records.h"
#include "sim/metrics/summary.h"
#include "sim/scenario/scenario.h"

namespace fleetsim {

/// How replicas advance. Both ways give identical bytes; tests compare them.
struct RunAhead {
  bool enabled = true;
  bool planted_fault = false;  // tests only: run-ahead counts one KV block too few, which must show
};

struct SimulationOptions {
  double load_factor = 1;  // arrivals multiplied, for headroom questions
  RunAhead run_ahead;
};

/// Simulates the scenario on its deployment.
/// Errors: ConfigError for faults in trace rows; InternalError for ours.
Result simulate(const Scenario& scenario, const Deployment& deployment, std::uint64_t seed,
                Sink& sink, const SimulationOptions& options = {});

}  // namespace fleetsim
