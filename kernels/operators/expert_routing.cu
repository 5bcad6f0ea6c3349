// A warp a token: lane l holds the experts l, l + 32, ... in registers. The best is taken k times,
// each by a search of the lane's own values and a reduction over the warp, ties to the lowest id;
// k <= 16 rounds over at most 16 values cost less than sorting. Groups are judged by one lane each,
// which reads the scores of its group from shared memory.

#include "kernels/device/memory_access.h"
#include "kernels/device/warp.h"
#include "kernels/operators/expert_routing.h"

namespace fleetsim::kernels {
namespace {

constexpr int kWarps = 4;  // of a block: few, so that small batches spread over the SMs
constexpr float kLog2E = 1.44269504F;
constexpr float kNever = -INFINITY;

struct Best {
  float score;
  int id;
};
FLEETSIM_DEVICE bool better(Best a, Best b) {
  return a.score > b.score || (a.score == b.score && a.id < b.id);
}
FLEETSIM_DEVICE Best best_of_warp(Best best) {
  FLEETSIM_UNROLL
  for (int mask = 16; mask > 0; mask /= 2) {
    const Best other = {shuffle_xor(best.score, mask), shuffle_xor(best.id, mask)};
    if (better(other, best)) best = other;
  }
  return best;
}

/// A bit for each group that is looked at. `scores`: [experts] of this warp, in shared memory.
FLEETSIM_DEVICE unsigned open_groups(const float* scores, int experts, const RoutingRule& rule,
                                     int lane) {
  const int size = experts / rule.groups;
  float first = kNever, second = kNever;
  if (lane < rule.groups)
    for (int i = 0; i < size; ++i) {
      // lanes begin at different places: groups of 32 would meet in one bank
      const float score = scores[lane * size + (i + lane) % size];
      second = fmaxf(second, fminf(first, score));
      first = fmaxf(first, score);
    }
  const float sum = lane < rule.groups ? first + second : kNever;
  int ahead = 0;
  for (int other = 0; other < rule.groups; ++other) {
    const float theirs = shuffle(sum, other);
    if (better({theirs, other}, {sum, lane})) ++ahead;
  }
  return vote(lane < rule.groups && ahead < rule.groups_chosen);
}

/// `kOwn` values a lane.
template <int kOwn>
__global__ void __launch_bounds__(kWarps* kWarpLanes)
    expert_routing_kernel(const __grid_constant__ ExpertRoutingArguments arguments) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  const int experts = arguments.experts, picks = arguments.experts_per_token;
  const std::int64_t token = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp;
  const bool sigmoid = arguments.rule.score == RouterScore::sigmoid;
  wait_for_kernel_before();
  if (token >= arguments.tokens) return;

  float logits[kOwn];
  FLEETSIM_UNROLL
  for (int i = 0; i < kOwn; ++i) {
    const int id = i * kWarpLanes + lane;
    logits[i] = kNever;
    if (id < experts)
      logits[i] = arguments.logits != nullptr
                      ? arguments.logits[token * experts + id]
                      : to_float(arguments.logits_bf16[token * experts + id]);
    if (logits[i] != logits[i]) logits[i] = kNever;
  }
  let_next_kernel_start();

  // what the choice goes by; of softmax the logits themselves, which it keeps in order
  float scores[kOwn];
  unsigned open = 0;  // own experts that may be chosen
  float largest = kNever;
  FLEETSIM_UNROLL
  for (int i = 0; i < kOwn; ++i) {
    const int id = i * kWarpLanes + lane;
    if (id < experts) open |= 1U << i;
    largest = fmaxf(largest, logits[i]);
    scores[i] = logits[i];
    if (sigmoid) {
      scores[i] = reciprocal_fast(1.0F + exp2_fast(-logits[i] * kLog2E));
      if (arguments.bias != nullptr && id < experts) scores[i] += arguments.bias[id];
    }
  }
  largest = warp_max(largest);
  if (arguments.rule.groups > 1) {
    float* shared = reinterpret_cast<float*>(dynamic_shared_memory()) + warp * experts;
    FLEETSIM_UNROLL
    for (int i = 0; i < kOwn; ++i)
      if (i * kWarpLanes + lane < experts) shared[i * kWarpLanes + lane] = scores[i];
    sync_warp();
    const unsigned groups = open_groups(shared, experts, arguments.rule, lane);
    const int size = experts / arguments.rule.groups;
    FLEETSIM_UNROLL
    for (int i = 0; i < kOwn; ++i)
      if ((groups >> ((i * kWarpLanes + lane) / size & 31) & 1U) == 0) open &= ~(1U << i);
  }

  // slot s stays with lane s
  int own_id = 0;
  float own_logit = kNever;
  for (int slot = 0; slot < picks; ++slot) {
    Best best = {kNever, kExpertsMax};
    float logit = kNever;
    FLEETSIM_UNROLL
    for (int i = 0; i < kOwn; ++i) {
      const Best candidate = {scores[i], i * kWarpLanes + lane};
      if ((open >> i & 1U) != 0 && better(candidate, best)) {
        best = candidate;
        logit = logits[i];
      }
    }
    best = best_of_warp(best);
    logit = shuffle(logit, best.id % kWarpLanes);
    if (best.id % kWarpLanes == lane) open &= ~(1U << best.id / kWarpLanes);
    if (slot == lane) {
      own_id = best.id;
      own_logit = logit;
    }
  }

  float weight = 0;
  if (lane < picks)
    weight = sigmoid ? reciprocal_fast(1.0F + exp2_fast(-own_logit * kLog2E))
                     : exp2_fast((own_logit - largest) * kLog2E);
  float whole = 1;
  if (arguments.rule.renormalise) {
    whole = warp_sum(weight);
  } else if (!sigmoid) {
    float sum = 0;
    FLEETSIM_UNROLL
    for (int i = 0; i < kOwn; ++i)
      if (i * kWarpLanes + lane < experts) sum += exp2_fast((logits[i] - largest) * kLog2E);
    whole = warp_sum(sum);
  }
  if (lane < picks) {
    arguments.ids[token * picks + lane] = own_id;
    arguments.weights[token * picks + lane] = weight / whole * arguments.rule.scale;
  }
}

template <int kOwn>
void launch_with(const ExpertRoutingArguments& arguments, Stream stream) {
  const std::size_t shared =
      arguments.rule.groups > 1
          ? kWarps * static_cast<std::size_t>(arguments.experts) * sizeof(float)
          : 0;
  launch(expert_routing_kernel<kOwn>,
         LaunchShape{.grid = dim3{static_cast<unsigned>(ceil_div(arguments.tokens, kWarps)), 1, 1},
                     .block = dim3{kWarps * kWarpLanes, 1, 1},
                     .shared_bytes = shared,
                     .stream = stream,
                     .after_trigger = true},
         arguments);
}

}  // namespace

void launch_expert_routing(const ExpertRoutingArguments& arguments, Stream stream) {
  const RoutingRule& rule = arguments.rule;
  const int experts = arguments.experts, picks = arguments.experts_per_token;
  CHECK(arguments.tokens >= 0);
  CHECK(experts >= 1 && experts <= kExpertsMax);
  CHECK(picks >= 1 && picks <= kExpertsPerTokenMax);
  CHECK(rule.groups >= 1 && rule.groups <= kExpertGroupsMax && rule.groups_chosen >= 1 &&
        rule.groups_chosen <= rule.groups && experts % rule.groups == 0);
  CHECK(rule.groups == 1 || (rule.score == RouterScore::sigmoid && experts / rule.groups >= 2));
  CHECK(picks <= experts / rule.groups * rule.groups_chosen);
  CHECK((arguments.logits == nullptr) != (arguments.logits_bf16 == nullptr));
  CHECK(arguments.bias == nullptr || rule.score == RouterScore::sigmoid);
  if (arguments.tokens == 0) return;
  if (experts <= 32) return launch_with<1>(arguments, stream);
  if (experts <= 128) return launch_with<4>(arguments, stream);
  if (experts <= 256) return launch_with<8>(arguments, stream);
  return launch_with<16>(arguments, stream);
}

}  // namespace fleetsim::kernels
