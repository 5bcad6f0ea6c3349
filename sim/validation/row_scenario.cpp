// Loads as the data's README says them; lengths of open-loop rows are published as means only.

#include "sim/validation/row_scenario.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <iterator>
#include <map>

#include "hw_models/model_spec.h"
#include "sim/validation/serving_recipe.h"

namespace fleetsim {
namespace {

constexpr std::int64_t kGpusOfANode = 8;

template <typename... Args>
void append(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

std::int64_t whole(double value) { return std::llround(value); }

/// "uniform, both ends" of a nominal length L: int(0.8 L) to L, as the benchmark draws it.
std::string length_law(const ServiceRow& row, double tokens) {
  if (row.length_spread.starts_with("uniform"))
    return fmt::format("{{distribution: uniform, min: {}, max: {}}}",
                       static_cast<std::int64_t>(0.8 * tokens), whole(tokens));
  return fmt::format("{{distribution: fixed, value: {}}}", whole(tokens));
}

/// Rates of an open-loop experiment's two stages; 0: it has no such stage.
struct StageRates {
  double rates[2] = {0, 0};
  double seconds = 600;
  bool assumed = false;
};
StageRates stage_rates(const std::string& workload) {
  // The data's README: general 8 then 20, codegen 5 then 10 (600 s each), roleplay 6, reasoning 4
  // (1200 s); general-lite peaks at 6, the rest is not stated.
  static const std::map<std::string, StageRates> kRates = {
      {"general", {{8, 20}, 600, false}},      {"codegen", {{5, 10}, 600, false}},
      {"roleplay", {{6, 0}, 1200, false}},     {"reasoning", {{4, 0}, 1200, false}},
      {"general-lite", {{2.4, 6}, 600, true}}, {"reasoning-lite", {{1.2, 0}, 1200, true}},
  };
  const auto found = kRates.find(workload);
  return found == kRates.end() ? StageRates{} : found->second;
}

void add_open_loop(const ServiceRow& row, RowScenario& out) {
  const StageRates stages = stage_rates(row.workload);
  if (stages.rates[0] == 0) {
    out.scope = RowScope::assumed;
    out.reason = fmt::format("the load of '{}' is not published", row.workload);
    return;
  }
  if (stages.assumed) {
    out.scope = RowScope::assumed;
    out.reason = "the rates of -lite loads are not published";
    out.assumptions.push_back(
        fmt::format("rates of the heavier load of that name x 0.3: {} and {} requests/s",
                    stages.rates[0], stages.rates[1]));
  }
  out.assumptions.push_back(
      "every request has the mean lengths (the published p90 of e2e lies within a few percent of "
      "its mean, which no wide law gives)");
  out.assumptions.push_back(
      "arrivals at a constant rate and 44 prompts that come again and again (inference-perf's "
      "shared_prefix data: 11 system prompts x 4 users, load type constant, as published with the "
      "experiments)");
  const auto constant = [&](double rate) {
    append(out.yaml, "duration: {}s\nworkload:\n  arrivals: {{process: constant, rate: {}/s}}\n",
           stages.seconds, rate);
  };
  if (row.stage == "0") {
    constant(stages.rates[0]);
  } else if (row.stage == "1") {
    constant(stages.rates[1]);
  } else if (stages.rates[1] == 0) {
    constant(stages.rates[0]);
  } else {
    append(out.yaml,
           "duration: {}s\nworkload:\n  arrivals:\n    process: piecewise\n    steps: [{{from: 0s, "
           "rate: {}/s}}, {{from: {}s, rate: {}/s}}]\n",
           2 * stages.seconds, stages.rates[0], stages.seconds, stages.rates[1]);
  }
}

void add_engine(const ServingRecipe& recipe, const ServiceRow& row, std::string& yaml) {
  append(yaml, "model: {}\n", catalogue_model(row.model));
  append(yaml, "precision: {{weights: {}, activations: {}, kv_cache: {}{}}}\n", recipe.weights,
         recipe.activations, recipe.kv_cache,
         recipe.experts.empty() ? "" : ", experts: " + recipe.experts);
  append(yaml, "fleet:\n  pools:\n    - gpu: {}\n      parallelism: {{tp: {}{}}}\n", row.gpu,
         recipe.tp, recipe.ep > 1 ? fmt::format(", ep: {}", recipe.ep) : "");
  append(yaml, "      engine:\n        version: \"{}\"\n", recipe.version);
  const auto setting = [&](const char* key, const auto& value) {
    if (value) append(yaml, "        {}: {}\n", key, *value);
  };
  setting("max_num_seqs", recipe.max_num_seqs);
  setting("max_num_batched_tokens", recipe.max_num_batched_tokens);
  setting("max_model_len", recipe.max_model_len);
  setting("block_size", recipe.block_size);
  setting("max_cudagraph_capture_size", recipe.max_cudagraph_capture_size);
  setting("gpu_memory_utilization", recipe.gpu_memory_utilization);
  setting("enable_prefix_caching", recipe.prefix_caching);
  setting("async_scheduling", recipe.async_scheduling);
  if (recipe.greedy) yaml += "        generation_config: vllm\n";
  append(yaml,
         "frontend: {{stream_interval: {}, tokenize: {{base: {}, per_token: {}, at_once: 1}}}}\n",
         recipe.stream_interval, recipe.api_base, recipe.api_per_token);
  yaml += "outputs: {requests: false, timeseries: false}\n";
}

bool is_ratio_source(const std::string& source) {
  return source == "mlperf-v5.1" || source == "trtllm-perf-overview";
}

/// Scope by what the row says, before a scenario is written.
void set_scope(const ServiceRow& row, bool single_stage, RowScenario& out) {
  const auto leave = [&](RowScope scope, std::string reason) {
    out.scope = scope;
    out.reason = std::move(reason);
  };
  if (is_ratio_source(row.source))
    return leave(RowScope::ratio, "maximum throughput; scored as a ratio between GPUs");
  if (row.engine != "vllm")
    return leave(RowScope::other_engine, fmt::format("engine {}", row.engine));
  if (row.data_parallel_attention) return leave(RowScope::other_engine, "data-parallel attention");
  if (row.speculation != "off")
    return leave(RowScope::other_engine, fmt::format("speculation {}", row.speculation));
  if (row.gpus > kGpusOfANode || row.pp.value_or(1) > 1)
    return leave(RowScope::not_one_node, "more than one node or pipeline stages");
  if (row.source == "vllm-openloop" && row.stage == "all" && single_stage)
    return leave(RowScope::repeat, "its experiment has one stage, which stands in another row");
}

}  // namespace

const char* name_of(RowScope scope) {
  switch (scope) {
    case RowScope::simulated:
      return "simulated";
    case RowScope::assumed:
      return "assumed";
    case RowScope::ratio:
      return "ratio";
    case RowScope::other_engine:
      return "engine not simulated yet";
    case RowScope::repeat:
      return "repeat";
    case RowScope::not_one_node:
      return "more than one node";
  }
  return "";
}

std::string catalogue_model(const std::string& name) {
  std::string plain = name.substr(name.rfind('/') == std::string::npos ? 0 : name.rfind('/') + 1);
  std::transform(plain.begin(), plain.end(), plain.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (std::string known = plain;;) {  // "llama-3.1-8b-instruct" -> "llama-3.1-8b"
    if (find_model(known) != nullptr) return known;
    const std::size_t dash = known.rfind('-');
    if (dash == std::string::npos) return plain;
    known.resize(dash);
  }
}

RowScenario row_scenario(const ServiceRow& row, bool single_stage) {
  RowScenario out;
  set_scope(row, single_stage, out);
  if (out.scope != RowScope::simulated) return out;
  const ServingRecipe recipe = serving_recipe(row);
  if (!recipe.unknown.empty()) {
    out.scope = RowScope::assumed;
    out.reason = recipe.unknown;
  }
  append(out.yaml, "name: {}\n", row.row_id);
  if (row.load == "poisson") {
    add_open_loop(row, out);
  } else {
    const std::int64_t clients = row.clients.value_or(1);
    append(out.yaml, "workload:\n  arrivals: {{process: closed, clients: {}, requests: {}}}\n",
           clients, 10 * clients);
  }
  if (row.load == "poisson")
    append(out.yaml, "  prefixes: {{system_prompts: 44, tokens: {}}}\n",
           whole(row.prompt_tokens.value_or(1)));
  append(out.yaml, "  prompt_tokens: {}\n  output_tokens: {}\n",
         length_law(row, row.prompt_tokens.value_or(1)),
         length_law(row, row.output_tokens.value_or(1)));
  add_engine(recipe, row, out.yaml);
  out.assumptions.insert(out.assumptions.end(), recipe.assumptions.begin(),
                         recipe.assumptions.end());
  return out;
}

std::vector<RowScenario> row_scenarios(const std::vector<ServiceRow>& rows) {
  std::map<std::string, bool> two_stages;  // by the row id without its stage
  const auto experiment = [](const ServiceRow& row) {
    return row.row_id.substr(0, row.row_id.rfind('-'));
  };
  for (const ServiceRow& row : rows)
    if (row.stage == "1") two_stages[experiment(row)] = true;
  std::vector<RowScenario> out;
  for (const ServiceRow& row : rows)
    out.push_back(row_scenario(row, !two_stages.contains(experiment(row))));
  return out;
}

}  // namespace fleetsim
