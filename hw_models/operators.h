#pragma once
// The operators that one engine iteration launches on each GPU: their work and their roofline time.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "hw_models/gpu_spec.h"
#include "hw_models/model_spec.h"
#include "hw_models/precision.h"
#include "hw_models/units.h"

namespace fleetsim {

enum class CostGroup { gemm, attention, communication, elementwise, host_overhead };
inline constexpr int kCostGroups = 5;
const char* name_of(CostGroup group);

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
  std::string source = "roofline";
};

/// Work and time of one launch.
struct LaunchCost {
  Flops flops;
  double bytes = 0, wire_bytes = 0;
  Seconds time;
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
  std::int64_t layers = 0;
  double flops_per_pair = 0;    // (query, key) pairs
  double flops_per_cached = 0;  // cached tokens of prefill chunks (latent up-projection again)
  double bytes_per_context = 0, bytes_per_token = 0;
  Roofline roof;
};

/// Everything one iteration launches, in launch order.
struct OperatorList {
  std::vector<RowOperator> rows;
  std::vector<AttentionOperator> attention;
  std::vector<std::string> notes;  // what a reader must know about precisions and links
  std::int64_t launches() const;   // row operators and attention, of a mixed iteration
};

/// Errors: CHECK where find_pricing_problem has something to say.
OperatorList list_operators(const ModelSpec& model, const GpuSpec& gpu, const Precision& precision,
                            std::int64_t tp);

/// Format in which matrices stored as `weights` are multiplied: their own where the GPU has it and
/// the activations are in it too, else 16 bits (weight-only).
NumberFormat math_format(NumberFormat weights, NumberFormat activations, const GpuSpec& gpu);

/// Distinct experts that `tokens` tokens hit under uniform routing: E (1 - (1 - k/E)^T).
double distinct_experts(double experts, double experts_per_token, double tokens);

/// Time of an all-reduce by message bytes among `gpus` GPUs: the GPU's own curves, interpolated in
/// log2(gpus); without NVLink a ring over PCIe, labelled derived. Valid: 2 <= gpus <= 8.
AllReduceCurve all_reduce_curve(const GpuSpec& gpu, std::int64_t gpus);
/// Piecewise linear in bytes; the first value below the first point, the last slope beyond the
/// last.
Seconds curve_time(const std::vector<std::pair<double, Seconds>>& curve, double bytes);

}  // namespace fleetsim
