#pragma once
// How long one run of a point takes: how many runs make a sample, how many samples are enough, and
// what is reported of them. Knows no GPU.

#include <cstdint>
#include <functional>
#include <vector>

namespace fleetsim::kernels {

/// The protocol of kernels-and-cost-models §4.8. Times in nanoseconds.
struct TimingRule {
  double replay_ns_min = 200'000;         // a sample lasts at least this long: the clock of events
                                          // counts in half microseconds
  double replay_ns_max = 50'000'000;      // whole rotations of the operand sets stop mattering here
  int runs_max = 2048;                    // in a replay: a graph has as many nodes
  int warmups = 3;                        // replays before the first sample
  double sampled_ns_enough = 30'000'000;  // stop after that much sampled time ...
  int samples_enough = 20;                // ... or that many samples, whichever is first,
  int samples_min = 5;                    // but not before so many,
  double point_ns_max = 500'000'000;      // unless the point as a whole has taken so long
  double noise_max = 0.05;                // above it the point is measured once more
};

/// Time of one operation: quantiles over samples, each the mean over the runs of a replay.
struct Timing {
  std::int64_t median_ns = 0, p10_ns = 0, p90_ns = 0;
  int samples = 0;
  int runs = 0;  // in a replay
  /// (p90 - p10) / median; 0 for a median of 0.
  double noise() const;
};

/// Quantile `q` (0 to 1) of `sorted`, which is not empty: linear between order statistics, the
/// smallest at 0, the largest at 1 (Hyndman and Fan 1996, type 7).
double quantile(const std::vector<double>& sorted, double q);

/// Median, p10 and p90 of at least one sample, rounded to whole nanoseconds; below half a
/// nanosecond is an error (CHECK): nothing runs so fast.
Timing timing_of(std::vector<double> operation_ns, int runs);

/// Runs in a replay so that it lasts at least replay_ns_min, in whole rotations of the `copies`
/// operand sets while that stays below replay_ns_max. At least 1, at most runs_max.
int runs_per_replay(double run_ns, int copies, const TimingRule& rule);

/// Whether `samples` samples of together `sampled_ns` are enough, `spent_ns` into the point.
bool enough_samples(int samples, double sampled_ns, double spent_ns, const TimingRule& rule);

/// A point that can be run many times in a row; what stands behind it is a GPU or a test.
struct Replays {
  std::function<void(int runs)> prepare;  // the next replays have `runs` runs each
  std::function<double()> replay_ns;      // runs one replay; its duration
  int copies = 1;                         // distinct operand sets through which the runs rotate
  int operations = 1;                     // that one run performs; a Timing is of one operation
};

/// Finds the number of runs, warms up and samples by `rule`. Measured once more when noisy: the
/// quieter of the two is returned, and whether it still is noisy is told by its noise().
Timing time_replays(const Replays& replays, const TimingRule& rule = {});

}  // namespace fleetsim::kernels
