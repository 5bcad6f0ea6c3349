// One function a section, in the order of the contract. nlohmann::ordered_json keeps that order and
// prints doubles by the shortest text that reads back exactly, whatever the locale.

#include "sim/report/summary_json.h"

#include <cmath>

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

/// Infinity is "misses reach this percentile": JSON has no such number.
Json finite_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json requests_json(const RequestCounts& counts) {
  return {{"arrived", counts.arrived},       {"completed", counts.completed},
          {"cache_hits", counts.cache_hits}, {"rejected", counts.rejected},
          {"timed_out", counts.timed_out},   {"lost", counts.lost},
          {"unfinished", counts.unfinished}};
}

Json tokens_json(const TokenCounts& tokens) {
  return {{"prompt", tokens.prompt},
          {"prompt_cached", tokens.prompt_cached},
          {"output", tokens.output}};
}

Json throughput_json(const ThroughputSection& throughput) {
  Json json = {{"requests_per_s", throughput.requests_per_s},
               {"output_tokens_per_s", throughput.output_tokens_per_s},
               {"total_tokens_per_s", throughput.total_tokens_per_s},
               {"output_tokens_per_s_per_gpu", throughput.output_tokens_per_s_per_gpu}};
  if (throughput.goodput_requests_per_s)
    json["goodput_requests_per_s"] = *throughput.goodput_requests_per_s;
  return json;
}

Json fleet_json(const FleetSection& fleet) {
  Json json = {{"gpus", fleet.gpus},
               {"replicas", fleet.replicas},
               {"gpu_hours", fleet.gpu_hours},
               {"iterations", fleet.iterations},
               {"batch_mean", fleet.batch_mean},
               {"preemptions", fleet.preemptions},
               {"busy", fleet.busy}};
  if (fleet.mfu) json["mfu"] = *fleet.mfu;
  if (fleet.mbu) json["mbu"] = *fleet.mbu;
  json["kv_blocks_mean"] = fleet.kv_blocks_mean;
  json["kv_blocks_peak"] = fleet.kv_blocks_peak;
  json["kv_blocks_total"] = fleet.kv_blocks_total;
  json["kv_blocks_peak_replica"] = fleet.kv_blocks_peak_replica;
  return json;
}

Json cost_json(const CostSection& cost) {
  return {{"usd_per_hour", cost.usd_per_hour},
          {"usd_per_request", finite_or_null(cost.usd_per_request)},
          {"usd_per_million_output_tokens", finite_or_null(cost.usd_per_million_output_tokens)}};
}

Json energy_json(const EnergySection& energy) {
  return {{"joules_per_output_token", finite_or_null(energy.joules_per_output_token)},
          {"joules_per_request", finite_or_null(energy.joules_per_request)},
          {"watts_per_gpu", energy.watts_per_gpu},
          {"joules", energy.joules}};
}

Json time_json(const TimeBreakdown& time) {
  Json json = Json::object();
  for (int group = 0; group < kCostGroups; ++group)
    json[name_of(static_cast<CostGroup>(group))] = time.groups[static_cast<std::size_t>(group)];
  json["transfer"] = time.transfer;
  json["idle"] = time.idle;
  return json;
}

Json memory_json(const MemoryPlan& memory) {
  return {{"weights", memory.weights.value},         {"kv_cache", memory.kv_cache.value},
          {"activations", memory.activations.value}, {"cuda_graphs", memory.cuda_graphs.value},
          {"non_torch", memory.non_torch.value},     {"free", memory.free.value}};
}

/// The sections that the whole and each pool share, in the contract's order; `slo` stands between
/// throughput and fleet when given.
template <typename Part>
void add_figures(Json& json, const Part& part, const Json* slo, const Json* realised) {
  json["requests"] = requests_json(part.requests);
  json["tokens"] = tokens_json(part.tokens);
  if (realised) json["realised"] = *realised;
  json["latency"] = latency_section_json(part.latency);
  json["throughput"] = throughput_json(part.throughput);
  if (slo) json["slo"] = *slo;
  json["fleet"] = fleet_json(part.fleet);
  if (part.cache) json["cache"] = {{"prefix_hit_rate", part.cache->prefix_hit_rate}};
  if (part.cost) json["cost"] = cost_json(*part.cost);
  if (part.energy) json["energy"] = energy_json(*part.energy);
  if (part.time_breakdown) json["time_breakdown"] = time_json(*part.time_breakdown);
  if (part.memory) json["memory_breakdown"] = memory_json(*part.memory);
}

Json pool_json(const PoolSection& pool) {
  Json json = {{"name", pool.name},
               {"gpu", pool.gpu},
               {"model", pool.model},
               {"cost_model", pool.cost_model}};
  add_figures(json, pool, nullptr, nullptr);
  return json;
}

}  // namespace

const char* fleetsim_version() { return FLEETSIM_VERSION; }

Json latency_json(const LatencySummary& latency) {
  return {{"mean", latency.mean},  {"p50", latency.p50}, {"p90", latency.p90},
          {"p95", latency.p95},    {"p99", latency.p99}, {"max", latency.max},
          {"count", latency.count}};
}

Json latency_section_json(const LatencySection& latency) {
  Json json = Json::object();
  const auto add = [&](const char* name, const std::optional<LatencySummary>& one) {
    if (one) json[name] = latency_json(*one);
  };
  add("ttft", latency.ttft);
  add("tpot", latency.tpot);
  add("itl", latency.itl);
  add("e2e", latency.e2e);
  add("queue", latency.queue);
  return json;
}

Json slo_json(const SloSection& slo) {
  Json json = {{"attainment", slo.attainment}, {"met", slo.met}};
  Json limits = Json::array();
  for (const SloLimit& limit : slo.limits)
    limits.push_back({{"metric", limit.metric},
                      {"limit_s", limit.limit_s},
                      {"worst_window_s", finite_or_null(limit.worst_s)},
                      {"overall_s", finite_or_null(limit.overall_s)},
                      {"worst_window_start_s", to_seconds(limit.worst_window_start).value},
                      {"population", limit.population},
                      {"met", limit.met}});
  json["window"] = {
      {"length_s", slo.window_s}, {"percentile", slo.percentile}, {"limits", std::move(limits)}};
  return json;
}

Json summary_json(const Summary& summary, const RunIdentity& identity,
                  const std::optional<WallSection>& wall) {
  Json json = {{"schema", "fleetsim.summary/1"},
               {"scenario",
                {{"name", identity.name},
                 {"seed", identity.seed},
                 {"sha256", identity.sha256},
                 {"version", identity.version}}}};
  Json slo;
  if (!summary.slo.empty()) {
    slo = slo_json(summary.slo.front());
    if (!summary.slo.front().class_name.empty()) slo["class"] = summary.slo.front().class_name;
    slo["met"] = summary.slo_met();  // of everything that was asked
    for (const SloSection& section : summary.slo) {
      if (summary.slo.size() == 1) break;
      Json one = {{"class", section.class_name}};
      one.update(slo_json(section));
      slo["classes"].push_back(std::move(one));
    }
  }
  const Json realised = {
      {"prompt_tokens",
       {{"mean", summary.realised_prompt_mean}, {"p95", summary.realised_prompt_p95}}},
      {"output_tokens",
       {{"mean", summary.realised_output_mean}, {"p95", summary.realised_output_p95}}}};
  add_figures(json, summary, summary.slo.empty() ? nullptr : &slo, &realised);
  if (summary.frontend_share > 0) json["frontend"] = {{"share_of_e2e", summary.frontend_share}};
  Json pools = Json::array();
  for (const PoolSection& pool : summary.pools) pools.push_back(pool_json(pool));
  json["pools"] = std::move(pools);
  json["saturated"] = summary.saturated;
  json["stopped_early"] = summary.stopped_early;
  json["latency_method"] = summary.latency_from_sketch ? "sketch, rank error <= 0.001" : "exact";
  if (wall)
    json["wall"] = {{"simulate_s", wall->simulate_s},
                    {"requests_per_wall_s", wall->requests_per_wall_s},
                    {"peak_rss_bytes", wall->peak_rss_bytes}};
  return json;
}

std::string json_text(const Json& document) {
  // Names come from the user's files; bytes that are no UTF-8 become U+FFFD instead of a failed
  // run.
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace fleetsim
