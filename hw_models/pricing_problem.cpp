// What cannot be priced, said before anything is built: shapes that do not divide, precisions that
// no engine runs, links without data.

#include <fmt/format.h>

#include "hw_models/step_time.h"

namespace fleetsim {
namespace {

using Message = std::optional<std::string>;

Message tensor_parallel_problem(const ModelSpec& m, std::int64_t tp) {
  if (tp < 1) return fmt::format("tp must be at least 1, not {}", tp);
  if (tp > 8)
    return fmt::format("tp {} leaves the node: all-reduce is known among at most 8 GPUs", tp);
  if (m.heads % tp != 0)
    return fmt::format("tp {} does not divide the {} attention heads of {}", tp, m.heads, m.name);
  if (!m.latent && m.kv_heads % tp != 0 && tp % m.kv_heads != 0)
    return fmt::format("tp {} neither divides the {} KV heads of {} nor is a multiple of them", tp,
                       m.kv_heads, m.name);
  if (m.linear && (m.linear->key_heads % tp != 0 || m.linear->value_heads % tp != 0))
    return fmt::format("tp {} does not divide the {} key and {} value heads of {}'s linear layers",
                       tp, m.linear->key_heads, m.linear->value_heads, m.name);
  if (m.ffn % tp != 0)
    return fmt::format("tp {} does not divide the feed-forward width {} of {}", tp, m.ffn, m.name);
  if (m.moe && (m.moe->expert_ffn % tp != 0 || m.moe->shared_ffn % tp != 0))
    return fmt::format("tp {} does not divide the expert width {} of {}", tp, m.moe->expert_ffn,
                       m.name);
  return std::nullopt;
}

Message expert_parallel_problem(const ModelSpec& m, const Sharding& sharding) {
  if (sharding.ep == 1) return std::nullopt;
  if (!m.moe) return fmt::format("ep {}: {} has no routed experts", sharding.ep, m.name);
  if (sharding.ep != sharding.tp)
    return fmt::format(
        "ep {} with tp {}: without data parallelism the experts are shared out over "
        "the tensor-parallel ranks, so ep is 1 or {}",
        sharding.ep, sharding.tp, sharding.tp);
  if (m.moe->experts % sharding.ep != 0)
    return fmt::format("ep {} does not divide the {} experts of {}", sharding.ep, m.moe->experts,
                       m.name);
  return std::nullopt;
}

bool sixteen_bit(NumberFormat format) {
  return format == NumberFormat::fp16 || format == NumberFormat::bf16;
}

Message activation_problem(const ModelSpec& m, const Precision& p) {
  const std::string weights = name_of(p.weights), activations = name_of(p.activations);
  const bool fp32_weights = p.weights == NumberFormat::fp32;
  const bool fp32_activations = p.activations == NumberFormat::fp32;
  if (p.experts && !m.moe)
    return fmt::format("experts {}: {} has no routed experts", name_of(*p.experts), m.name);
  if (p.experts && (fp32_weights || *p.experts == NumberFormat::fp32))
    return fmt::format("experts {} with weights {}: fp32 runs only with fp32", name_of(*p.experts),
                       weights);
  if (fp32_weights != fp32_activations)
    return fmt::format("weights {} with activations {}: fp32 runs only with fp32", weights,
                       activations);
  if (fp32_activations && m.native_expert_format)
    return fmt::format("{} stores its experts in {}: run it with bf16 activations", m.name,
                       name_of(*m.native_expert_format));
  if (fp32_activations || sixteen_bit(p.activations)) return std::nullopt;
  if (p.weights == NumberFormat::int4 || p.activations == NumberFormat::int4)
    return fmt::format(
        "activations {} with weights {}: int4 is weight-only (W4A16); use bf16 or "
        "fp16 activations",
        activations, weights);
  // Experts that are stored in fp4 multiply activations in fp4, or in fp8 (w4a8).
  const auto experts = p.experts ? p.experts : m.native_expert_format;
  const bool fp4_experts = experts == NumberFormat::fp4;
  const bool native_experts =
      sixteen_bit(p.weights) &&
      (experts == p.activations || (fp4_experts && p.activations == NumberFormat::fp8));
  if (p.weights != p.activations && !native_experts)
    return fmt::format("activations {} with weights {}: {} activations need {} weights",
                       activations, weights, activations, activations);
  return std::nullopt;
}

Message kv_problem(const GpuSpec& gpu, const Precision& p) {
  const std::string kv = name_of(p.kv_cache);
  if (p.kv_cache == NumberFormat::int4)
    return "kv_cache int4: no engine modelled here keeps KV in it";
  if (p.kv_cache == NumberFormat::fp4 && !gpu.has(NumberFormat::fp4))
    return fmt::format("kv_cache fp4: {} has no fp4", gpu.name);
  if (p.kv_cache == NumberFormat::fp32 && p.activations != NumberFormat::fp32)
    return fmt::format("kv_cache fp32 with activations {}: fp32 KV needs fp32 activations",
                       name_of(p.activations));
  return std::nullopt;
}

}  // namespace

std::optional<std::string> find_pricing_problem(const ModelSpec& model, const GpuSpec& gpu,
                                                const Precision& precision,
                                                const Sharding& sharding) {
  if (auto problem = tensor_parallel_problem(model, sharding.tp)) return problem;
  if (auto problem = expert_parallel_problem(model, sharding)) return problem;
  if (auto problem = activation_problem(model, precision)) return problem;
  if (auto problem = kv_problem(gpu, precision)) return problem;
  for (const NumberFormat format : {NumberFormat::fp32, NumberFormat::bf16})
    CHECK(gpu.has(format), gpu.name + " without a peak for " + name_of(format));
  if (model.growing_layers() < 1)
    return fmt::format("{}: every layer has a sliding window; at least one must keep all tokens",
                       model.name);
  return std::nullopt;
}

}  // namespace fleetsim
