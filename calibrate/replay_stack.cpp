#include "calibrate/replay_stack.h"

#include <fmt/format.h>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

struct Known {
  const char* name;
  const char* model;
  std::int64_t tp;
};
constexpr Known kStacks[] = {{"llama-3.1-8b", "llama-3.1-8b", 1},
                             {"llama-3.1-70b-tp8-rank", "llama-3.1-70b", 8}};

const Known& known(const std::string& name) {
  for (const Known& one : kStacks)
    if (one.name == name) return one;
  CHECK(false, name);
  return kStacks[0];
}

/// Models of one shape as another model's stack: only the weights' values differ.
bool same_shape(const std::string& logged, const ModelSpec& model) {
  const ModelSpec* other = find_model(logged);
  return other != nullptr && other->layers == model.layers && other->hidden == model.hidden &&
         other->heads == model.heads && other->kv_heads == model.kv_heads &&
         other->head_dim == model.head_dim && other->ffn == model.ffn &&
         other->vocab == model.vocab && !other->moe && !other->latent && !other->linear &&
         !other->qk_norm && other->window == 0;
}

}  // namespace

const ModelSpec& ReplayStack::model() const {
  const ModelSpec* spec = find_model(known(name).model);
  CHECK(spec != nullptr, name);
  return *spec;
}

std::int64_t ReplayStack::tp() const { return known(name).tp; }

Precision ReplayStack::precision() const {
  const NumberFormat matrices = weights == "fp8" ? NumberFormat::fp8 : NumberFormat::bf16;
  const NumberFormat kv = kv_dtype == "e4m3" ? NumberFormat::fp8 : NumberFormat::bf16;
  return {matrices, matrices, kv, std::nullopt};
}

std::string ReplayStack::text() const {
  return fmt::format("{}, {} weights, {} KV in pages of {}", name, weights, kv_dtype, page_tokens);
}

std::vector<std::string> replay_stack_names() {
  std::vector<std::string> names;
  for (const Known& one : kStacks) names.emplace_back(one.name);
  return names;
}

ReplayStack stack_for(const IterationLogHeader& log, const std::string& name,
                      std::vector<std::string>& notes) {
  const LoggedModel& logged = log.first;
  ReplayStack stack;
  stack.name = name;
  if (name.empty()) {
    stack.name = logged.tp == 1 ? kStacks[0].name : kStacks[1].name;
    for (const Known& one : kStacks)
      if (one.tp == logged.tp && same_shape(logged.model, *find_model(one.model)))
        stack.name = one.name;
  }
  stack.page_tokens = logged.block_size;
  const NumberFormat weights = logged.precision.weights, kv = logged.precision.kv_cache;
  if (weights == NumberFormat::fp8) stack.weights = "fp8";
  if (kv == NumberFormat::fp8) stack.kv_dtype = "e4m3";
  if (stack.tp() != logged.tp || !same_shape(logged.model, stack.model()))
    notes.push_back(
        fmt::format("the log is of {} at tp {}; its iterations run on the stack of {}: the same "
                    "tokens and contexts through other matrices",
                    logged.model, logged.tp, stack.name));
  const bool sixteen = weights == NumberFormat::bf16 || weights == NumberFormat::fp16;
  if (!sixteen && weights != NumberFormat::fp8)
    notes.push_back(
        fmt::format("the log's weights are {}; the stack's are bf16", name_of(weights)));
  if (kv != NumberFormat::bf16 && kv != NumberFormat::fp16 && kv != NumberFormat::fp8)
    notes.push_back(fmt::format("the log's KV cache is {}; the stack's is bf16", name_of(kv)));
  for (const LoggedModel& pool : log.pools)
    if (pool.model != logged.model || pool.tp != logged.tp)
      notes.push_back(fmt::format("pool {} is of {} at tp {}: its iterations run on the same stack",
                                  pool.pool, pool.model, pool.tp));
  return stack;
}

}  // namespace fleetsim
