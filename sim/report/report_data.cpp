// The document is built section by section from values; nothing is computed here that metrics
// could.

#include "sim/report/report_data.h"

#include <algorithm>
#include <cmath>

#include "sim/report/decimal_text.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

Json finite_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json slo_sections_json(const std::vector<SloSection>& sections, bool with_windows) {
  Json json = Json::array();
  for (const SloSection& section : sections) {
    Json one = {{"class", section.class_name}};
    one.update(slo_json(section));
    if (with_windows) {
      Json windows = Json::array();
      for (const SloSection::WindowPoint& window : section.windows) {
        Json percentiles = Json::array();
        for (const double value : window.percentile_s) percentiles.push_back(finite_or_null(value));
        windows.push_back({{"start_s", window.start_s},
                           {"attainment", window.attainment},
                           {"arrivals", window.arrivals},
                           {"percentile_s", std::move(percentiles)}});
      }
      one["windows"] = std::move(windows);
    }
    json.push_back(std::move(one));
  }
  return json;
}

Json digest_json(const RunDigest& digest) {
  return {{"seed", digest.seed},
          {"load_percent", digest.load_percent},
          {"met", digest.met},
          {"saturated", digest.saturated},
          {"slo", slo_sections_json(digest.slo, false)},
          {"latency", latency_section_json(digest.latency)},
          {"requests_per_s", digest.requests_per_s},
          {"busy", digest.busy}};
}

Json headroom_json(const Headroom& headroom) {
  Json json = {{"met_as_written", headroom.met_as_written},
               {"turns_at_percent",
                headroom.turns_at_percent ? Json(*headroom.turns_at_percent) : Json(nullptr)},
               {"step_percent", headroom.step_percent},
               {"probed_to_percent", headroom.probed_to_percent},
               {"complete", headroom.complete},
               {"probes", Json::array()}};
  for (const RunDigest& probe : headroom.probes) json["probes"].push_back(digest_json(probe));
  return json;
}

Json timeseries_json(const std::vector<TimeseriesPoint>& points) {
  Json json = Json::array();
  for (const TimeseriesPoint& point : points)
    json.push_back({{"start_s", to_seconds(point.start).value},
                    {"length_s", to_seconds(point.length).value},
                    {"pool", point.pool},
                    {"arrivals", point.arrivals},
                    {"completed", point.completed},
                    {"prompt_tokens", point.prompt_tokens},
                    {"output_tokens", point.output_tokens},
                    {"iterations", point.iterations},
                    {"queue", point.queue},
                    {"running", point.running},
                    {"kv_blocks_used", point.kv_blocks_used},
                    {"busy", point.busy},
                    {"replicas", point.replicas},
                    {"watts", point.watts ? Json(*point.watts) : Json(nullptr)}});
  return json;
}

Json curves_json(const std::vector<LatencyCurve>& curves) {
  Json json = Json::array();
  for (const LatencyCurve& curve : curves)
    json.push_back(
        {{"metric", curve.metric}, {"probability", curve.probability}, {"seconds", curve.seconds}});
  return json;
}

Json engine_json(const EngineRules& rules) {
  return {{"scheduler", rules.scheduler},
          {"version", rules.version},
          {"max_num_seqs", rules.max_num_seqs},
          {"max_num_batched_tokens", rules.max_num_batched_tokens},
          {"max_model_len", rules.max_model_len},
          {"block_size", rules.block_size},
          {"num_gpu_blocks", rules.num_gpu_blocks},
          {"gpu_memory_utilization", rules.gpu_memory_utilization},
          {"enable_prefix_caching", rules.enable_prefix_caching},
          {"enable_chunked_prefill", rules.enable_chunked_prefill},
          {"async_scheduling", rules.async_scheduling},
          {"enforce_eager", rules.enforce_eager},
          {"scheduling_policy", rules.priority_policy ? "priority" : "fcfs"}};
}

/// A date text ("2026-03-24", "2026-06") as yyyymmdd; a month counts from its first day.
std::int64_t date_number(const std::string& since) {
  std::int64_t digits = 0, number = 0;
  for (const char c : since)
    if (c >= '0' && c <= '9' && digits < 8) {
      number = number * 10 + (c - '0');
      ++digits;
    }
  for (; digits < 8; ++digits) number = number * 10 + (digits == 7 ? 1 : 0);
  return number;
}

Json rules_in_force(const EngineRules& rules) {
  Json json = Json::array();
  if (rules.scheduler != "vllm-v1") return json;
  for (const DatedRule& rule : vllm_v1_rules())
    if (date_number(rule.since) <= rules.version_date)
      json.push_back({{"since", rule.since}, {"rule", rule.rule}});
  return json;
}

Json memory_total_json(const MemoryPlan& memory) {
  return {{"total", memory.total.value},
          {"requested", memory.requested.value},
          {"block_bytes", memory.block_bytes.value},
          {"kv_tokens", memory.kv_tokens()}};
}

Json pools_json(const ReportInput& input) {
  Json json = Json::array();
  for (std::size_t i = 0; i < input.deployment.pools.size(); ++i) {
    const PoolDeployment& pool = input.deployment.pools[i];
    const Pool& asked = input.scenario.pools.at(i);
    Json notes = Json::array();
    std::vector<std::string> seen;
    const auto add_notes = [&](const std::vector<std::string>& more) {
      for (const std::string& note : more)
        if (std::find(seen.begin(), seen.end(), note) == seen.end()) {
          seen.push_back(note);
          notes.push_back(note);
        }
    };
    if (pool.step_time) add_notes(pool.step_time->notes());
    add_notes(pool.notes);
    if (i < input.result.summary.pools.size()) add_notes(input.result.summary.pools[i].notes);
    Json one = {{"name", pool.name},
                {"gpu", pool.gpu ? Json(pool.gpu->name) : Json(nullptr)},
                {"gpu_title", pool.gpu ? Json(pool.gpu->title) : Json(nullptr)},
                {"model", pool.model.name},
                {"model_title", pool.model.title.empty() ? pool.model.name : pool.model.title},
                {"replicas", pool.replicas},
                {"gpus_per_replica", pool.gpus_per_replica},
                {"tp", asked.parallelism.tp},
                {"kv_blocks", std::max<std::int64_t>(0, pool.rules.num_gpu_blocks - 1)},
                {"cost_model", pool.step_time ? pool.step_time->kind() : ""},
                {"engine", engine_json(pool.rules)},
                {"memory", memory_total_json(pool.memory)},
                {"notes", std::move(notes)},
                {"rules", rules_in_force(pool.rules)}};
    if (pool.priced) one["usd_per_gpu_hour"] = pool.usd_per_gpu_hour;
    if (pool.power && pool.gpu && pool.gpu->power)
      one["watts"] = {{"idle", pool.gpu->power->idle_watts},
                      {"memory_bound", pool.gpu->power->memory_bound_watts},
                      {"compute_bound", pool.gpu->power->compute_bound_watts}};
    json.push_back(std::move(one));
  }
  return json;
}

/// What this version leaves out and a planner must know.
Json not_modelled(const Scenario& scenario) {
  Json json = {
      "Failures, restarts and cold starts of replicas: every replica is up for the whole run.",
      "Autoscaling: the number of replicas is constant.",
      "The router knows every replica's state exactly and at once; real routers see it late.",
      "Networks other than the tensor-parallel all-reduce inside a replica, and other tenants on "
      "the same machines.",
      "Power of hosts, switches and cooling; thermal throttling, and clocks that change with load.",
  };
  if (scenario.frontend.network == 0 && scenario.frontend.tokenize_base == 0 &&
      scenario.frontend.tokenize_per_token == 0)
    json.push_back(
        "The front end's own time: the scenario gives none (frontend), so network and tokenising "
        "take 0 s.");
  return json;
}

}  // namespace

Json report_data(const ReportInput& input) {
  const Scenario& scenario = input.scenario;
  const auto seconds_or_null = [](const std::optional<SimTime>& time) {
    return time ? Json(to_seconds(*time).value) : Json(nullptr);
  };
  Json json = {{"schema", "fleetsim.report/1"},
               {"summary", summary_json(input.result.summary, input.identity, std::nullopt)},
               {"question", input.question},
               {"warmup_s", to_seconds(scenario.warmup).value},
               {"duration_s", seconds_or_null(scenario.duration)},
               {"router", scenario.router.policy},
               {"precision",
                {{"weights", name_of(scenario.precision.weights)},
                 {"activations", name_of(scenario.precision.activations)},
                 {"kv_cache", name_of(scenario.precision.kv_cache)}}},
               {"slo", slo_sections_json(input.result.summary.slo, true)},
               {"slo_met", input.result.summary.slo_met()},
               {"pools", pools_json(input)},
               {"seeds", Json::array()}};
  for (const RunDigest& digest : input.seeds) json["seeds"].push_back(digest_json(digest));
  if (input.headroom) json["headroom"] = headroom_json(*input.headroom);
  json["curves"] = curves_json(input.result.curves);
  json["timeseries"] = timeseries_json(input.result.timeseries);
  json["not_modelled"] = not_modelled(scenario);
  json["resolved_scenario"] = input.resolved_scenario;
  return json;
}

std::string opening_comment(const std::string& yaml_text) {
  std::string paragraph;
  for (std::size_t at = 0; at < yaml_text.size();) {
    std::size_t end = yaml_text.find('\n', at);
    if (end == std::string::npos) end = yaml_text.size();
    std::string line = yaml_text.substr(at, end - at);
    at = end + 1;
    if (line.empty() || line[0] != '#') break;
    const std::size_t text = line.find_first_not_of("# \t");
    if (text == std::string::npos) break;  // an empty comment line ends the question
    if (!paragraph.empty()) paragraph += ' ';
    paragraph += line.substr(text, line.find_last_not_of(" \t\r") + 1 - text);
  }
  // what follows the first question is for readers of the file
  const std::size_t question = paragraph.find('?');
  return question == std::string::npos ? paragraph : paragraph.substr(0, question + 1);
}

}  // namespace fleetsim
