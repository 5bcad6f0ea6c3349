#pragma once
// What the hardware model says of an iteration that a stack replays, operator by operator.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "calibrate/composition.h"
#include "calibrate/replay_stack.h"
#include "hw_models/fitted_gpu.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/step_time.h"

namespace fleetsim {

/// Over all layers; one of stack_part_names().
struct PredictedPart {
  std::string name;
  double seconds = 0;
  std::string source;  // its Provenance; several joined by " and "
};

struct PredictedIteration {
  std::vector<PredictedPart> parts;  // in the order of stack_part_names()
  double seconds = 0;                // their sum: GPU time alone
  double floor_seconds = 0;  // least bytes and FLOPs at the datasheet's rates: nothing is faster
};

/// Kernel nodes of an iteration of the stack: nine a layer, with fp8 weights ten (attention's
/// output is quantised by a kernel of its own), and embedding, last norm, head and sampling.
std::int64_t stack_nodes(const ReplayStack& stack);

/// Whether a fit is of fleetsim-kernels' own operators, not of an engine's.
bool is_of_own_kernels(const FittedGpu& fitted);

/// StepTime as the simulator prices with it, of GPU time alone: no host, no collectives (a stack is
/// one rank), no padding to graph sizes, since every composition is captured at its own size. Two
/// things follow the stack where it differs from engines: rotary embedding and KV write are one
/// launch, and fp8 products of our own fit come without quantising attention's output. Chunks and
/// decodes are one call of attention where the fit has such calls, else two.
class ReplayPredictor {
 public:
  /// `fitted`: nullptr for the roofline. Both must outlive this. `most_tokens`: new tokens of the
  /// largest iteration.
  ReplayPredictor(const GpuSpec& gpu, const FittedGpu* fitted, std::int64_t most_tokens);

  /// Why this GPU cannot price the stack; nullopt when it can.
  std::optional<std::string> problem(const ReplayStack& stack) const;
  /// Valid: stacks without a problem; 1 to `most_tokens` new tokens.
  PredictedIteration predict(const ReplayStack& stack, const Composition& composition);
  /// "own kernels' fit", "calibrated", "roofline" for people.
  const std::string& kind() const { return kind_; }

 private:
  using StepKey = std::tuple<std::string, std::string, std::string, std::int64_t>;
  const StepTime& step_of(const ReplayStack& stack);

  const GpuSpec& gpu_;
  const FittedGpu* fitted_;
  std::int64_t most_tokens_;
  bool own_kernels_ = false;
  std::string kind_;
  std::map<StepKey, std::unique_ptr<StepTime>> steps_;
};

}  // namespace fleetsim
