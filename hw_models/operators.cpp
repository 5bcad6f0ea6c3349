// The operators of kernels-and-cost-models §3 as an engine launches them: embedding, then per layer
// norms, projections, attention, feed-forward or experts, all-reduces; head and sampling on the
// rows that need logits. GEMM shapes come from weight_groups, so that no shape is written twice.

#include "hw_models/operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "hw_models/attention_work.h"
#include "hw_models/check.h"
#include "hw_models/matrix_work.h"
#include "hw_models/parametric_attention.h"
#include "hw_models/weight_groups.h"

namespace fleetsim {
namespace {

/// Share of the datasheet bandwidth that elementwise kernels reach: bytes / (0.8 W), as
/// aiconfigurator (§4.5). Their floor is the cost of a kernel node, the same as the smallest
/// GEMM's.
constexpr double kElementwiseShare = 0.8;
/// Passes of sampling over the logits: 1 for greedy or Gumbel; top-p would be 2-3 (§3, row
/// sampling).
constexpr double kSamplingPasses = 1;
/// All-gather of logits: floor and bus bandwidth of NCCL on 8 H200 (§2.5: 10-13 us, 337 of 450
/// GB/s).
constexpr double kGatherFloor = 11.5e-6, kGatherShare = 0.75, kGatherPcieShare = 0.55;
/// Kernels around the routed experts of a layer: top-k, alignment of tokens to experts, weighted
/// sum.
constexpr std::int64_t kRoutingKernels = 3;
/// Between a router and its fitted experts, beyond reading the scores: choosing experts, counting
/// and ordering rows by expert. The tables feed experts with a choice already made. The same on
/// every rank. Decided by the closed-loop MoE rows of vLLM 0.15 to 0.19, whose prompts of 8k were
/// 0.3 to 1 ms a layer slower than all priced operators, whatever the tensor parallelism and the
/// precision.
constexpr Seconds kDispatchOfChoice{10e-9};  // a token and chosen expert

/// Top-p as PyTorch runs it for vLLM: a sort of each row's logits in fp32, a running sum, a scatter
/// back; in times of reading the logits once. Decided by the open-loop rows of Llama 3.1 8B and 70B
/// on H100 (vLLM 0.15.1): about 0.5 ms + 8 us a row beyond all other operators.
constexpr Seconds kTopPFloor{0.5e-3};
constexpr double kTopPPasses = 50;

double to_double(std::int64_t n) { return static_cast<double>(n); }

/// What PyTorch's eager operators launch and move where an engine has one kernel, in reads and
/// writes of a 16-bit element. Norm: cast to fp32, square, mean, reciprocal root, two products,
/// cast back, and the residual's addition; rotary embedding, for queries and for keys: two
/// products, negate-and-concatenate, addition, and two slices' copies. Counted in transformers'
/// modeling_llama.py.
struct EagerOperators {
  std::int64_t launches;
  double traffic;  // over that of the fused kernel
};
constexpr EagerOperators kEagerNorm{8, 4.0}, kEagerRotary{10, 3.0}, kEagerActivation{2, 5.0 / 3};

/// What all operators of a deployment share.
struct Context {
  const ModelSpec& model;
  const GpuSpec& gpu;
  const Precision& precision;
  const KernelPlan& plan;
  std::int64_t tp;
  double wide;  // bytes of an unquantised activation: 2, or 4 in fp32
  OperatorList* out;

  const OperatorFamily* family_for(const OperatorShape& shape) const {
    const bool fitted = plan.fitted != nullptr && wide == 2;  // nobody measured fp32
    return fitted ? plan.fitted->find(family_of(shape)) : nullptr;
  }

  const OperatorFamily* stand_in_for(const OperatorShape& shape) const {
    if (plan.fitted == nullptr || wide != 2) return nullptr;
    const auto names = std::visit(
        [](const auto& s) -> std::vector<std::string> {
          if constexpr (requires { stand_ins(s); }) return stand_ins(s);
          return {};
        },
        shape);
    for (const std::string& name : names)
      if (const OperatorFamily* family = plan.fitted->find(name)) return family;
    return nullptr;
  }

  double heads() const { return to_double(model.heads / tp); }
  double kv_heads() const { return to_double(model.kv_heads_per_rank(tp)); }
  NumberFormat wide_format() const { return wide == 4 ? NumberFormat::fp32 : NumberFormat::bf16; }
  Roofline gemm_roof(NumberFormat math) const {
    return {gpu.gemm_floor,
            {gpu.gemm_efficiency_at(math) * gpu.dense_peak.at(math).value},
            {gpu.gemm_bandwidth_share * gpu.memory_bandwidth.value}};
  }
  Roofline elementwise_roof() const {
    return {gpu.gemm_floor,
            gpu.dense_peak.at(wide_format()),
            {kElementwiseShare * gpu.memory_bandwidth.value}};
  }
};

void add_elementwise(const Context& c, const std::string& name, std::int64_t launches,
                     double bytes_per_row, const EagerOperators& eager = {1, 1.0}) {
  if (launches == 0) return;
  RowOperator op;
  op.name = name;
  op.group = CostGroup::elementwise;
  op.launches = launches;
  op.bytes_per_row = bytes_per_row;
  if (!c.plan.fused) {
    op.launches *= eager.launches;
    op.bytes_per_row *= eager.traffic / to_double(eager.launches);
  }
  op.roof = c.elementwise_roof();
  op.shape = ElementwiseShape{};
  op.family = c.family_for(op.shape);
  c.out->rows.push_back(std::move(op));
}

NumberFormat stored_format(const Context& c, WeightRole role) {
  const NumberFormat weights = c.precision.weights;
  const bool sixteen_bit = weights == NumberFormat::fp16 || weights == NumberFormat::bf16;
  if (role == WeightRole::expert && c.precision.experts) return *c.precision.experts;
  if (role == WeightRole::expert && sixteen_bit)
    return c.model.native_expert_format.value_or(weights);
  if (role == WeightRole::matrix || role == WeightRole::expert) return weights;
  return c.wide_format();
}

/// A GEMM [T, K] x [K, N]: 2TKN FLOPs, wKN + aTK + oTN bytes; routed experts read D(T) matrices and
/// move k rows a token.
RowOperator gemm_of(const Context& c, const WeightGroup& group) {
  const NumberFormat stored = stored_format(c, group.role);
  const NumberFormat math = math_format(stored, c.precision.activations, c.gpu);
  const double input = std::min(c.wide, element_bytes(math));
  const double n = to_double(group.rows), k = to_double(group.columns);
  const double weights = stored_weight_bytes(c.model, group.role, c.precision) * n * k;
  RowOperator op;
  op.name = group.name;
  op.launches = group.layers;
  op.roof = c.gemm_roof(math);
  double rows_per_token = 1;
  if (group.role == WeightRole::expert) {
    op.experts = to_double(c.model.moe->experts);
    op.experts_per_token = rows_per_token = to_double(c.model.moe->experts_per_token);
    op.expert_bytes = weights;
  } else {
    op.bytes_fixed = weights;
  }
  op.flops_per_row = 2 * n * k * rows_per_token;
  op.bytes_per_row = (input * k + c.wide * n) * rows_per_token;
  const auto format = gemm_format(stored, math, c.model.fp8_block_scales);
  if (format && group.role != WeightRole::expert) {
    op.shape = GemmShape{*format, 1, n, k};
    op.family = c.family_for(op.shape);
    if (*format == GemmFormat::nvfp4) op.age = c.plan.age.nvfp4_gemm;
  }
  return op;
}

/// The two grouped products of the routed experts with what stands between and around them, as
/// fitted; nullopt where they have to be priced one by one.
std::optional<RowOperator> fitted_experts(const Context& c, const RowOperator& gate_up,
                                          const RowOperator& down) {
  const MixtureOfExperts& e = *c.model.moe;
  const NumberFormat stored = stored_format(c, WeightRole::expert);
  const NumberFormat math = math_format(stored, c.precision.activations, c.gpu);
  const auto format = gemm_format(stored, math, c.model.fp8_block_scales);
  if (!format) return std::nullopt;
  ExpertsShape shape;
  shape.format = *format;
  // Tensor-scaled fp8 experts were measured with FlashInfer's CUTLASS kernel alone, at a third of
  // the rate of the Triton kernel that vLLM takes for them on Hopper; block scales are next to it.
  if (c.gpu.architecture_sm == 90 && *format == GemmFormat::fp8)
    shape.format = GemmFormat::fp8_block;
  shape.hidden = to_double(c.model.hidden);
  shape.ffn = to_double(e.expert_ffn * c.plan.ep / c.tp);
  shape.experts = to_double(e.experts);
  shape.local_experts = to_double(e.experts / c.plan.ep);
  shape.experts_per_token = to_double(e.experts_per_token);
  shape.skew = c.plan.routing_skew;
  RowOperator op = gate_up;
  op.shape = shape;
  op.family = c.family_for(op.shape);
  if (op.family == nullptr) return std::nullopt;
  if (*format == GemmFormat::nvfp4) op.age = c.plan.age.nvfp4_gemm;
  if (*format == GemmFormat::w4a16 && stored == NumberFormat::fp4)
    op.rate_max = c.plan.age.fp4_experts_rate;
  op.name = "routed experts";
  op.flops_per_row += down.flops_per_row;
  op.bytes_per_row += down.bytes_per_row;
  op.expert_bytes += down.expert_bytes;
  return op;
}

/// Messages up to this many bytes take the engine's own all-reduce, larger ones NCCL: the table
/// CUSTOM_ALL_REDUCE_MAX_SIZES by architecture and ranks of vLLM's all_reduce_utils.py (from 0.10.2
/// on), elsewhere max_size of its custom_all_reduce.py. At the limit NCCL takes over.
double custom_all_reduce_limit(const GpuSpec& gpu, std::int64_t ranks) {
  constexpr double kKiB = 1024, kMiB = 1024 * kKiB;
  if (gpu.architecture_sm == 90)
    return ranks <= 2 ? 64 * kMiB : ranks <= 4 ? 32 * kMiB : 256 * kKiB;
  if (gpu.architecture_sm == 100) return ranks <= 4 ? 2 * kMiB : 1 * kMiB;
  if (gpu.architecture_sm == 103) return 4 * kMiB;
  return 8 * kMiB;
}

void add_all_reduce(const Context& c, const std::string& name, std::int64_t launches,
                    double bytes_per_row) {
  if (c.tp == 1) return;
  const AllReduceCurve curve = all_reduce_curve(c.gpu, c.tp);
  RowOperator op;
  op.name = name;
  op.group = CostGroup::communication;
  op.launches = launches;
  op.message_per_row = bytes_per_row;
  op.wire_per_row = op.message_per_row * 2 * to_double(c.tp - 1) / to_double(c.tp);
  op.curve = curve.points;
  op.source = curve.source;
  const CollectiveShape custom{Collective::all_reduce_custom, to_double(c.tp), 1};
  const CollectiveShape nccl{Collective::all_reduce_nccl, to_double(c.tp), 1};
  op.shape = custom;
  op.family = c.family_for(custom);
  op.shape_beyond_limit = nccl;
  op.beyond_limit = c.family_for(nccl);
  op.family_limit_bytes = custom_all_reduce_limit(c.gpu, c.tp);
  if (op.beyond_limit == nullptr) op.family = nullptr;
  c.out->rows.push_back(std::move(op));
}

/// Activations of every token to the next pipeline stage: 10 us of latency (aiconfigurator's P2P
/// figure, kernels-and-cost-models §4.5), then 380 of 450 GB/s NVLink one way (§2.5), PCIe at 0.55.
void add_stage_send(const Context& c) {
  if (c.plan.pp == 1) return;
  constexpr double kLatency = 10e-6, kNvlinkShare = 380.0 / 450;
  const double rate = c.gpu.nvlink_per_direction
                          ? kNvlinkShare * c.gpu.nvlink_per_direction->value
                          : kGatherPcieShare * c.gpu.pcie_per_direction.value;
  RowOperator op;
  op.name = "send to the next stage";
  op.group = CostGroup::communication;
  op.message_per_row = op.wire_per_row = c.wide * to_double(c.model.hidden) / to_double(c.tp);
  op.curve = {{0.0, {kLatency}}, {1e9, {kLatency + 1e9 / rate}}};
  op.source = "derived: P2P latency and one-way copy rate";
  c.out->rows.push_back(std::move(op));
}

void add_position_operators(const Context& c) {
  const ModelSpec& m = c.model;
  const double kv_element = element_bytes(c.precision.kv_cache);
  if (m.latent) {
    const double rotary = c.heads() * to_double(m.latent->rope_dim);
    const double latent = to_double(m.latent->kv_lora_rank + m.latent->rope_dim);
    const auto stored = m.kv_bytes_per_token_per_layer(c.precision.kv_cache, c.tp);
    add_elementwise(c, "rope and kv write", m.layers,
                    2 * c.wide * rotary + c.wide * latent + to_double(stored.value));
    // Queries and the latent are each put together from their rotary and other parts.
    add_elementwise(c, "latent concatenation", 2 * m.layers, c.wide * (rotary + latent));
    add_elementwise(c, "latent norms", m.layers,
                    2 * c.wide * to_double(m.latent->q_lora_rank + m.latent->kv_lora_rank));
    return;
  }
  const double query_key = (c.heads() + c.kv_heads()) * to_double(m.head_dim);
  const double kv_write = 2 * c.kv_heads() * to_double(m.head_dim) * (c.wide + kv_element);
  const std::int64_t layers = m.attention_layers();
  if (m.attention_output_gate)  // sigmoid of the gate times the output of attention
    add_elementwise(c, "attention output gate", layers,
                    3 * c.wide * c.heads() * to_double(m.head_dim));
  if (m.linear) {
    // Both outputs are normed and gated: read twice, written once.
    const double values = to_double(m.linear->value_heads * m.linear->value_dim / c.tp);
    add_elementwise(c, "gated norm", m.linear->layers, 3 * c.wide * values);
  }
  if (m.qk_norm && m.qk_norm_all_heads && !c.plan.fused_all_heads_norm)
    add_elementwise(c, "query and key norm", 2 * kEagerNorm.launches * layers,
                    kEagerNorm.traffic * c.wide * query_key / to_double(kEagerNorm.launches));
  else if (m.qk_norm)
    add_elementwise(c, "query and key norm", layers, 2 * c.wide * query_key);
  // A norm over all heads needs the sum of squares of every rank: two fp32 numbers a token.
  if (m.qk_norm_all_heads) add_all_reduce(c, "query and key norm all-reduce", layers, 8);
  if (m.position_embeddings == 0)
    add_elementwise(c, "rotary embedding", layers, 2 * c.wide * query_key, kEagerRotary);
  add_elementwise(c, "kv write", layers, kv_write);
}

/// Activations to 8 or 4 bits before the GEMMs whose input no norm produces: the attention output
/// and the feed-forward product. The other two are fused into the norm.
void add_quantise(const Context& c, const WeightGroup& group) {
  const bool unfused = group.name == "output projection" || group.name == "expert down" ||
                       group.name.find("down projection") != std::string::npos;
  const bool latent_down = group.name == "latent down projection";  // a norm comes before it
  const NumberFormat stored = stored_format(c, group.role);
  const NumberFormat math = math_format(stored, c.precision.activations, c.gpu);
  if (!unfused || latent_down || element_bytes(math) >= 2) return;
  const double rows_per_token =
      group.role == WeightRole::expert ? to_double(c.model.moe->experts_per_token) : 1;
  add_elementwise(c, std::string(name_of(math)) + " quantise for " + group.name, group.layers,
                  rows_per_token * (c.wide + element_bytes(math)) * to_double(group.columns));
}

/// SiLU(gate) x up reads two widths and writes one; GELU and ReLU read and write one.
void add_ffn_activation(const Context& c, const WeightGroup& group) {
  const bool up =
      group.name.find("up projection") != std::string::npos && group.name != "query up projection";
  if (!up && group.name != "expert gate-up") return;
  const double width = to_double(group.rows);  // 2F when gated
  const double per_row = c.wide * (c.model.gated_ffn ? 1.5 * width : 2 * width);
  if (group.role == WeightRole::expert)
    add_elementwise(c, "expert activation", group.layers,
                    per_row * to_double(c.model.moe->experts_per_token));
  else
    add_elementwise(c, c.model.gated_ffn ? "silu and product" : "ffn activation", group.layers,
                    per_row, c.model.gated_ffn ? kEagerActivation : EagerOperators{1, 1.0});
}

/// The same product in two launches of half the inputs each.
void halve(RowOperator& op) {
  op.launches *= 2;
  op.flops_per_row /= 2;
  op.bytes_fixed /= 2;
  op.bytes_per_row /= 2;
  if (auto* gemm = std::get_if<GemmShape>(&op.shape)) gemm->n /= 2;
}

/// The tables of these formats measured products with quantising their input.
bool includes_quantising(const RowOperator& op) {
  const auto* gemm = std::get_if<GemmShape>(&op.shape);
  return op.family != nullptr && gemm != nullptr && gemm->format != GemmFormat::int8;
}

const WeightGroup& named(const std::vector<WeightGroup>& groups, const std::string& name) {
  const auto found = std::find_if(groups.begin(), groups.end(),
                                  [&](const WeightGroup& group) { return group.name == name; });
  CHECK(found != groups.end(), name);
  return *found;
}

void add_layers(const Context& c, const std::vector<WeightGroup>& groups) {
  const ModelSpec& m = c.model;
  const double hidden = to_double(m.hidden);
  add_elementwise(c, "residual and norm", 2 * m.layers + 1, 4 * c.wide * hidden, kEagerNorm);
  std::optional<RowOperator> experts;  // fitted: one operator with permutation, activation and sum
  if (m.moe)
    experts = fitted_experts(c, gemm_of(c, named(groups, "expert gate-up")),
                             gemm_of(c, named(groups, "expert down")));
  for (const WeightGroup& group : groups) {
    if (group.role != WeightRole::matrix && group.role != WeightRole::expert &&
        group.role != WeightRole::router && group.role != WeightRole::narrow)
      continue;
    if (group.role == WeightRole::expert && experts) {
      if (group.name == "expert gate-up") c.out->rows.push_back(*experts);
      continue;
    }
    RowOperator op = gemm_of(c, group);
    if (!includes_quantising(op)) add_quantise(c, group);
    if (group.name == "latent kv projection") {
      // Decode multiplies by its two halves apart, before and behind attention.
      op.name = "latent kv projection or absorption";
      halve(op);
    }
    c.out->rows.push_back(std::move(op));
    add_ffn_activation(c, group);
    if (group.role == WeightRole::router && experts) {
      // the choice of experts: scores read, weights and numbers written
      add_elementwise(c, "expert choice", group.layers, c.wide * to_double(group.rows));
      c.out->rows.back().beside_fit_per_row =
          to_double(m.moe->experts_per_token) * kDispatchOfChoice;
    } else if (group.role == WeightRole::router) {
      const double k = to_double(m.moe->experts_per_token);
      add_elementwise(c, "expert routing and combine", kRoutingKernels * group.layers,
                      c.wide * hidden * (k + 1) / to_double(kRoutingKernels));
    }
  }
  add_position_operators(c);
  add_all_reduce(c, "tensor-parallel all-reduce", 2 * m.layers, c.wide * hidden);
}

/// Head, gather of the vocabulary shards and sampling, on the rows that need logits.
void add_head(const Context& c, const WeightGroup& head) {
  const double vocab = to_double(c.model.vocab), n = to_double(c.tp);
  RowOperator gemm = gemm_of(c, head);
  gemm.rows = RowOperator::Rows::sampled;
  gemm.bytes_per_row = c.wide * to_double(head.columns) + 4 * to_double(head.rows);  // fp32 logits
  c.out->rows.push_back(std::move(gemm));
  if (c.tp > 1) {
    RowOperator gather;
    gather.name = "logits all-gather";
    gather.group = CostGroup::communication;
    gather.rows = RowOperator::Rows::sampled;
    gather.message_per_row = 4 * vocab;
    gather.wire_per_row = 4 * vocab * (n - 1) / n;
    const double link = c.gpu.nvlink_per_direction
                            ? kGatherShare * c.gpu.nvlink_per_direction->value
                            : kGatherPcieShare * c.gpu.pcie_per_direction.value;
    const double per_byte = (n - 1) / n / link;
    gather.curve = {{0.0, {kGatherFloor}}, {1e9, {kGatherFloor + 1e9 * per_byte}}};
    gather.source = "derived: NCCL's floor and bus bandwidth on 8 H200";
    c.out->rows.push_back(std::move(gather));
  }
  add_elementwise(c, "sampling", 1, 4 * vocab * kSamplingPasses);
  c.out->rows.back().rows = RowOperator::Rows::sampled;
  if (c.plan.top_p) {
    RowOperator sort;
    sort.name = "top-p sampling";
    sort.group = CostGroup::elementwise;
    sort.rows = RowOperator::Rows::sampled;
    sort.bytes_per_row = 4 * vocab;
    sort.roof = {kTopPFloor,
                 c.gpu.dense_peak.at(c.wide_format()),
                 {c.gpu.memory_bandwidth.value / kTopPPasses}};
    sort.source = "decided by the open-loop rows of Llama 3.1 (VALIDATION.md)";
    c.out->rows.push_back(std::move(sort));
  }
}

/// The shape of one layer with nothing asked yet.
OperatorShape attention_shape(const Context& c, bool decode, bool windowed) {
  const double kv = element_bytes(c.precision.kv_cache);
  // Chunked layers (Llama 4) run as shorter requests in the kernel without a window.
  if (c.model.chunked_window) windowed = false;
  if (c.model.latent && decode) return LatentDecodeShape{kv, 1, 1, c.heads()};
  if (c.model.latent) return LatentPrefillShape{kv, 1, 1, 1, 1, c.heads()};
  const double head_dim = to_double(c.model.head_dim);
  if (decode)
    return DecodeAttentionShape{
        c.plan.attention_backend, kv, 1, 1, c.heads(), c.kv_heads(), head_dim, windowed};
  return PrefillAttentionShape{
      c.plan.attention_backend, kv, 1, 1, 1, 1, c.heads(), c.kv_heads(), head_dim, windowed};
}

/// Backends without a table on this GPU: naive always, fa2 where the rest is fitted. The roofline
/// of a GPU that nobody measured stands for fa2, which engines run there.
void use_published_rates(const Context& c, AttentionOperator& op) {
  const bool naive = c.plan.attention_backend == AttentionBackend::naive;
  const bool fa2 = c.plan.attention_backend == AttentionBackend::fa2 && c.plan.fitted != nullptr;
  if (!naive && !fa2) return;
  if (const auto* decode = std::get_if<DecodeAttentionShape>(&op.shape))
    op.published = std::make_shared<const OperatorFamily>(parametric_attention(*decode, c.gpu));
  if (const auto* prefill = std::get_if<PrefillAttentionShape>(&op.shape))
    op.published = std::make_shared<const OperatorFamily>(parametric_attention(*prefill, c.gpu));
  op.family = op.published.get();
}

AttentionOperator attention_of(const Context& c, bool decode, bool windowed) {
  const ModelSpec& m = c.model;
  AttentionOperator op;
  op.decode = decode;
  op.windowed = windowed;
  op.layers = windowed && !m.index ? m.windowed_layers : m.growing_layers();
  op.name = std::string(decode ? "decode" : "prefill") + " attention";
  if (windowed) op.name += m.index ? " (chosen keys)" : " (windowed layers)";
  const NumberFormat kv = c.precision.kv_cache;
  op.bytes_per_context = to_double(m.kv_bytes_per_token_per_layer(kv, c.tp).value);
  const double h = c.heads();
  if (m.latent) {
    const LatentAttention& a = *m.latent;
    const double latent = to_double(a.kv_lora_rank), rope = to_double(a.rope_dim);
    const double nope = to_double(a.nope_dim), value = to_double(a.v_dim);
    // Decode works on the latent (absorbed); prefill expands it to heads, cached tokens included.
    op.flops_per_pair = decode ? 2 * h * (2 * latent + rope) : 2 * h * (nope + rope + value);
    op.flops_per_cached = decode ? 0 : 2 * h * (nope + value) * latent;
    op.bytes_per_token = c.wide * h * (decode ? 2 * latent + rope : nope + rope + value);
    // Sparse attention sees the chosen keys alone; the index, beside it, sees all.
    if (m.index) op.bytes_per_context -= to_double(m.index_bytes_per_token_per_layer().value);
  } else {
    op.flops_per_pair = 4 * h * to_double(m.head_dim);
    op.bytes_per_token = 2 * c.wide * h * to_double(m.head_dim);
  }
  const double share =
      element_bytes(kv) < 2 ? c.gpu.attention_bandwidth_share_fp8 : c.gpu.attention_bandwidth_share;
  op.roof = {c.gpu.attention_floor,
             {c.gpu.attention_efficiency * c.gpu.dense_peak.at(c.wide_format()).value},
             {share * c.gpu.memory_bandwidth.value}};
  op.shape = attention_shape(c, decode, windowed);
  op.family = c.family_for(op.shape);
  if (op.family == nullptr) {
    op.family = c.stand_in_for(op.shape);
    op.stands_in = op.family != nullptr;
  }
  // Sparse attention and other widths than DeepSeek's lie beside the tables.
  if (m.latent && (m.index || m.latent->nope_dim != 128 || m.latent->v_dim != 128))
    op.stands_in = op.family != nullptr;
  const auto* decode_shape = std::get_if<DecodeAttentionShape>(&op.shape);
  if (decode_shape != nullptr && decode_shape->backend == AttentionBackend::fa3 &&
      kv == NumberFormat::fp8)
    op.age = c.plan.age.fp8_kv_decode;
  if (const auto* chunks = std::get_if<PrefillAttentionShape>(&op.shape)) {
    PrefillAttentionShape mixed = *chunks;
    mixed.decodes = mixed.decode_context = 1;
    op.mixed_family = c.family_for(mixed);
    if (op.mixed_family == nullptr && op.family != nullptr) op.mixed_family = c.stand_in_for(mixed);
    if (op.mixed_family == op.family) op.mixed_family = nullptr;
  }
  if (op.family == nullptr) use_published_rates(c, op);
  return op;
}

/// The indexer of sparse attention: every query against the index key of every cached token. No
/// public table: the roofline at the 16-bit rate.
AttentionOperator index_of(const Context& c, bool decode) {
  const SparseIndex& index = *c.model.index;
  AttentionOperator op;
  op.decode = decode;
  op.replicated = true;
  op.layers = c.model.growing_layers();
  op.name = std::string(decode ? "decode" : "prefill") + " index and choice of keys";
  op.flops_per_pair = 2 * to_double(index.heads * index.dim);
  op.bytes_per_context = to_double(c.model.index_bytes_per_token_per_layer().value);
  op.bytes_per_token = c.wide * to_double(index.heads * index.dim);
  op.roof = {c.gpu.attention_floor,
             {c.gpu.attention_efficiency * c.gpu.dense_peak.at(c.wide_format()).value},
             {c.gpu.attention_bandwidth_share * c.gpu.memory_bandwidth.value}};
  return op;
}

/// Convolution and delta rule of a linear layer. A decode reads and writes the state; a prompt does
/// so once for every 64 tokens (flash-linear-attention's chunk_gated_delta_rule, which also keeps
/// the state of each of its chunks). No public table: the roofline.
AttentionOperator delta_net_of(const Context& c, bool decode) {
  constexpr double kChunk = 64, kStateElement = 4;
  const LinearAttention& l = *c.model.linear;
  const double tp = to_double(c.tp);
  const double state = to_double(l.value_heads * l.value_dim * l.key_dim) / tp * kStateElement;
  AttentionOperator op;
  op.decode = decode;
  op.linear = true;
  op.layers = l.layers;
  op.name = std::string(decode ? "decode" : "prefill") + " delta rule";
  op.bytes_per_token =
      3 * c.wide * to_double(l.conv_width()) / tp + 2 * state / (decode ? 1 : kChunk);
  op.roof = {c.gpu.attention_floor,
             c.gpu.dense_peak.at(c.wide_format()),
             {kElementwiseShare * c.gpu.memory_bandwidth.value}};
  return op;
}

void add_notes(const Context& c) {
  const Precision& p = c.precision;
  const std::string gpu = c.gpu.name;
  auto note = [&](const std::string& text) { c.out->notes.push_back(text); };
  if (element_bytes(p.weights) < 2 && math_format(p.weights, p.activations, c.gpu) != p.weights) {
    const std::string weights = name_of(p.weights);
    if (p.weights == NumberFormat::int4)
      note("int4 weights are weight-only (W4A16): bytes of int4, math at the bf16 rate");
    else if (!c.gpu.has(p.weights))
      note(gpu + " has no " + weights + " tensor cores: " + weights +
           " weights are weight-only, bytes of " + weights + ", math at the bf16 rate");
    else
      note(weights + " weights with " + name_of(p.activations) +
           " activations are weight-only: math "
           "at the bf16 rate (activations: " +
           weights + " would use the tensor cores' " + weights + ")");
  }
  const bool native_experts =
      c.model.native_expert_format && stored_format(c, WeightRole::expert) != p.weights;
  if (native_experts) {
    const NumberFormat stored = stored_format(c, WeightRole::expert);
    const std::string format =
        name_of(stored) + std::string(!p.experts && stored == NumberFormat::fp4 ? " (mxfp4)" : "");
    note(c.model.name + ": experts are stored in " + format + (p.experts ? "" : " as published") +
         ", the rest in " + name_of(p.weights) + "; expert math at the " +
         name_of(math_format(stored, p.activations, c.gpu)) + " rate");
  }
  if (c.model.native_weight_format && *c.model.native_weight_format != p.weights)
    note(c.model.name + " is published with " + name_of(*c.model.native_weight_format) +
         " weights; this scenario runs it with " + name_of(p.weights));
  if (element_bytes(p.weights) < 2)
    note("embedding, head, router and norms stay in 16 bits under " +
         std::string(name_of(p.weights)));
  const bool curve_priced =
      std::any_of(c.out->rows.begin(), c.out->rows.end(), [](const RowOperator& op) {
        return op.name == "tensor-parallel all-reduce" && op.family == nullptr;
      });
  if (curve_priced)
    note("all-reduce among " + std::to_string(c.tp) + " x " + gpu + ": " +
         all_reduce_curve(c.gpu, c.tp).source);
  const bool fitted_experts_priced = std::any_of(
      c.out->rows.begin(), c.out->rows.end(),
      [](const RowOperator& op) { return std::holds_alternative<ExpertsShape>(op.shape); });
  if (c.model.moe)
    note(c.plan.routing_skew > 0 && fitted_experts_priced
             ? fmt::format("experts: popularity by a power law of exponent {}", c.plan.routing_skew)
             : "experts: uniform routing");
}

}  // namespace

const char* name_of(CostGroup group) {
  switch (group) {
    case CostGroup::gemm:
      return "gemm";
    case CostGroup::attention:
      return "attention";
    case CostGroup::communication:
      return "communication";
    case CostGroup::elementwise:
      return "elementwise";
    case CostGroup::host_overhead:
      return "host_overhead";
  }
  CHECK(false, "unknown cost group");
  return "";
}

NumberFormat math_format(NumberFormat weights, NumberFormat activations, const GpuSpec& gpu) {
  if (weights == NumberFormat::fp32) return NumberFormat::fp32;
  if (element_bytes(weights) >= 2 || weights == NumberFormat::int4) return NumberFormat::bf16;
  if (weights == NumberFormat::fp4 && activations == NumberFormat::fp8)
    return gpu.has(NumberFormat::fp4) ? NumberFormat::fp8 : NumberFormat::bf16;
  return activations == weights && gpu.has(weights) ? weights : NumberFormat::bf16;
}

double distinct_experts(double experts, double experts_per_token, double tokens) {
  return experts * (1 - std::pow(1 - experts_per_token / experts, tokens));
}

namespace {

/// The shape of a launch over `rows` rows.
OperatorShape with_rows(const RowOperator& op, const OperatorShape& one, double rows) {
  OperatorShape shape = one;
  if (auto* gemm = std::get_if<GemmShape>(&shape)) gemm->m = rows;
  if (auto* experts = std::get_if<ExpertsShape>(&shape)) experts->tokens = rows;
  if (auto* collective = std::get_if<CollectiveShape>(&shape))
    collective->bytes = op.message_per_row * rows;
  if (auto* stream = std::get_if<ElementwiseShape>(&shape))
    stream->bytes = op.bytes_fixed + op.bytes_per_row * rows;
  return shape;
}

OperatorTime fitted_time(const RowOperator& op, double rows) {
  if (op.beyond_limit != nullptr && op.message_per_row * rows >= op.family_limit_bytes)
    return op.beyond_limit->time(work_of(with_rows(op, op.shape_beyond_limit, rows)));
  return op.family->time(work_of(with_rows(op, op.shape, rows)));
}

OperatorShape loaded(const OperatorShape& one, const AttentionLoad& load) {
  OperatorShape shape = one;
  if (auto* decode = std::get_if<DecodeAttentionShape>(&shape)) {
    decode->batch = load.requests;
    decode->context = load.context / load.requests;
  } else if (auto* latent = std::get_if<LatentDecodeShape>(&shape)) {
    latent->batch = load.requests;
    latent->context = load.context / load.requests;
  } else if (auto* prefill = std::get_if<PrefillAttentionShape>(&shape)) {
    prefill->requests = load.requests;
    prefill->queries = load.queries;
    prefill->pairs = load.pairs;
    prefill->context = load.context;
    prefill->decodes = load.decodes;
    prefill->decode_context = load.decode_context;
  } else if (auto* expanded = std::get_if<LatentPrefillShape>(&shape)) {
    expanded->requests = load.requests;
    expanded->queries = load.queries;
    expanded->pairs = load.pairs;
    expanded->context = load.context;
  }
  return shape;
}

}  // namespace

double weight_bytes_read(const RowOperator& op, std::int64_t rows) {
  if (op.expert_bytes == 0) return op.bytes_fixed;
  if (const auto* fitted = std::get_if<ExpertsShape>(&op.shape)) {
    ExpertsShape shape = *fitted;
    shape.tokens = to_double(rows);
    // a whole expert is as many shares of width as ranks divide the experts
    return op.bytes_fixed + op.expert_bytes * (shape.experts / shape.local_experts) *
                                busiest_gpu(shape).distinct_experts;
  }
  return op.bytes_fixed +
         op.expert_bytes * distinct_experts(op.experts, op.experts_per_token, to_double(rows));
}

std::optional<GemmFormat> gemm_format(NumberFormat stored, NumberFormat math, bool block_scales) {
  if (math == NumberFormat::fp8 && stored == NumberFormat::fp4) return GemmFormat::w4a8;
  if (math == NumberFormat::fp8) return block_scales ? GemmFormat::fp8_block : GemmFormat::fp8;
  if (math == NumberFormat::fp4) return GemmFormat::nvfp4;
  if (math == NumberFormat::int8) return GemmFormat::int8;
  if (math != NumberFormat::bf16 && math != NumberFormat::fp16) return std::nullopt;
  if (element_bytes(stored) >= 2) return GemmFormat::bf16;
  if (element_bytes(stored) < 1) return GemmFormat::w4a16;
  return std::nullopt;  // 8-bit weights for 16-bit products: no such table
}

LaunchCost launch_cost(const RowOperator& op, std::int64_t rows) {
  LaunchCost cost;
  if (rows == 0) return cost;
  const double r = to_double(rows);
  cost.wire_bytes = op.wire_per_row * r;
  if (op.message_per_row == 0) {
    cost.flops = {op.flops_per_row * r};
    cost.bytes = weight_bytes_read(op, rows) + op.bytes_per_row * r;
  }
  if (op.family != nullptr) {
    const OperatorTime fitted = fitted_time(op, r);
    cost.time = op.age * fitted.time + r * op.beside_fit_per_row;
    if (op.rate_max) cost.time = std::max(cost.time, cost.flops / *op.rate_max);
    cost.provenance = fitted.provenance;
    return cost;
  }
  if (!op.curve.empty()) {
    cost.time = curve_time(op.curve, op.message_per_row * r);
    return cost;
  }
  const Seconds compute = cost.flops / op.roof.flop_rate;
  const Seconds memory{cost.bytes / op.roof.byte_rate.value};
  cost.time = op.roof.floor + std::max(compute, memory);
  return cost;
}

LaunchCost launch_cost(const AttentionOperator& op, const AttentionLoad& load) {
  LaunchCost cost;
  const double cached = op.decode ? 0 : load.context - load.queries;
  cost.flops = {op.flops_per_pair * load.pairs + op.flops_per_cached * cached};
  cost.bytes = op.bytes_per_context * load.context + op.bytes_per_token * load.queries;
  if (op.family != nullptr) {
    const OperatorFamily& family = load.decodes > 0 ? *op.mixed_family : *op.family;
    const OperatorTime fitted = family.time(work_of(loaded(op.shape, load)));
    const Seconds floor{family.floor_seconds};
    cost.time = fitted.time;
    if (fitted.time > floor) cost.time = floor + op.age * (fitted.time - floor);
    cost.provenance = fitted.provenance;
    if (op.published) cost.provenance = Provenance::parametric;
    if (op.stands_in && cost.provenance < Provenance::extrapolated)
      cost.provenance = Provenance::extrapolated;
    return cost;
  }
  const Seconds compute = cost.flops / op.roof.flop_rate;
  const Seconds memory{cost.bytes / op.roof.byte_rate.value};
  cost.time = op.roof.floor + std::max(compute, memory);
  return cost;
}

std::int64_t OperatorList::launches() const {
  std::int64_t sum = 0;
  for (const RowOperator& op : rows) sum += op.launches;
  for (const AttentionOperator& op : attention) sum += op.decode ? op.layers : 0;
  return sum;
}

OperatorList list_operators(const ModelSpec& model, const GpuSpec& gpu, const Precision& precision,
                            const KernelPlan& plan) {
  OperatorList list;
  const double wide = precision.activations == NumberFormat::fp32 ? 4 : 2;
  const Context context{model, gpu, precision, plan, plan.tp, wide, &list};
  const std::vector<WeightGroup> groups = weight_groups(model, plan.tp);
  add_elementwise(context, "embedding", 1, 2 * wide * to_double(model.hidden));
  add_all_reduce(context, "embedding all-reduce", 1, wide * to_double(model.hidden));
  add_layers(context, groups);
  add_stage_send(context);
  add_head(context, groups.back());
  for (const bool decode : {true, false}) {
    if (model.index) list.attention.push_back(index_of(context, decode));
    if (!model.index) list.attention.push_back(attention_of(context, decode, false));
    if (model.index || model.windowed_layers > 0)
      list.attention.push_back(attention_of(context, decode, true));
    if (model.linear) list.attention.push_back(delta_net_of(context, decode));
  }
  add_notes(context);
  return list;
}

}  // namespace fleetsim
