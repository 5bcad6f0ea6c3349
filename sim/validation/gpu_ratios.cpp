#include "sim/validation/gpu_ratios.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "sim/validation/row_scenario.h"
#include "sim/validation/service_prediction.h"

namespace fleetsim {
namespace {

/// Requests of one simulation: enough for a steady batch several times over.
constexpr std::int64_t kRequests = 3000;

struct Lengths {
  double prompt = 0, output = 0;
};

/// Mean lengths of MLPerf's data sets. Prompts from memory of the benchmark's rules (Open Orca,
/// CNN/DailyMail, LongBench mixes); they enter ratios only weakly.
Lengths mlperf_lengths(const ServiceRow& row) {
  static const std::map<std::string, Lengths> kLengths = {{"llama-2-70b", {294, 290}},
                                                          {"llama-3.1-8b", {870, 129}},
                                                          {"llama-3.1-405b", {9400, 650}},
                                                          {"mixtral-8x7b", {380, 146}},
                                                          {"deepseek-r1", {800, 3700}}};
  const auto found = kLengths.find(row.model);
  return found == kLengths.end() ? Lengths{} : found->second;
}

Lengths lengths_of(const ServiceRow& row) {
  if (row.prompt_tokens) return {*row.prompt_tokens, row.output_tokens.value_or(1)};
  return mlperf_lengths(row);
}

/// One configuration that was run; several rows may have run it.
struct Configuration {
  ServiceRow row;
  Lengths lengths;
  std::vector<double> measured;  // output tokens/s per GPU
  double predicted = 0;
  std::string name() const {
    return fmt::format("{} {} tp{}", row.gpu, row.precision, row.tp.value_or(1));
  }
};

std::string scenario_of(const Configuration& one) {
  const ServiceRow& row = one.row;
  const bool blackwell = row.gpu.starts_with("b") || row.gpu.starts_with("gb");
  std::string weights = row.precision, activations = row.precision;
  if (row.model.starts_with("gpt-oss")) weights = activations = "bf16";
  if (weights == "fp4" && !blackwell) activations = "bf16";
  return fmt::format(
      "name: ratio\nworkload:\n  arrivals: {{process: batch, requests: {}}}\n"
      "  prompt_tokens: {{distribution: fixed, value: {}}}\n"
      "  output_tokens: {{distribution: fixed, value: {}}}\nmodel: {}\n"
      "precision: {{weights: {}, activations: {}, kv_cache: fp8}}\nfleet:\n  pools:\n    - gpu: "
      "{}\n"
      "      parallelism: {{tp: {}}}\n      engine:\n        version: \"0.15.1\"\n"
      "        enable_prefix_caching: false\n        max_num_seqs: 2048\n"
      "        max_num_batched_tokens: 8192\n        max_model_len: {}\n"
      "outputs: {{requests: false, timeseries: false}}\n",
      kRequests, std::llround(one.lengths.prompt), std::llround(one.lengths.output),
      catalogue_model(row.model), weights, activations, row.gpu, row.tp.value_or(1),
      std::llround(one.lengths.prompt + one.lengths.output) + 16);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// Place of a GPU in the order in which bases are chosen.
std::size_t order_of(const std::string& gpu) {
  static const std::array<const char*, 5> kOrder = {"h100", "h200", "h200-nvl", "b200", "gb200"};
  return static_cast<std::size_t>(std::find(kOrder.begin(), kOrder.end(), gpu) - kOrder.begin());
}

}  // namespace

RatioValidation validate_ratios(const std::vector<ServiceRow>& rows, int threads) {
  RatioValidation out;
  out.assumptions = {
      "engine: vLLM 0.15.1 with 8192 tokens and 2048 seats stands for TensorRT-LLM on both GPUs",
      "KV cache in fp8; 3000 requests queued at once",
      "MLPerf's prompt lengths are means of its data sets, from memory"};
  using Key =
      std::tuple<std::string, std::string, std::string, double, double, std::size_t, std::string>;
  std::map<Key, Configuration> configurations;
  std::map<Key, std::int64_t> rows_of;
  for (const ServiceRow& row : rows) {
    if (row.source != "mlperf-v5.1" && row.source != "trtllm-perf-overview") continue;
    ++out.rows;
    const Lengths lengths = lengths_of(row);
    if (row.load != "offline-max" || row.data_parallel_attention || row.pp.value_or(1) != 1 ||
        !row.tp || !row.output_tokens_per_s_per_gpu || lengths.prompt == 0)
      continue;
    const std::string version = row.source == "mlperf-v5.1" ? "" : row.version;
    Configuration fresh{row, lengths, {}, 0};
    const Key key = {row.source,     version,           row.model,   lengths.prompt,
                     lengths.output, order_of(row.gpu), fresh.name()};
    auto& one = configurations.emplace(key, fresh).first->second;
    one.measured.push_back(*row.output_tokens_per_s_per_gpu);
    ++rows_of[key];
  }
  std::vector<NamedScenario> scenarios;
  for (const auto& [key, one] : configurations)
    scenarios.push_back({one.row.row_id, scenario_of(one)});
  const std::vector<ServicePrediction> predictions = predict_services(scenarios, threads);
  std::set<std::string> refused;
  std::size_t next = 0;
  for (auto& [key, one] : configurations) {
    const ServicePrediction& prediction = predictions[next++];
    one.predicted = prediction.output_tokens_per_s_per_gpu;
    if (!prediction.refused.empty())
      refused.insert(fmt::format("{} on {}: {}", one.row.model, one.name(), prediction.refused));
  }
  out.refused.assign(refused.begin(), refused.end());
  std::set<Key> used;
  for (auto base = configurations.begin(); base != configurations.end();) {
    auto end = base;
    const auto same_group = [&](const Key& key) {
      return std::get<0>(key) == std::get<0>(base->first) &&
             std::get<1>(key) == std::get<1>(base->first) &&
             std::get<2>(key) == std::get<2>(base->first) &&
             std::get<3>(key) == std::get<3>(base->first) &&
             std::get<4>(key) == std::get<4>(base->first);
    };
    auto reference = configurations.end();
    while (end != configurations.end() && same_group(end->first)) {
      if (reference == configurations.end() && end->second.predicted > 0) reference = end;
      ++end;
    }
    for (auto one = base; one != end; ++one) {
      if (reference == configurations.end() || one == reference || one->second.predicted <= 0 ||
          one->second.row.gpu == reference->second.row.gpu)
        continue;
      const Configuration& a = reference->second;
      const Configuration& b = one->second;
      out.ratios.push_back({b.row.source,
                            std::get<1>(one->first),
                            b.row.model,
                            b.lengths.prompt,
                            b.lengths.output,
                            a.name(),
                            b.name(),
                            {median(b.measured) / median(a.measured), b.predicted / a.predicted}});
      used.insert(one->first);
      used.insert(reference->first);
    }
    base = end;
  }
  for (const Key& key : used) out.rows_in_ratios += rows_of[key];
  return out;
}

}  // namespace fleetsim
