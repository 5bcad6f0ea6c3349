#pragma once
// One kind of engine iteration taken apart, operator by operator: a decode iteration, or the chunks
// that a prompt takes.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "hw_models/step_time.h"
#include "sim/breakdown/verdict.h"

namespace fleetsim {

/// Iterations of one kind, summed. Figures are of one GPU unless they say otherwise.
struct PhaseBreakdown {
  std::string name;                      // "prefill", "decode"
  std::int64_t iterations = 1;           // several where a prompt exceeds the token budget
  std::int64_t tokens = 0;               // computed in all of them
  std::vector<OperatorShare> operators;  // in the order of explain()
  Seconds time;
  std::array<Seconds, kCostGroups> by_group;
  std::array<double, kBounds> share_by_bound = {};  // of the time
  Bound bound = Bound::memory;                      // of the largest share
  Flops flops;                                      // sums over the operators
  double bytes = 0, wire_bytes = 0;
  std::int64_t launches = 0;
  Flops useful_flops;        // StepTime's, over all GPUs
  double minimum_bytes = 0;  // StepTime's, over all GPUs
  double mfu = 0;            // useful_flops / (GPUs x peak of the matrix products x time)
  double mbu = 0;            // minimum_bytes / (GPUs x datasheet bandwidth x time)
};

/// The decode iteration of `batch` requests that have `context` tokens each, the new one included.
BatchShape decode_shape(const StepTime& step, std::int64_t batch, std::int64_t context);

/// The iterations that compute one prompt alone: chunks of at most `budget` tokens, each with a row
/// of logits, as the engine plans them.
std::vector<BatchShape> prefill_shapes(const StepTime& step, std::int64_t prompt,
                                       std::int64_t budget);

/// Errors: CHECK `shapes` is not empty, and what StepTime::explain refuses.
PhaseBreakdown break_phase_down(const std::string& name, const StepTime& step,
                                const std::vector<BatchShape>& shapes, const Roofs& roofs,
                                FlopsPerSecond gemm_peak);

}  // namespace fleetsim
