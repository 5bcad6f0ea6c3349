// Both turning points are found by bisection: intensity grows with the batch, attention with the
// context.

#include "sim/breakdown/decode_sweep.h"

#include <algorithm>
#include <functional>

#include "hw_models/check.h"
#include "sim/breakdown/memory_parts.h"

namespace fleetsim {
namespace {

constexpr std::int64_t kShortestContext = 128;

/// The smallest number in [low, high] for which `holds`, which once true stays true.
std::optional<std::int64_t> first_that(std::int64_t low, std::int64_t high,
                                       const std::function<bool(std::int64_t)>& holds) {
  if (low > high || !holds(high)) return std::nullopt;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (holds(middle))
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

/// `first`, doubled until `last`, and `last`.
std::vector<std::int64_t> doubling(std::int64_t first, std::int64_t last) {
  std::vector<std::int64_t> values;
  for (std::int64_t value = first; value < last; value *= 2) values.push_back(value);
  values.push_back(last);
  return values;
}

bool products_are_compute_bound(const PhaseBreakdown& iteration) {
  double compute = 0, all = 0;
  for (const OperatorShare& one : iteration.operators) {
    if (one.cost.group != CostGroup::gemm) continue;
    all += one.share;
    if (one.bound == Bound::compute) compute += one.share;
  }
  return 2 * compute >= all;
}

bool attention_leads(const PhaseBreakdown& iteration) {
  const auto seconds = [&](CostGroup group) {
    return iteration.by_group[static_cast<std::size_t>(group)];
  };
  return seconds(CostGroup::attention) > seconds(CostGroup::gemm);
}

}  // namespace

DecodeSweeps sweep_decode(const PoolDeployment& pool, const Roofs& roofs, std::int64_t batch,
                          std::int64_t context) {
  const StepTime& step = *pool.step_time;
  const MemoryPlan& plan = pool.memory;
  const auto point = [&](std::int64_t requests, std::int64_t tokens) {
    SweepPoint one;
    one.batch = requests;
    one.context = tokens;
    one.iteration = break_phase_down("decode", step, {decode_shape(step, requests, tokens)}, roofs,
                                     pool.gemm_peak);
    one.tokens_per_second = static_cast<double>(requests) / one.iteration.time.value;
    return one;
  };

  DecodeSweeps sweeps;
  const std::int64_t budget = pool.rules.max_num_batched_tokens;
  const std::int64_t fits =
      kv_need(pool.model, roofs.precision, roofs.tp, plan, context).batch_fits;
  sweeps.largest_batch = std::min(fits, budget);
  sweeps.largest_batch_is_of_memory = fits <= budget;
  CHECK(sweeps.largest_batch >= batch, "the question's batch does not fit");
  for (const std::int64_t requests : doubling(1, sweeps.largest_batch))
    sweeps.batches.push_back(point(requests, context));

  const std::int64_t room = longest_context(plan, batch);
  const std::int64_t longest = pool.model.max_context > 0 ? pool.model.max_context : room;
  sweeps.longest_context = std::min(room, longest);
  sweeps.longest_context_is_of_memory = room < longest;
  CHECK(sweeps.longest_context >= 1, "the question's context does not fit");
  const std::int64_t shortest = std::min(kShortestContext, sweeps.longest_context);
  for (const std::int64_t tokens : doubling(shortest, sweeps.longest_context))
    sweeps.contexts.push_back(point(batch, tokens));

  sweeps.products_turn_at = first_that(1, budget, [&](std::int64_t requests) {
    return products_are_compute_bound(point(requests, 1).iteration);
  });
  if (sweeps.products_turn_at)
    sweeps.products_turn_fits_to = longest_context(plan, *sweeps.products_turn_at);
  sweeps.attention_takes_over_at = first_that(1, longest, [&](std::int64_t tokens) {
    return attention_leads(point(batch, tokens).iteration);
  });
  return sweeps;
}

}  // namespace fleetsim
