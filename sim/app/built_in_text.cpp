// Plain text, aligned by hand; the same bytes on a terminal and in a pipe.

#include "sim/app/built_in_text.h"

#include <fmt/format.h>

#include <vector>

#include "hw_models/gpu_spec.h"
#include "hw_models/model_spec.h"
#include "sim/app/scenario_argument.h"
#include "sim/engine/engine_rules.h"
#include "sim/fleet/router.h"
#include "sim/scenario/field_reader.h"

namespace fleetsim {
namespace {

[[noreturn]] void unknown(const char* kind, const std::string& name,
                          const std::vector<std::string>& known) {
  Problems problems;
  problems.add(fmt::format("show {}", kind), {},
               fmt::format("unknown {} '{}'{}", kind, name, suggestion(name, known)));
  throw ConfigError(problems);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

double billions(std::int64_t count) { return static_cast<double>(count) / 1e9; }

/// Words wrapped at 100 columns, every line after the first indented.
std::string wrapped(const std::string& first, const std::string& text, std::size_t indent) {
  std::string out = first, line;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (!line.empty() && indent + line.size() + 1 + word.size() > 100) {
      out += line + "\n" + std::string(indent, ' ');
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
    at = end + 1;
  }
  return out + line + "\n";
}

std::string fact(const std::string& name, const std::string& value) {
  return value.empty() ? "" : fmt::format("  {:<26} {}\n", name, value);
}

std::string fact(const std::string& name, std::int64_t value) {
  return value == 0 ? "" : fact(name, fmt::format("{}", value));
}

std::string moe_facts(const MixtureOfExperts& moe) {
  return fact("experts", moe.experts) + fact("experts per token", moe.experts_per_token) +
         fact("expert FFN", moe.expert_ffn) + fact("shared experts", moe.shared_experts) +
         fact("shared FFN", moe.shared_ffn) + fact("dense layers", moe.dense_layers) +
         (moe.interval > 1 ? fact("experts on every", fmt::format("{} layers", moe.interval)) : "");
}

std::string linear_facts(const ModelSpec& model) {
  const LinearAttention& linear = *model.linear;
  return fact("linear layers", linear.layers) +
         fact("linear heads", fmt::format("{} keys of {}, {} values of {}", linear.key_heads,
                                          linear.key_dim, linear.value_heads, linear.value_dim)) +
         fact("state bytes a sequence", model.state_bytes_per_sequence_per_rank(1).value);
}

}  // namespace

std::string gpu_list() {
  std::string text = fmt::format("{:<18} {:<34} {:>9} {:>10} {:>12}\n", "gpu", "title", "memory",
                                 "bandwidth", "bf16 dense");
  for (const GpuSpec& gpu : gpu_catalogue()) {
    const auto peak = gpu.dense_peak.find(NumberFormat::bf16);
    text += fmt::format("{:<18} {:<34} {:>6.0f} GB {:>5.2f} TB/s {:>6.0f} TFLOPS\n", gpu.name,
                        gpu.title, static_cast<double>(gpu.memory_datasheet.value) / 1e9,
                        gpu.memory_bandwidth.value / 1e12,
                        peak == gpu.dense_peak.end() ? 0.0 : peak->second.value / 1e12);
  }
  return text + "`fleetsim show gpu NAME` gives every figure with its source.\n";
}

std::string model_list() {
  std::string text = fmt::format("{:<20} {:<34} {:>10} {:>9} {:>7} {:>9}\n", "model", "title",
                                 "parameters", "active", "layers", "context");
  for (const ModelSpec& model : model_catalogue())
    text += fmt::format("{:<20} {:<34} {:>8.2f} B {:>7.2f} B {:>7} {:>9}\n", model.name,
                        model.title, billions(model.parameters()),
                        billions(model.active_parameters()), model.layers, model.max_context);
  return text + "Others: model: {hf_config: path/config.json}.\n";
}

std::string policy_list() {
  std::string text = "Routers (router.policy)\n";
  for (const RouterRow& row : router_table())
    text += wrapped(fmt::format("  {:<24}", row.name), row.description, 26);
  text += "\nSchedulers (fleet.pools[].engine.scheduler)\n";
  for (const SchedulerRow& row : scheduler_table())
    text += wrapped(fmt::format("  {:<24}", row.name), row.description, 26);
  text += "\nRules of vllm-v1 by date (fleet.pools[].engine.version)\n";
  for (const DatedRule& rule : vllm_v1_rules())
    text += wrapped(fmt::format("  {:<24}", rule.since), rule.rule, 26);
  return text;
}

std::string scenario_list() {
  std::string text;
  for (const BuiltInScenario& scenario : built_in_scenarios()) {
    const std::size_t end = scenario.question.find('?');
    text += wrapped(fmt::format("{:<26}", scenario.name),
                    scenario.question.substr(0, end == std::string::npos ? end : end + 1), 26);
  }
  return text + "`fleetsim run NAME` runs one; `fleetsim show scenario NAME` prints its file.\n";
}

std::string gpu_page(const std::string& name) {
  const GpuSpec* gpu = find_gpu(name);
  if (gpu == nullptr) unknown("gpu", name, gpu_names());
  std::string text = fmt::format("{}: {}\n", gpu->name, gpu->title);
  text += fact("also called", joined(gpu->aliases));
  text += fact("architecture", fmt::format("sm_{}, {} SMs", gpu->architecture_sm, gpu->sms));
  for (const auto& [format, peak] : gpu->dense_peak)
    text += fact(fmt::format("{} dense peak", name_of(format)),
                 fmt::format("{:.1f} TFLOPS", peak.value / 1e12));
  text += fact("memory bandwidth", fmt::format("{:.3f} TB/s", gpu->memory_bandwidth.value / 1e12));
  text += fact("memory, datasheet", fmt::format("{} bytes", gpu->memory_datasheet.value));
  text +=
      fact("memory, reported",
           fmt::format("{} bytes{}", gpu->memory_reported.value,
                       gpu->memory_reported_is_nominal ? " (nominal, not read on a device)" : ""));
  text += fact("L2 cache", fmt::format("{:.0f} bytes", gpu->l2_bytes));
  if (gpu->nvlink_per_direction)
    text += fact("NVLink, each direction",
                 fmt::format("{:.0f} GB/s", gpu->nvlink_per_direction->value / 1e9));
  text +=
      fact("PCIe, each direction", fmt::format("{:.0f} GB/s", gpu->pcie_per_direction.value / 1e9));
  text += fact("power limit", fmt::format("{:.0f} W", gpu->tdp_watts));
  if (gpu->power)
    text += fact("power", fmt::format("{:.0f} W idle, {:.0f} W memory-bound, {:.0f} W "
                                      "compute-bound",
                                      gpu->power->idle_watts, gpu->power->memory_bound_watts,
                                      gpu->power->compute_bound_watts));
  text += fact("GEMM floor", fmt::format("{:.2f} us", gpu->gemm_floor.value * 1e6));
  text += fact("attention floor", fmt::format("{:.2f} us", gpu->attention_floor.value * 1e6));
  text += fact("GEMM share of peak", fmt::format("{}", gpu->gemm_efficiency));
  text += fact("GEMM share of bandwidth", fmt::format("{}", gpu->gemm_bandwidth_share));
  text += fact("attention share of peak", fmt::format("{}", gpu->attention_efficiency));
  text += fact("attention share of bw.", fmt::format("{}", gpu->attention_bandwidth_share));
  text += "Sources\n";
  for (const auto& [field, source] : gpu->sources)
    text += wrapped(fmt::format("  {:<26} ", field), source, 29);
  return text;
}

std::string model_page(const std::string& name) {
  const ModelSpec* model = find_model(name);
  if (model == nullptr) unknown("model", name, model_names());
  std::string text = fmt::format("{}: {}\n", model->name, model->title);
  text += fact("parameters",
               fmt::format("{} ({:.2f} B), {:.2f} B active a token", model->parameters(),
                           billions(model->parameters()), billions(model->active_parameters())));
  text +=
      fact("layers", model->layers) + fact("hidden", model->hidden) + fact("heads", model->heads) +
      fact("KV heads", model->kv_heads) + fact("head dimension", model->head_dim) +
      fact("FFN", model->ffn) + fact("vocabulary", model->vocab) +
      fact("context", model->max_context) +
      fact(model->chunked_window ? "attention chunk" : "sliding window", model->window) +
      fact(model->chunked_window ? "chunked layers" : "windowed layers", model->windowed_layers);
  if (model->linear) text += linear_facts(*model);
  if (model->moe) text += moe_facts(*model->moe);
  if (model->latent)
    text += fact("KV latent + rope",
                 fmt::format("{} + {}", model->latent->kv_lora_rank, model->latent->rope_dim));
  if (model->index)
    text += fact("sparse index", fmt::format("{} heads of {}, {} tokens kept", model->index->heads,
                                             model->index->dim, model->index->top_k));
  if (model->native_expert_format)
    text += fact("experts stored in", name_of(*model->native_expert_format));
  text += fact("KV bytes a token, bf16",
               fmt::format("{}", model->kv_bytes_per_token_all_layers(NumberFormat::bf16).value));
  return text + wrapped(fmt::format("  {:<26} ", "source"), model->source, 29);
}

std::string scenario_page(const std::string& name) {
  std::vector<std::string> names;
  for (const BuiltInScenario& scenario : built_in_scenarios()) {
    if (scenario.name == name) return scenario.text;
    names.push_back(scenario.name);
  }
  unknown("scenario", name, names);
}

}  // namespace fleetsim
