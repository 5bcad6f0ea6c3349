#include "calibrate/replay_prediction.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "calibrate/measured_replay.h"
#include "calibrate/profile_rows.h"
#include "hw_models/check.h"

namespace fleetsim {
namespace {

double number(std::int64_t n) { return static_cast<double>(n); }

/// Which part of the stack an operator of StepTime runs as.
struct PartOf {
  std::string_view cost;
  std::string_view part;
};
constexpr std::array<PartOf, 14> kParts = {{
    {"embedding", "embedding"},
    {"qkv projection", "qkv"},
    {"rotary embedding", "rope_kv_write"},
    {"kv write", "rope_kv_write"},
    {"decode attention", "attention"},
    {"prefill attention", "attention"},
    {"output projection", "output"},
    {"fp8 quantise for output projection", "output"},
    {"gate-up projection", "gate_up"},
    {"silu and product", "silu_mul"},
    {"down projection", "down"},
    {"fp8 quantise for down projection", "down"},
    {"head", "head"},
    {"sampling", "sampling"},
}};

std::string_view part_of(const std::string& cost) {
  for (const PartOf& one : kParts)
    if (one.cost == cost) return one.part;
  CHECK(false, "no part of a stack runs " + cost);
  return "";
}

BatchShape shape_of(const Composition& composition) {
  BatchShape shape;
  shape.tokens = composition.new_tokens();
  shape.sampled_rows = static_cast<std::int64_t>(composition.sequences());
  for (std::size_t i = 0; i < composition.sequences(); ++i) {
    const std::int64_t q = composition.fresh[i], c = composition.cached[i];
    if (q == 1) {
      ++shape.decode_requests;
      shape.decode_context += c + q;
    } else {
      ++shape.prefill_requests;
      shape.prefill_context += c + q;
      shape.prefill_pairs += q * c + q * (q + 1) / 2;
    }
  }
  shape.decode_window_context = shape.decode_context;
  shape.prefill_window_pairs = shape.prefill_pairs;
  return shape;
}

/// Parts of the stack summed up.
class Parts {
 public:
  Parts() {
    for (const std::string& name : stack_part_names()) parts_.push_back({name, 0, ""});
  }
  void add(std::string_view name, double seconds, const std::string& source) {
    for (PredictedPart& part : parts_) {
      if (part.name != name) continue;
      part.seconds += seconds;
      if (part.source.empty())
        part.source = source;
      else if (part.source.find(source) == std::string::npos)
        part.source += " and " + source;
      return;
    }
    CHECK(false, std::string(name));
  }
  std::vector<PredictedPart> take() { return std::move(parts_); }

 private:
  std::vector<PredictedPart> parts_;
};

}  // namespace

std::int64_t stack_nodes(const ReplayStack& stack) {
  return (stack.weights == "fp8" ? 10 : 9) * stack.model().layers + 4;
}

bool is_of_own_kernels(const FittedGpu& fitted) {
  return std::any_of(fitted.families.begin(), fitted.families.end(),
                     [](const OperatorFamily& family) {
                       return family.source.find("fleetsim-kernels") != std::string::npos;
                     });
}

ReplayPredictor::ReplayPredictor(const GpuSpec& gpu, const FittedGpu* fitted,
                                 std::int64_t most_tokens)
    : gpu_(gpu), fitted_(fitted), most_tokens_(most_tokens) {
  CHECK(fitted == nullptr || fitted->gpu == gpu.name, gpu.name);
  own_kernels_ = fitted != nullptr && is_of_own_kernels(*fitted);
  kind_ = own_kernels_        ? "a fit of these kernels"
          : fitted != nullptr ? "a fit of an engine's kernels"
                              : "the roofline";
}

std::optional<std::string> ReplayPredictor::problem(const ReplayStack& stack) const {
  return find_pricing_problem(stack.model(), gpu_, stack.precision(), Sharding(stack.tp()));
}

const StepTime& ReplayPredictor::step_of(const ReplayStack& stack) {
  std::unique_ptr<StepTime>& step =
      steps_[{stack.name, stack.weights, stack.kv_dtype, stack.page_tokens}];
  if (step != nullptr) return *step;
  LaunchRules rules;
  rules.block_size = stack.page_tokens;
  if (own_kernels_) rules.attention_backend = backend_of_own_kernels(gpu_);
  step = std::make_unique<StepTime>(stack.model(), gpu_, stack.precision(), Sharding(stack.tp()),
                                    rules, most_tokens_, fitted_);
  return *step;
}

PredictedIteration ReplayPredictor::predict(const ReplayStack& stack,
                                            const Composition& composition) {
  const StepTime& step = step_of(stack);
  const BatchShape shape = shape_of(composition);
  const double layers = number(stack.model().layers);
  Parts parts;
  for (const OperatorCost& cost : step.explain(shape)) {
    if (cost.group == CostGroup::host_overhead || cost.group == CostGroup::communication) continue;
    const double seconds = cost.time.value;
    if (cost.name == "residual and norm") {  // 2 layers + 1 launches there, three parts here
      const double one = seconds / (2 * layers + 1);
      parts.add("input_norm", layers * one, cost.source);
      parts.add("post_norm", layers * one, cost.source);
      parts.add("final_norm", one, cost.source);
      continue;
    }
    parts.add(part_of(cost.name), seconds, cost.source);
  }
  const OperatorFamily* family = fitted_ != nullptr ? fitted_->find("elementwise") : nullptr;
  const double launch = family != nullptr ? family->floor_seconds : gpu_.gemm_floor.value;
  parts.add("rope_kv_write", -layers * launch, "");
  if (own_kernels_ && family != nullptr && stack.weights == "fp8") {
    // engines' fp8 products were measured with it (GemmFormat::fp8), ours without
    const double width = number(stack.model().heads * stack.model().head_dim / stack.tp());
    const ElementwiseShape quantise{3 * width * number(shape.tokens)};  // 16 bits in, 8 out
    const OperatorTime one = family->time(work_of(OperatorShape(quantise)));
    parts.add("output", layers * one.time.value, name_of(one.provenance));
  }
  PredictedIteration predicted;
  predicted.parts = parts.take();
  for (const PredictedPart& part : predicted.parts) predicted.seconds += part.seconds;
  const double ranks = number(stack.tp());
  const NumberFormat math =
      math_format(stack.precision().weights, stack.precision().activations, gpu_);
  predicted.floor_seconds =
      std::max(step.minimum_bytes(shape) / ranks / gpu_.memory_bandwidth.value,
               step.useful_flops(shape).value / ranks / gpu_.dense_peak.at(math).value);
  return predicted;
}

}  // namespace fleetsim
