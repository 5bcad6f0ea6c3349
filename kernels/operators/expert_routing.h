#pragma once
// From a router's logits to the experts of each token and their weights, in the ways of Mixtral,
// Qwen3, gpt-oss and DeepSeek-V3.

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

inline constexpr int kExpertsMax = 512;
inline constexpr int kExpertsPerTokenMax = 16;
inline constexpr int kExpertGroupsMax = 32;

enum class RouterScore {
  softmax,  // over all experts; the largest logits are chosen
  sigmoid,  // of each logit alone; the largest score + bias is chosen, group by group
};

/// The rule of a model. Softmax over the chosen alone (gpt-oss) is `softmax` with `renormalise`:
/// the sum over all experts cancels. Sources: transformers, modeling_mixtral.py,
/// modeling_qwen3_moe.py (norm_topk_prob), modeling_gpt_oss.py, modeling_deepseek_v3.py.
struct RoutingRule {
  RouterScore score = RouterScore::softmax;
  bool renormalise = true;  // weights of a token are divided by their sum
  float scale = 1;          // and multiplied by this (DeepSeek-V3: routed_scaling_factor)
  /// Sigmoid alone: experts come in `groups` of equal size, 2 or more; only the `groups_chosen`
  /// with the largest sum of their two best score + bias are looked at.
  int groups = 1, groups_chosen = 1;
};

/// Valid: tokens >= 0 (0: nothing is launched); 1 to kExpertsMax experts; 1 to kExpertsPerTokenMax
/// experts a token, no more than experts (of the groups chosen); groups at most kExpertGroupsMax
/// (CHECK). One of the two kinds of logits. Logits are finite; what is NaN counts as minus
/// infinity. Ties go to the lowest id. Slots are in falling order of what the choice went by.
struct ExpertRoutingArguments {
  const float* logits = nullptr;      // [tokens][experts]
  const Bf16* logits_bf16 = nullptr;  // the same, where the router's product came in bf16
  const float* bias = nullptr;        // [experts], added for the choice alone; sigmoid; may be null
  std::int32_t* ids = nullptr;        // [tokens][experts_per_token]
  float* weights = nullptr;           // [tokens][experts_per_token]
  int tokens = 0, experts = 0, experts_per_token = 0;
  RoutingRule rule;
};

/// Errors: CudaError.
void launch_expert_routing(const ExpertRoutingArguments& arguments, Stream stream);

}  // namespace fleetsim::kernels
