// What fits is asked of the same deployment code that a run uses, with one setting changed at a
// time.

#include "sim/breakdown/breakdown.h"

#include <fmt/format.h>

#include <algorithm>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

constexpr std::int64_t kMostRanks = 16;

/// Whether the pool of a changed scenario holds the question's batch.
bool holds(const Scenario& changed, std::size_t pool, const BreakdownQuestion& question) {
  Problems ignored;
  const Deployment deployment = deploy(changed, ignored, DeployFor::breakdown);
  if (!ignored.empty()) return false;
  const PoolDeployment& one = deployment.pools[pool];
  return kv_need(one.model, changed.precision, changed.pools[pool].parallelism.tp, one.memory,
                 question.context)
             .batch_fits >= question.batch;
}

/// Settings near the one asked for that hold the batch.
std::vector<std::string> what_would_hold(const Scenario& scenario, const Deployment& deployment,
                                         std::size_t pool, const BreakdownQuestion& question) {
  std::vector<std::string> options;
  for (std::int64_t tp = 2 * scenario.pools[pool].parallelism.tp; tp <= kMostRanks; tp *= 2) {
    Scenario changed = scenario;
    changed.pools[pool].parallelism.tp = tp;
    if (!holds(changed, pool, question)) continue;
    options.push_back(fmt::format("tp: {}", tp));
    break;
  }
  if (element_bytes(scenario.precision.kv_cache) > element_bytes(NumberFormat::fp8)) {
    Scenario changed = scenario;
    changed.precision.kv_cache = NumberFormat::fp8;
    if (holds(changed, pool, question)) options.push_back("precision.kv_cache: fp8");
  }
  for (const GpuSpec& gpu : gpu_catalogue()) {
    if (gpu.memory_reported <= deployment.pools[pool].gpu->memory_reported) continue;
    Scenario changed = scenario;
    changed.pools[pool].gpu = gpu.name;
    if (!holds(changed, pool, question)) continue;
    options.push_back("gpu: " + gpu.name);
    break;
  }
  return options;
}

void check_batch(const Scenario& scenario, const Deployment& deployment, std::size_t index,
                 const BreakdownQuestion& question, Problems& problems) {
  const PoolDeployment& pool = deployment.pools[index];
  const std::string place = fmt::format("--batch {}", question.batch);
  const auto most = std::min(pool.rules.max_num_seqs, pool.rules.max_num_batched_tokens);
  if (question.batch > most) {
    problems.add(
        place, {},
        fmt::format("the engine runs at most {} requests in an iteration (max_num_seqs {}, "
                    "max_num_batched_tokens {})",
                    most, pool.rules.max_num_seqs, pool.rules.max_num_batched_tokens));
    return;
  }
  const KvNeed need = kv_need(pool.model, scenario.precision, scenario.pools[index].parallelism.tp,
                              pool.memory, question.context);
  if (need.batch_fits >= question.batch) return;
  const std::int64_t missing_blocks = question.batch * need.blocks - (pool.memory.blocks - 1);
  const std::int64_t longest = longest_context(pool.memory, question.batch);
  std::string fits = need.batch_fits > 0 ? fmt::format("batch {} fits at context {}",
                                                       need.batch_fits, question.context)
                                         : "";
  if (longest > 0)
    fits += fmt::format("{}context {} fits at batch {}", fits.empty() ? "" : ", ", longest,
                        question.batch);
  const std::vector<std::string> options = what_would_hold(scenario, deployment, index, question);
  problems.add(
      place, {},
      fmt::format(
          "does not fit at context {}: {} bytes are missing on each {}; {} requests need {} "
          "bytes of KV cache and the pool has {}; {}; {}",
          question.context, missing_blocks * pool.memory.block_bytes.value, pool.gpu->name,
          question.batch, question.batch * need.per_request.value,
          (pool.memory.blocks - 1) * pool.memory.block_bytes.value,
          fits.empty() ? "not even one such request fits" : fits,
          options.empty() ? "no one change of tp, kv_cache or gpu makes it fit"
                          : fmt::format("would hold it: {}", fmt::join(options, ", or "))));
}

void check_length(const PoolDeployment& pool, const char* option, std::int64_t tokens,
                  Problems& problems) {
  if (tokens <= pool.rules.max_model_len) return;
  problems.add(fmt::format("{} {}", option, tokens), {},
               fmt::format("the engine takes at most {} tokens a request (max_model_len)",
                           pool.rules.max_model_len));
}

RequestCosts request_costs(const Breakdown& b, const Roofs& roofs) {
  const StepTime& step = *b.deployment.step_time;
  const ModelSpec& model = b.deployment.model;
  RequestCosts costs;
  // Windowed layers keep their reserve whatever the context is; it moves with the rest.
  costs.kv_per_gpu = b.question.context * b.memory.kv.per_token +
                     b.memory.plan.window_blocks_per_request * b.memory.plan.block_bytes;
  costs.kv_all_gpus = b.tp * costs.kv_per_gpu;
  costs.swap_one_way = costs.kv_per_gpu / roofs.gpu->pcie_per_direction;
  for (const BatchShape& shape :
       prefill_shapes(step, b.question.context, b.deployment.rules.max_num_batched_tokens))
    costs.recompute += step.price(shape).total;
  const double batch = static_cast<double>(b.question.batch);
  costs.linear_flops = model.linear_flops_per_token();
  costs.head_flops = 2 * static_cast<double>(model.hidden) * static_cast<double>(model.vocab);
  costs.attention_flops =
      b.decode.useful_flops.value / batch - costs.linear_flops - costs.head_flops;
  costs.bytes = b.decode.minimum_bytes / batch;
  costs.time = b.decode.time;
  return costs;
}

}  // namespace

std::string Breakdown::title() const {
  const std::int64_t stages = deployment.gpus_per_replica / tp;
  return fmt::format("{}{} on {} × {}",
                     stages > 1 ? fmt::format("One of {} pipeline stages of ", stages) : "",
                     deployment.model.title, tp, deployment.gpu->title);
}

Breakdown break_down(const Scenario& scenario, const Deployment& deployment, std::size_t pool,
                     const BreakdownQuestion& question, Problems& problems) {
  CHECK(pool < deployment.pools.size() && pool < scenario.pools.size(), "no such pool");
  CHECK(question.batch >= 1 && question.context >= 1 && question.prompt >= 1, "an empty question");
  Breakdown b;
  b.scenario = scenario.name;
  b.pool = scenario.pools[pool].name;
  b.question = question;
  b.deployment = deployment.pools[pool];
  b.precision = scenario.precision;
  b.tp = scenario.pools[pool].parallelism.tp;
  if (b.deployment.gemm_peak.value <= 0) {
    scenario.source.report(
        problems, "cost_model",
        "a fixed or linear cost model has no hardware that could be taken apart; "
        "leave cost_model out");
    return b;
  }
  check_length(b.deployment, "--context", question.context, problems);
  check_length(b.deployment, "--prompt", question.prompt, problems);
  if (problems.empty()) check_batch(scenario, deployment, pool, question, problems);
  if (!problems.empty()) return b;

  const Roofs roofs{b.deployment.gpu, &b.deployment.model, b.precision, b.tp};
  const StepTime& step = *b.deployment.step_time;
  b.memory = break_memory_down(b.deployment.model, b.precision, b.tp, b.deployment.memory,
                               question.batch, question.context);
  b.prefill = break_phase_down(
      "prefill", step,
      prefill_shapes(step, question.prompt, b.deployment.rules.max_num_batched_tokens), roofs,
      b.deployment.gemm_peak);
  b.decode =
      break_phase_down("decode", step, {decode_shape(step, question.batch, question.context)},
                       roofs, b.deployment.gemm_peak);
  b.sweeps = sweep_decode(b.deployment, roofs, question.batch, question.context);
  b.request = request_costs(b, roofs);
  return b;
}

}  // namespace fleetsim
