#pragma once
// From a log of iterations to the points that fleetsim-kernels measures for its replay.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "calibrate/composition_choice.h"
#include "calibrate/replay_stack.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/problems.h"
#include "kernels/measure/point.h"

namespace fleetsim {

struct ReplayOptions {
  std::int64_t count = 40;       // compositions of the sample, beside the built ones
  std::int64_t with_parts = 8;   // compositions whose operators are measured one by one, too
  std::uint64_t seed = 1;        // of the sample
  std::string stack;             // empty: as the log's header has it
  const GpuSpec* gpu = nullptr;  // whose memory must hold a composition; nullptr: not known here
};

/// A composition that is not replayed, and why.
struct LeftOut {
  ChosenComposition chosen;
  std::string reason;
};

struct ReplayPlan {
  ReplayStack stack;
  std::int64_t iterations = 0;              // of the log
  std::vector<ChosenComposition> replayed;  // the sample, then the built ones
  std::vector<LeftOut> left_out;
  std::vector<std::string> notes;  // what a reader must know of stack and log
  /// In the order of measuring, most valuable first: ceilings; whole iterations as graphs;
  /// operators one by one of the first `with_parts` compositions; chunks once more without a graph.
  std::vector<kernels::Point> points;
};

/// Errors: faults of the log to `problems`, and a log whose every choice is left out; nullopt when
/// there is any. ConfigError as read_iteration_log.
std::optional<ReplayPlan> plan_replay(const std::string& log, const ReplayOptions& options,
                                      Problems& problems);

/// What the plan replays and leaves out, for people; ends with a line end.
std::string plan_text(const ReplayPlan& plan);

}  // namespace fleetsim
