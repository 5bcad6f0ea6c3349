// Points of `expert_routing`: normal logits; softmax as Mixtral and Qwen3 renormalise it, sigmoid
// as DeepSeek-V3.

#include <algorithm>
#include <memory>

#include "kernels/checks/expert_routing_check.h"
#include "kernels/device/device_memory.h"
#include "kernels/measure/operator_points.h"
#include "kernels/measure/row_sample.h"
#include "kernels/reference/gemm.h"

namespace fleetsim::kernels {
namespace {

struct Routings {
  std::vector<ExpertRoutingArguments> sets;
};

double check_error(const Routings& routings, std::uint64_t seed) {
  const ExpertRoutingArguments& a = routings.sets[0];
  const std::size_t slots =
      static_cast<std::size_t>(a.tokens) * static_cast<std::size_t>(a.experts_per_token);
  device_fill(a.ids, 0xFF, slots * sizeof(std::int32_t), {});
  device_fill(a.weights, 0xFF, slots * sizeof(float), {});
  launch_expert_routing(a, {});
  device_synchronize();
  const std::vector<float> bias =
      a.bias != nullptr ? rows_of(a.bias, a.experts, {0}) : std::vector<float>{};
  double error = 0;
  for (const int token : sampled_indices(a.tokens, kSampledTokens, seed)) {
    const RoutingContradictions wrong =
        routing_contradictions(rows_of(a.logits, a.experts, {token}), bias, a.rule,
                               rows_of(a.ids, a.experts_per_token, {token}),
                               rows_of(a.weights, a.experts_per_token, {token}));
    error = std::max(error, static_cast<double>(wrong.choices) + wrong.weight_error);
  }
  return error;
}

}  // namespace

PreparedPoint prepare_expert_routing(const Point& point, Arena& arena, std::uint64_t seed) {
  ExpertRoutingArguments a;
  a.tokens = static_cast<int>(point.integer("tokens"));
  a.experts = static_cast<int>(point.integer("experts"));
  a.experts_per_token = static_cast<int>(point.integer("experts_per_token"));
  const auto experts = static_cast<std::size_t>(a.experts);
  if (point.word("rule") == "sigmoid_groups") {
    a.rule = {RouterScore::sigmoid, true, 2.5F, 8, 4};
    float* bias = arena.take<float>(experts);
    fill_normal(bias, experts, 0.1F, seed + 1000, {});
    a.bias = bias;
  }
  const std::size_t logits = static_cast<std::size_t>(a.tokens) * experts;
  const std::size_t slots =
      static_cast<std::size_t>(a.tokens) * static_cast<std::size_t>(a.experts_per_token);
  const auto routings = std::make_shared<Routings>();
  const int copies = rotation_copies(logits * sizeof(float) + slots * 8);
  for (int copy = 0; copy < copies; ++copy) {
    float* values = arena.take<float>(logits);
    fill_normal(values, logits, 2.0F, seed + static_cast<std::uint64_t>(copy), {});
    a.logits = values;
    a.ids = arena.take<std::int32_t>(slots);
    a.weights = arena.take<float>(slots);
    routings->sets.push_back(a);
  }
  device_synchronize();

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [routings](Stream stream, int copy) {
    launch_expert_routing(routings->sets[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [routings, seed] { return check_error(*routings, seed); };
  prepared.error_limit = kRoutingErrorLimit;
  return prepared;
}

}  // namespace fleetsim::kernels
