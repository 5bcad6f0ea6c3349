// Makes pools concrete and says, where one cannot be made, what is missing and what would fit.

#include "sim/fleet/deployment.h"

#include <fmt/format.h>

#include "hw_models/operators.h"

namespace fleetsim {

namespace {

constexpr double kGB = 1e9;

std::int64_t blocks_of(std::int64_t tokens, std::int64_t block_size) {
  return (tokens + block_size - 1) / block_size;
}

MemoryRequest memory_request(const Pool& pool, const EngineRules& rules) {
  MemoryRequest request;
  request.gpu_memory_utilization = rules.gpu_memory_utilization;
  request.graphs_inside_budget = rules.graphs_inside_budget;
  request.enforce_eager = rules.enforce_eager;
  request.block_size = rules.block_size;
  request.max_num_batched_tokens = rules.max_num_batched_tokens;
  request.max_num_seqs = rules.max_num_seqs;
  request.tp = pool.parallelism.tp;
  if (pool.engine.kv_cache_memory_bytes) {
    request.kv_cache_memory_bytes = pool.engine.kv_cache_memory_bytes->value;
  }
  request.num_gpu_blocks_override = pool.engine.num_gpu_blocks_override.value_or(0);
  request.captured_graphs = static_cast<std::int64_t>(rules.capture_sizes.size());
  return request;
}

// Deployments near the one asked for that do fit: more ranks, smaller weights, another GPU.
std::vector<std::string> what_would_fit(const PoolDeployment& pool, const Precision& precision,
                                        const MemoryRequest& request) {
  std::vector<std::string> options;
  const auto fits = [&](const GpuSpec& gpu, const Precision& with, const MemoryRequest& asked) {
    return !find_pricing_problem(pool.model, gpu, with,
                                 {asked.tp, pool.expert_parallel > 1 ? asked.tp : 1}) &&
           plan_memory(pool.model, gpu, with, asked).missing.value == 0;
  };
  for (std::int64_t tp = request.tp * 2; tp <= 16; tp *= 2) {
    MemoryRequest asked = request;
    asked.tp = tp;
    if (!fits(*pool.gpu, precision, asked)) continue;
    options.push_back(fmt::format("tp: {}", tp));
    break;
  }
  for (const NumberFormat format : {NumberFormat::fp8, NumberFormat::int4}) {
    if (weight_bytes(format) >= weight_bytes(precision.weights)) continue;
    Precision smaller = precision;
    smaller.weights = format;
    if (!fits(*pool.gpu, smaller, request)) continue;
    options.push_back(fmt::format("precision.weights: {}", name_of(format)));
    break;
  }
  for (const GpuSpec& gpu : gpu_catalogue()) {
    if (gpu.memory_reported <= pool.gpu->memory_reported || !fits(gpu, precision, request))
      continue;
    options.push_back(fmt::format("gpu: {}", gpu.name));
    break;
  }
  return options;
}

void report_missing_memory(const Scenario& scenario, const PoolDeployment& pool,
                           const MemoryRequest& request, const std::string& path,
                           Problems& problems) {
  const MemoryPlan& memory = pool.memory;
  std::string message = fmt::format(
      "{} does not fit: {} bytes are missing on each {}; weights {:.2f} GB, activations {:.2f} GB, "
      "CUDA graphs {:.2f} GB and others {:.2f} GB leave no room for KV blocks in {:.2f} GB ({} of "
      "{:.2f} GB)",
      pool.model.name, memory.missing.value, pool.gpu->name,
      static_cast<double>(memory.weights.value) / kGB,
      static_cast<double>(memory.activations.value) / kGB,
      static_cast<double>(memory.cuda_graphs.value) / kGB,
      static_cast<double>(memory.non_torch.value) / kGB,
      static_cast<double>(memory.requested.value) / kGB, request.gpu_memory_utilization,
      static_cast<double>(memory.total.value) / kGB);
  if (request.num_gpu_blocks_override > 0) {
    message = fmt::format(
        "num_gpu_blocks_override {} needs {} bytes more than each {} has; {} blocks fit",
        request.num_gpu_blocks_override, memory.missing.value, pool.gpu->name,
        std::max<std::int64_t>(0, request.num_gpu_blocks_override -
                                      (memory.missing.value + memory.block_bytes.value - 1) /
                                          std::max<std::int64_t>(1, memory.block_bytes.value)));
  }
  const std::vector<std::string> options = what_would_fit(pool, scenario.precision, request);
  message += options.empty() ? "; nothing in the catalogue would fit"
                             : fmt::format("; would fit: {}", fmt::join(options, ", or "));
  scenario.source.report(problems, path + ".gpu", message);
}

// The engine refuses to start when one sequence of max_model_len tokens would not fit.
void check_longest_sequence(const Scenario& scenario, const Pool& pool, const EngineRules& rules,
                            const std::string& path, Problems& problems) {
  if (pool.engine.num_gpu_blocks_override) return;
  const std::int64_t usable = rules.num_gpu_blocks - 1 - rules.window_blocks_per_request;
  const std::int64_t needed = blocks_of(rules.max_model_len, rules.block_size);
  if (needed <= usable) return;
  scenario.source.report(
      problems, path + ".engine.max_model_len",
      fmt::format("one sequence of max_model_len {} tokens needs {} KV blocks and the pool has {}; "
                  "set max_model_len to at most {}",
                  rules.max_model_len, needed, usable,
                  std::max<std::int64_t>(usable, 0) * rules.block_size));
}

Sharding sharding_of(const Pool& pool) {
  return {pool.parallelism.tp, pool.parallelism.ep, pool.parallelism.pp};
}

std::shared_ptr<const StepTime> step_time_of(const Scenario& scenario, const Pool& pool,
                                             const PoolDeployment& deployed) {
  const CostModel& cost = scenario.cost_model;
  if (cost.kind == CostModel::Kind::fixed) {
    return std::make_shared<const StepTime>(
        StepTime::linear(to_seconds(cost.fixed_iteration), Seconds{0}, Seconds{0}));
  }
  if (cost.kind == CostModel::Kind::linear) {
    return std::make_shared<const StepTime>(StepTime::linear(
        to_seconds(cost.linear_base), cost.linear_per_token, cost.linear_per_context_token));
  }
  LaunchRules launch;
  launch.async_scheduling = deployed.rules.async_scheduling;
  launch.enforce_eager = deployed.rules.enforce_eager;
  launch.block_size = deployed.rules.block_size;
  launch.capture_sizes = deployed.rules.capture_sizes;
  launch.fused = deployed.rules.fused_kernels;
  launch.attention_backend = deployed.rules.attention_backend;
  launch.host = deployed.rules.host;
  launch.fused_all_heads_norm = deployed.rules.fused_all_heads_norm;
  launch.age = deployed.rules.kernel_age;
  launch.routing_skew = deployed.rules.routing_skew;
  launch.model_sampling = deployed.rules.model_sampling;
  const FittedGpu* fitted =
      cost.kind == CostModel::Kind::roofline ? nullptr : find_fitted(deployed.gpu->name);
  return std::make_shared<const StepTime>(deployed.model, *deployed.gpu, scenario.precision,
                                          sharding_of(pool), launch,
                                          deployed.rules.max_num_batched_tokens, fitted);
}

bool takes_hardware_out(const CostModel& cost) {
  return cost.kind == CostModel::Kind::fixed || cost.kind == CostModel::Kind::linear;
}

FlopsPerSecond gemm_peak(const GpuSpec& gpu, const Precision& precision) {
  return gpu.dense_peak.at(math_format(precision.weights, precision.activations, gpu));
}

void price(const Scenario& scenario, PoolDeployment& deployed) {
  const auto own = scenario.usd_per_gpu_hour_by_gpu.find(deployed.gpu->name);
  if (own != scenario.usd_per_gpu_hour_by_gpu.end()) {
    deployed.usd_per_gpu_hour = own->second;
    deployed.priced = true;
  } else if (scenario.usd_per_gpu_hour) {
    deployed.usd_per_gpu_hour = *scenario.usd_per_gpu_hour;
    deployed.priced = true;
  }
}

std::optional<ModelSpec> model_of(const Scenario& scenario, const Pool& pool,
                                  const std::string& path, Problems& problems) {
  if (pool.model.empty() && !scenario.model.hf_config.empty()) {
    std::optional<ModelSpec> model = read_hf_config(scenario.model.hf_config, problems);
    if (model) model->name = scenario.model.name;
    return model;
  }
  const std::string& name = pool.model.empty() ? scenario.model.name : pool.model;
  const ModelSpec* model = find_model(name);
  if (model != nullptr) return *model;
  scenario.source.report(problems, path + ".model", "unknown model '" + name + "'");
  return std::nullopt;
}

void deploy_pool(const Scenario& scenario, const Pool& pool, const std::string& path,
                 DeployFor purpose, Deployment& deployment, Problems& problems) {
  const std::size_t before = problems.size();
  PoolDeployment deployed;
  deployed.name = pool.name;
  deployed.gpu = find_gpu(pool.gpu);
  deployed.replicas = pool.replicas;
  deployed.expert_parallel = pool.parallelism.ep;
  deployed.gpus_per_replica = pool.parallelism.tp * pool.parallelism.pp * pool.parallelism.dp;
  if (deployed.gpu == nullptr) {
    scenario.source.report(problems, path + ".gpu", "unknown GPU '" + pool.gpu + "'");
  }
  std::optional<ModelSpec> model = model_of(scenario, pool, path, problems);
  if (problems.size() > before) return;
  const std::int64_t stages = pool.parallelism.pp;
  if (stages > 1 && purpose == DeployFor::simulation)
    scenario.source.report(problems, path + ".parallelism.pp",
                           "'pp' above 1 is not simulated yet; fleetsim breakdown prices a stage");
  if (stages > model->layers)
    scenario.source.report(
        problems, path + ".parallelism.pp",
        fmt::format("pp {} is more than the {} layers of {}", stages, model->layers, model->name));
  if (problems.size() > before) return;
  deployed.model = pipeline_stage(*model, stages);
  deployed.rules = resolve_engine_rules(pool.engine, *deployed.gpu, deployed.model, scenario.source,
                                        path + ".engine", problems);
  const auto refused =
      find_pricing_problem(deployed.model, *deployed.gpu, scenario.precision, sharding_of(pool));
  if (refused) scenario.source.report(problems, path + ".parallelism", *refused);
  if (scenario.cost_model.kind == CostModel::Kind::calibrated &&
      find_fitted(deployed.gpu->name) == nullptr) {
    scenario.source.report(
        problems, "cost_model",
        fmt::format("no measurements are fitted for {}; use auto or roofline", deployed.gpu->name));
  }
  if (problems.size() > before) return;

  const MemoryRequest request = memory_request(pool, deployed.rules);
  deployed.memory = plan_memory(deployed.model, *deployed.gpu, scenario.precision, request);
  if (deployed.memory.missing.value > 0 || deployed.memory.blocks <= 1) {
    report_missing_memory(scenario, deployed, request, path, problems);
    return;
  }
  deployed.rules.num_gpu_blocks = deployed.memory.blocks;
  deployed.rules.window_blocks_per_request = deployed.memory.window_blocks_per_request;
  check_longest_sequence(scenario, pool, deployed.rules, path, problems);
  if (problems.size() > before) return;

  deployed.step_time = step_time_of(scenario, pool, deployed);
  if (!takes_hardware_out(scenario.cost_model)) {
    deployed.gemm_peak = gemm_peak(*deployed.gpu, scenario.precision);
    deployed.power = power_law(*deployed.gpu, scenario.precision);
  }
  deployed.notes = deployed.step_time->notes();
  if (stages > 1)
    deployed.notes.push_back(fmt::format(
        "one of {} pipeline stages: {} of {} layers, embedding and head counted in each; sends its "
        "activations on",
        stages, deployed.model.layers, model->layers));
  if (deployed.gpu->memory_reported_is_nominal) {
    deployed.notes.push_back(
        fmt::format("{}: the memory that the driver reports was not read on a device; the "
                    "datasheet's {:.0f} GB stand in",
                    deployed.gpu->name, static_cast<double>(deployed.memory.total.value) / kGB));
  }
  if (deployed.rules.window_blocks_per_request > 0) {
    deployed.notes.push_back(
        fmt::format("{}: {} layers take a fixed reserve of {} KV blocks a request",
                    deployed.model.name, deployed.model.linear ? "linear" : "sliding-window",
                    deployed.rules.window_blocks_per_request));
  }
  price(scenario, deployed);
  deployment.pools.push_back(std::move(deployed));
}

}  // namespace

Deployment deploy(const Scenario& scenario, Problems& problems, DeployFor purpose) {
  Deployment deployment;
  for (std::size_t i = 0; i < scenario.pools.size(); ++i) {
    deploy_pool(scenario, scenario.pools[i], "fleet.pools." + std::to_string(i), purpose,
                deployment, problems);
  }
  for (const WorkloadClass& entry : scenario.workload.classes) {
    const std::string& wanted = entry.model.empty() ? scenario.model.name : entry.model;
    bool served = false;
    for (const Pool& pool : scenario.pools) {
      served = served || (pool.model.empty() ? scenario.model.name : pool.model) == wanted;
    }
    if (!served) {
      scenario.source.report(
          problems, "workload",
          fmt::format("class '{}' asks for model '{}', which no pool serves", entry.name, wanted));
    }
  }
  return deployment;
}

}  // namespace fleetsim
