#pragma once
// Runs beside the main one: other seeds for the spread, other loads for the headroom. Which runs
// are made depends on their results only, never on the number of threads.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sim/metrics/summary.h"

namespace fleetsim {

/// What the report keeps of a run.
struct RunDigest {
  std::uint64_t seed = 1;
  std::int64_t load_percent = 0;  // change of the offered load: 0 = as written, 10 = a tenth more
  bool met = true, saturated = false;
  std::vector<SloSection> slo;  // without the timeline of windows
  LatencySection latency;
  double requests_per_s = 0, busy = 0;
};
RunDigest digest_of(const Summary& summary, std::uint64_t seed, std::int64_t load_percent);

/// One run to make.
struct RunRequest {
  std::uint64_t seed = 1;
  std::int64_t load_percent = 0;
};
/// Makes one run; called from several threads. nullopt: it was asked to stop.
using Runner = std::function<std::optional<RunDigest>(const RunRequest&)>;

/// Makes all runs on up to `jobs` threads; results in the order of the requests. The first
/// exception (in that order) is thrown again after every thread has ended.
std::vector<std::optional<RunDigest>> make_runs(const std::vector<RunRequest>& requests,
                                                std::int64_t jobs, const Runner& runner);

/// How much load the fleet takes before the verdict turns.
struct Headroom {
  bool met_as_written = true;
  /// Met as written: the smallest probed increase at which it is missed. Missed as written: the
  /// largest probed load (negative change) at which it is met. Absent: never within `probed_to`.
  std::optional<std::int64_t> turns_at_percent;
  std::int64_t step_percent =
      1;  // loads between the answer and its neighbour by this step differ in verdict
  std::int64_t probed_to_percent = 0;
  bool complete = true;           // false: stopped before the answer was found
  std::vector<RunDigest> probes;  // in order of load, the run as written left out
};

/// Brackets the load at which the verdict turns with fixed ladders of probes, then narrows the
/// bracket to `step_percent` with up to three probes a round. `run_all` makes the probes of one
/// round; nullopt entries mean that the search was stopped.
Headroom search_headroom(
    bool met_as_written, std::int64_t step_percent,
    const std::function<std::vector<std::optional<RunDigest>>(const std::vector<std::int64_t>&)>&
        run_all);

/// Mean and half width of the 95 % confidence interval of the mean (Student's t).
struct MeanInterval {
  double mean = 0;
  double half_width = 0;  // 0 with one value
};
MeanInterval mean_interval(const std::vector<double>& values);

}  // namespace fleetsim
