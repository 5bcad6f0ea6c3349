// Figures as they are, without rounding: shortest text that reads back to the same value.

#include "sim/breakdown/breakdown_json.h"

#include "sim/report/summary_json.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

const char* role_name(WeightRole role) {
  switch (role) {
    case WeightRole::matrix:
      return "matrix";
    case WeightRole::expert:
      return "expert";
    case WeightRole::router:
      return "router";
    case WeightRole::embedding:
      return "embedding";
    case WeightRole::head:
      return "head";
    case WeightRole::vector:
      return "vector";
    case WeightRole::expert_vector:
      return "expert_vector";
    case WeightRole::narrow:
      return "narrow";
  }
  return "";
}

Json hardware_json(const Breakdown& b) {
  const GpuSpec& gpu = *b.deployment.gpu;
  Json peaks = Json::object();
  for (const auto& [format, peak] : gpu.dense_peak) peaks[name_of(format)] = peak.value;
  Json json = {{"gpu", gpu.name},
               {"title", gpu.title},
               {"gpus", b.deployment.gpus_per_replica},
               {"dense_flops_per_s", std::move(peaks)},
               {"memory_bytes_per_s", gpu.memory_bandwidth.value},
               {"pcie_bytes_per_s_per_direction", gpu.pcie_per_direction.value}};
  if (gpu.nvlink_per_direction)
    json["nvlink_bytes_per_s_per_direction"] = gpu.nvlink_per_direction->value;
  return json;
}

Json memory_json(const Breakdown& b) {
  const MemoryBreakdown& m = b.memory;
  Json weights = Json::array();
  for (const WeightPart& part : m.weights)
    weights.push_back({{"name", part.name},
                       {"role", role_name(part.role)},
                       {"parameters", part.parameters},
                       {"bytes_per_parameter", part.bytes_per_weight},
                       {"bytes", part.bytes.value}});
  Json kv = {{"bytes_per_token", m.kv.per_token.value},
             {"bytes_per_token_and_layer", m.kv.per_token_and_layer.value},
             {"block_size", m.plan.block_size},
             {"block_bytes", m.plan.block_bytes.value},
             {"blocks", m.plan.blocks},
             {"pool_tokens", m.plan.kv_tokens()},
             {"blocks_per_request", m.kv.blocks},
             {"bytes_per_request", m.kv.per_request.value},
             {"window_blocks_per_request", m.plan.window_blocks_per_request},
             {"bytes_of_batch", m.kv_of_batch.value},
             {"requests_that_fit", m.kv.batch_fits}};
  return {{"total", m.plan.total.value},
          {"budget", m.plan.requested.value},
          {"weights", m.plan.weights.value},
          {"kv_cache", m.plan.kv_cache.value},
          {"activations", m.plan.activations.value},
          {"cuda_graphs", m.plan.cuda_graphs.value},
          {"non_torch", m.plan.non_torch.value},
          {"free", m.plan.free.value},
          {"parameters", m.parameters},
          {"weights_by_kind", std::move(weights)},
          {"rotary_table", m.rotary_table.value},
          {"kv", std::move(kv)}};
}

Json groups_json(const std::array<Seconds, kCostGroups>& by_group) {
  Json json = Json::object();
  for (int group = 0; group < kCostGroups; ++group)
    json[name_of(static_cast<CostGroup>(group))] = by_group[static_cast<std::size_t>(group)].value;
  return json;
}

Json bounds_json(const std::array<double, kBounds>& shares) {
  Json json = Json::object();
  for (int bound = 0; bound < kBounds; ++bound)
    json[name_of(static_cast<Bound>(bound))] = shares[static_cast<std::size_t>(bound)];
  return json;
}

Json operator_json(const OperatorShare& one) {
  Json json = {{"name", one.cost.name},
               {"group", name_of(one.cost.group)},
               {"launches", one.cost.launches},
               {"flops", one.cost.flops.value},
               {"bytes", one.cost.bytes},
               {"wire_bytes", one.cost.wire_bytes},
               {"time_s", one.cost.time.value},
               {"share", one.share},
               {"flops_per_s", one.flops_per_second},
               {"bytes_per_s", one.bytes_per_second},
               {"wire_bytes_per_s", one.wire_bytes_per_second}};
  if (one.math) {
    json["math"] = name_of(*one.math);
    json["mfu"] = one.mfu;
  }
  json["mbu"] = one.mbu;
  if (one.cost.wire_bytes > 0) json["link_use"] = one.link_use;
  if (one.intensity) json["flops_per_byte"] = *one.intensity;
  json["bound"] = name_of(one.bound);
  json["source"] = one.cost.source;
  return json;
}

Json phase_json(const PhaseBreakdown& phase) {
  Json operators = Json::array();
  for (const OperatorShare& one : phase.operators) operators.push_back(operator_json(one));
  return {{"iterations", phase.iterations},
          {"tokens", phase.tokens},
          {"time_s", phase.time.value},
          {"launches", phase.launches},
          {"flops", phase.flops.value},
          {"bytes", phase.bytes},
          {"wire_bytes", phase.wire_bytes},
          {"useful_flops_all_gpus", phase.useful_flops.value},
          {"minimum_bytes_all_gpus", phase.minimum_bytes},
          {"mfu", phase.mfu},
          {"mbu", phase.mbu},
          {"bound", name_of(phase.bound)},
          {"time_share_by_bound", bounds_json(phase.share_by_bound)},
          {"time_by_group", groups_json(phase.by_group)},
          {"operators", std::move(operators)}};
}

Json sweep_json(const std::vector<SweepPoint>& points) {
  Json json = Json::array();
  for (const SweepPoint& point : points)
    json.push_back({{"batch", point.batch},
                    {"context", point.context},
                    {"time_s", point.iteration.time.value},
                    {"tokens_per_s", point.tokens_per_second},
                    {"mfu", point.iteration.mfu},
                    {"mbu", point.iteration.mbu},
                    {"bound", name_of(point.iteration.bound)},
                    {"time_share_by_bound", bounds_json(point.iteration.share_by_bound)},
                    {"time_by_group", groups_json(point.iteration.by_group)}});
  return json;
}

Json sweeps_json(const DecodeSweeps& sweeps) {
  Json json = {
      {"largest_batch", sweeps.largest_batch},
      {"largest_batch_set_by",
       sweeps.largest_batch_is_of_memory ? "KV cache" : "max_num_batched_tokens"},
      {"longest_context", sweeps.longest_context},
      {"longest_context_set_by", sweeps.longest_context_is_of_memory ? "KV cache" : "model"}};
  if (sweeps.products_turn_at) {
    json["products_compute_bound_from_batch"] = *sweeps.products_turn_at;
    json["that_batch_fits_to_context"] = sweeps.products_turn_fits_to;
  }
  if (sweeps.attention_takes_over_at)
    json["attention_longer_than_products_from_context"] = *sweeps.attention_takes_over_at;
  json["batches"] = sweep_json(sweeps.batches);
  json["contexts"] = sweep_json(sweeps.contexts);
  return json;
}

Json request_json(const RequestCosts& costs) {
  return {{"kv_bytes_per_gpu", costs.kv_per_gpu.value},
          {"kv_bytes_all_gpus", costs.kv_all_gpus.value},
          {"swap_one_way_s", costs.swap_one_way.value},
          {"recompute_s", costs.recompute.value},
          {"decoded_token",
           {{"flops", costs.flops()},
            {"linear_flops", costs.linear_flops},
            {"head_flops", costs.head_flops},
            {"attention_flops", costs.attention_flops},
            {"bytes", costs.bytes},
            {"time_s", costs.time.value}}}};
}

}  // namespace

Json breakdown_json(const Breakdown& b) {
  Json json = {{"schema", "fleetsim.breakdown/1"},
               {"version", fleetsim_version()},
               {"scenario", b.scenario},
               {"pool", b.pool},
               {"model", b.deployment.model.name},
               {"hardware", hardware_json(b)},
               {"tp", b.tp},
               {"precision",
                {{"weights", name_of(b.precision.weights)},
                 {"activations", name_of(b.precision.activations)},
                 {"kv_cache", name_of(b.precision.kv_cache)}}},
               {"cost_model", b.deployment.step_time->kind()},
               {"question",
                {{"batch", b.question.batch},
                 {"context", b.question.context},
                 {"prompt", b.question.prompt}}},
               {"memory_per_gpu", memory_json(b)},
               {"prefill", phase_json(b.prefill)},
               {"decode", phase_json(b.decode)},
               {"request", request_json(b.request)},
               {"sweeps", sweeps_json(b.sweeps)}};
  json["notes"] = b.deployment.notes;
  return json;
}

}  // namespace fleetsim
