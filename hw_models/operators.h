#pragma once
// The operators that one engine iteration launches on each GPU: their work and their roofline time.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hw_models/fitted_gpu.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/model_spec.h"
#include "hw_models/operator_shapes.h"
#include "hw_models/precision.h"
#include "hw_models/units.h"

namespace fleetsim {

enum class CostGroup { gemm, attention, communication, elementwise, host_overhead };
inline constexpr int kCostGroups = 5;
const char* name_of(CostGroup group);

/// A release's kernels against those behind the fits (vLLM 0.24's), where they are known to differ;
/// one value a release and GPU generation.
struct KernelAge {
  double fp8_kv_decode =
      1;                  // times that of the fit: decode attention over fp8 KV, beyond its floor
  double nvfp4_gemm = 1;  // matrix products and experts in nvfp4
  /// What the kernel of experts in fp4 with 16-bit math reaches at most; nothing: as the fit's.
  std::optional<FlopsPerSecond> fp4_experts_rate;
};

/// How an engine lays a model out in kernels on the GPUs of a replica, and what prices them.
struct KernelPlan {
  std::int64_t tp = 1;
  /// Ranks that share out the routed experts: 1, or tp (vLLM's --enable-expert-parallel without
  /// data parallelism: every rank has all tokens and some experts whole, so nothing is exchanged
  /// but the all-reduce behind them).
  std::int64_t ep = 1;
  std::int64_t pp = 1;  // stages: beyond 1 the activations are sent on
  /// Norms with the residual, SiLU with the product, rotary embedding and quantisation as one
  /// kernel each; else as PyTorch's eager operators.
  bool fused = true;
  AttentionBackend attention_backend = AttentionBackend::fa3;
  /// The norm over all heads' queries and keys (MiniMax) as one kernel; else as eager operators,
  /// for queries and for keys. vLLM's pass fuse_minimax_qk_norm.
  bool fused_all_heads_norm = true;
  KernelAge age;
  bool top_p = false;                 // rows are sampled from the most probable tokens alone
  double routing_skew = 0;            // exponent of the experts' popularity; 0: uniform
  const FittedGpu* fitted = nullptr;  // absent: the roofline
};

/// Achieved rates behind one launch: t = floor + max(flops / flop_rate, bytes / byte_rate)
/// (kernels-and-cost-models §4.2 with u = 1).
struct Roofline {
  Seconds floor;
  FlopsPerSecond flop_rate;  // efficiency x peak
  BytesPerSecond byte_rate;  // share x datasheet bandwidth
};

/// An operator whose work depends on a number of rows alone: tokens, or rows that need logits.
/// All figures are of one launch on one GPU.
struct RowOperator {
  enum class Rows { tokens, sampled };

  std::string name;
  CostGroup group = CostGroup::gemm;
  Rows rows = Rows::tokens;
  std::int64_t launches = 1;  // per iteration
  double flops_per_row = 0;
  double bytes_fixed = 0, bytes_per_row = 0;
  double expert_bytes = 0;  // of one routed expert; distinct ones are read
  double experts = 0, experts_per_token = 0;
  double message_per_row = 0;                     // collectives: bytes of the message
  double wire_per_row = 0;                        // and bytes that cross this GPU's link
  std::vector<std::pair<double, Seconds>> curve;  // collectives: time by message bytes
  Roofline roof;
  std::string source = "roofline";  // of the curve or the roof

  const OperatorFamily* family = nullptr;  // fitted: prices the launch instead
  OperatorShape shape;                     // of one row
  double age = 1;                          // KernelAge: multiplies the fitted time
  std::optional<FlopsPerSecond> rate_max;  // KernelAge: no faster than this, whatever the fit says
  Seconds beside_fit_per_row;              // what surrounds the launch and was not measured with it
  double family_limit_bytes = 0;           // of a message, beyond which the next one prices it
  const OperatorFamily* beyond_limit = nullptr;
  OperatorShape shape_beyond_limit;
};

/// Work and time of one launch.
struct LaunchCost {
  Flops flops;
  double bytes = 0, wire_bytes = 0;
  Seconds time;
  Provenance provenance = Provenance::roofline;
};
LaunchCost launch_cost(const RowOperator& op, std::int64_t rows);
/// Bytes of weights that one launch reads: fixed ones, and the distinct experts that `rows` tokens
/// hit.
double weight_bytes_read(const RowOperator& op, std::int64_t rows);

/// Attention of one phase over the layers of one kind. Units per layer and GPU.
struct AttentionOperator {
  std::string name;
  bool decode = true;  // else prefill
  bool windowed = false;
  bool replicated = false;  // every rank does all of it
  bool linear = false;      // cost by queries alone: state of fixed size instead of keys
  std::int64_t layers = 0;
  double flops_per_pair = 0;    // (query, key) pairs
  double flops_per_cached = 0;  // cached tokens of prefill chunks (latent up-projection again)
  double bytes_per_context = 0, bytes_per_token = 0;
  Roofline roof;

  const OperatorFamily* family = nullptr;  // fitted: prices the launch instead
  OperatorShape shape;                     // DecodeAttentionShape, PrefillAttentionShape, latent
  double age = 1;                          // KernelAge: multiplies the fitted time beyond the floor
  bool stands_in = false;  // the family is another one's (stand_ins): extrapolated at best
  std::shared_ptr<const OperatorFamily> published;  // `family`, where it is parametric_attention
  /// Prefill: prices chunks and decodes in one call, where one kernel takes both.
  const OperatorFamily* mixed_family = nullptr;
};

/// What one launch of attention is asked: queries, (query, key) pairs, tokens of KV, requests.
struct AttentionLoad {
  double requests = 0, queries = 0, pairs = 0, context = 0;
  /// In the same call, where mixed_family prices it: requests, mean tokens of KV of each.
  double decodes = 0, decode_context = 0;
};
LaunchCost launch_cost(const AttentionOperator& op, const AttentionLoad& load);

/// Everything one iteration launches, in launch order.
struct OperatorList {
  std::vector<RowOperator> rows;
  std::vector<AttentionOperator> attention;
  std::vector<std::string> notes;  // what a reader must know about precisions and links
  std::int64_t launches() const;   // row operators and attention, of a mixed iteration
};

/// Errors: CHECK where find_pricing_problem has something to say.
OperatorList list_operators(const ModelSpec& model, const GpuSpec& gpu, const Precision& precision,
                            const KernelPlan& plan);

/// Format in which matrices stored as `weights` are multiplied: their own where the GPU has it and
/// the activations are in it too, else 16 bits (weight-only).
NumberFormat math_format(NumberFormat weights, NumberFormat activations, const GpuSpec& gpu);

/// Which fitted products stand for matrices stored as `stored` and multiplied as `math`;
/// `block_scales`: fp8 with 128 x 128 scales.
std::optional<GemmFormat> gemm_format(NumberFormat stored, NumberFormat math, bool block_scales);

/// Distinct experts that `tokens` tokens hit under uniform routing: E (1 - (1 - k/E)^T).
double distinct_experts(double experts, double experts_per_token, double tokens);

/// Time of an all-reduce by message bytes among `gpus` GPUs: the GPU's own curves, interpolated in
/// log2(gpus); without NVLink a ring over PCIe, labelled derived. Valid: 2 <= gpus <= 8.
AllReduceCurve all_reduce_curve(const GpuSpec& gpu, std::int64_t gpus);
/// Piecewise linear in bytes; the first value below the first point, the last slope beyond the
/// last.
Seconds curve_time(const std::vector<std::pair<double, Seconds>>& curve, double bytes);

}  // namespace fleetsim
