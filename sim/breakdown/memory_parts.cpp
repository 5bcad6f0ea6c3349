// Everything here is read off the model's list of tensors and the engine's memory plan; nothing is
// estimated a second time.

#include "sim/breakdown/memory_parts.h"

#include <algorithm>
#include <cmath>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

/// A head that is the embedding's own matrix takes no memory of its own.
bool takes_memory(const ModelSpec& model, const WeightGroup& group) {
  return group.role != WeightRole::head || !model.tied_embeddings;
}

}  // namespace

KvNeed kv_need(const ModelSpec& model, const Precision& precision, std::int64_t tp,
               const MemoryPlan& plan, std::int64_t context) {
  CHECK(context >= 1, "a request without tokens");
  KvNeed need;
  need.context = context;
  need.per_token = model.kv_bytes_per_token_per_rank(precision.kv_cache, tp);
  need.per_token_and_layer = model.kv_bytes_per_token_per_layer(precision.kv_cache, tp);
  need.blocks = (context + plan.block_size - 1) / plan.block_size + plan.window_blocks_per_request;
  need.per_request = need.blocks * plan.block_bytes;
  need.batch_fits = std::max<std::int64_t>(0, plan.blocks - 1) / need.blocks;  // less the null one
  return need;
}

std::int64_t longest_context(const MemoryPlan& plan, std::int64_t batch) {
  CHECK(batch >= 1, "a batch without requests");
  const std::int64_t blocks =
      std::max<std::int64_t>(0, plan.blocks - 1) / batch - plan.window_blocks_per_request;
  return std::max<std::int64_t>(0, blocks) * plan.block_size;
}

MemoryBreakdown break_memory_down(const ModelSpec& model, const Precision& precision,
                                  std::int64_t tp, const MemoryPlan& plan, std::int64_t batch,
                                  std::int64_t context) {
  MemoryBreakdown memory;
  memory.plan = plan;
  memory.batch = batch;
  double sum = 0;
  std::int64_t counted = 0;
  for (const WeightGroup& group : weight_groups(model, tp)) {
    if (!takes_memory(model, group)) continue;
    WeightPart part;
    part.name = group.name;
    part.role = group.role;
    part.parameters = static_cast<std::int64_t>(group.elements());
    part.bytes_per_weight = stored_weight_bytes(model, group.role, precision);
    sum += part.bytes_per_weight * group.elements();
    const auto upto = static_cast<std::int64_t>(std::ceil(sum));
    part.bytes = {upto - counted};
    counted = upto;
    memory.parameters += part.parameters;
    memory.weights.push_back(std::move(part));
  }
  memory.stored_weights = model.weight_bytes_per_rank(precision, tp);
  CHECK(counted == memory.stored_weights.value, "the parts of the weights are not their sum");
  memory.rotary_table = plan.weights - memory.stored_weights;
  memory.kv = kv_need(model, precision, tp, plan, context);
  memory.kv_of_batch = batch * memory.kv.per_request;
  return memory;
}

}  // namespace fleetsim
