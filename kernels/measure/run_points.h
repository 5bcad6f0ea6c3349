#pragma once
// The run over a list of points: budget, blocks between canaries, interruption, what is written and
// what is told. Knows no GPU: what touches one is handed in as functions.

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/measure/job_lines.h"
#include "kernels/measure/profile_writer.h"

namespace fleetsim::kernels {

/// What became of a point.
struct Outcome {
  enum class Kind {
    measured,  // `row` holds it
    skipped,   // this machine cannot do it: `text` says why
    failed     // its check failed, or the device refused: `text` says what; it was not timed
  };
  Kind kind = Kind::measured;
  std::optional<MeasuredRow> row;
  std::string text;
};

/// Two fixed tasks, timed now and then: they show when the GPU itself has become slower or faster.
struct CanaryReading {
  double gemm_ns = 0, copy_ns = 0;
};

/// Nothing where it cannot be read.
struct ClockReading {
  std::optional<std::int64_t> sm_mhz, memory_mhz;
  std::optional<double> power_w, temperature_c;
  std::string held_back;  // why clocks are lower than they could be; empty: they are not
};

/// The device is gone for this process: after a fault in a kernel nothing more runs on it.
class DeviceLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What a run needs of the world around it.
struct Measure {
  /// Prepares, checks and times. Errors: DeviceLost.
  std::function<Outcome(const Point&)> point;
  /// Errors: DeviceLost.
  std::function<CanaryReading()> canary;
  std::function<ClockReading()> clocks;
  /// Device time that a point will take, for the budget.
  std::function<double(const Point&)> estimated_seconds;
  /// Seconds since some moment; never goes back.
  std::function<double()> seconds;
  /// Somebody wants the run to end.
  std::function<bool()> interrupted;
};

struct RunRules {
  double budget_s = 480;           // for everything from the first canary on; 0: no limit
  double block_s = 30;             // a canary at least so often
  double canary_moved_max = 0.03;  // a block whose canary moved by more is dropped
  double closing_s = 0.5;          // of the budget, kept for the last canary
};

/// How a run ended.
struct RunEnd {
  std::int64_t rows = 0, skipped = 0, failed = 0;
  std::int64_t dropped = 0;      // rows thrown away with their blocks, measured again
  std::int64_t points_left = 0;  // not reached
  std::string stopped;           // empty, "budget", "interrupted", "device lost"
  /// 0; 1 when a check failed or the device was lost; 130 when interrupted.
  int exit_code() const;
};

/// True when one of the two tasks takes more than `moved_max` longer or shorter than before.
bool canary_moved(const CanaryReading& before, const CanaryReading& now, double moved_max);

/// Measures the points in their order. Rows wait until the canary behind their block has been read
/// (at most block_s and one point), then they are written and told. A block whose canary moved is
/// dropped, with a warning, and its points are measured once more, at once; should the canary move
/// then, too, their rows are written as noisy: a GPU that never rests still gives a profile, and
/// the profile says what it is worth. Likewise rows that no canary follows because the device was
/// lost.
/// Ends with finish() of the writer and a DoneEvent. Errors: ProfileFault of the writer.
RunEnd run_points(const std::vector<Point>& points, const Measure& measure, const RunRules& rules,
                  ProfileWriter& writer, const std::function<void(const Event&)>& tell);

}  // namespace fleetsim::kernels
