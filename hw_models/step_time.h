#pragma once
// Time of one engine iteration on one replica, by two paths that must agree: compiled (a few lookups,
// never allocates) for the simulation, explained (operator by operator) for breakdowns and tests.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hw_models/gpu_spec.h"
#include "hw_models/model_spec.h"
#include "hw_models/precision.h"
#include "hw_models/units.h"

namespace fleetsim {

/// What one iteration computes. Query tokens q_i, cached tokens c_i, L_i = c_i + q_i per request i.
/// A request counts as decode when q_i = 1 and its prompt is done, else as prefill.
struct BatchShape {
  std::int64_t tokens = 0;                  // T = sum q_i, before CUDA-graph padding
  std::int64_t sampled_rows = 0;            // rows that need logits
  std::int64_t decode_requests = 0;
  std::int64_t decode_context = 0;          // sum of L_i over decodes
  std::int64_t decode_window_context = 0;   // sum of min(L_i, W) over decodes; = decode_context without window
  std::int64_t prefill_requests = 0;
  std::int64_t prefill_context = 0;         // sum of L_i over prefill chunks
  std::int64_t prefill_pairs = 0;           // sum of q_i c_i + q_i (q_i + 1) / 2: causal (query, key) pairs
  std::int64_t prefill_window_pairs = 0;    // the same with every query seeing at most W keys
  bool operator==(const BatchShape&) const = default;
};

/// Rules of the engine that decide what is launched.
struct LaunchRules {
  bool async_scheduling = true;    // host time hidden behind the GPU's
  bool enforce_eager = false;      // no CUDA graphs
  std::int64_t block_size = 16;
  std::vector<std::int64_t> capture_sizes;  // ascending token counts with a CUDA graph; engine_rules fills it
};

enum class CostGroup { gemm, attention, communication, elementwise, host_overhead };
inline constexpr int kCostGroups = 5;
const char* name_of(CostGroup group);

/// One operator of an iteration, over all layers: the explained price.
struct OperatorCost {
  std::string name;        // "qkv projection", "decode attention", ...
  CostGroup group = CostGroup::gemm;
  std::int64_t launches = 0;
  Flops flops;             // useful
  double bytes = 0;        // minimum HBM traffic
  double wire_bytes = 0;   // per GPU, collectives
  Seconds time;
  std::string source;      // "roofline", later "measured", "interpolated", ...
};

/// Price of an iteration. total = attention + host_overhead + the three groups of group_time().
struct Price {
  Seconds total;
  Seconds attention;       // depends on contexts, not on the number of tokens alone
  Seconds host_overhead;   // what the host adds to the GPU's time: the part of it that is not hidden
};

/// A deployment priced: model on GPU in a precision with tensor parallelism.
/// Valid: 1 <= tokens <= max_tokens. Errors: CHECK on shapes outside; construction never fails
/// for a (model, gpu, precision) that find_pricing_problem accepts.
class StepTime {
 public:
  /// Hardware pricing. `max_tokens`: the largest T of one iteration (max_num_batched_tokens).
  StepTime(const ModelSpec& model, const GpuSpec& gpu, const Precision& precision, std::int64_t tp,
           const LaunchRules& rules, std::int64_t max_tokens);
  /// Takes the hardware out: total = base + per_token * T + per_context_token * sum of L_i.
  static StepTime linear(Seconds base, Seconds per_token, Seconds per_context_token);

  /// The compiled price, under 100 ns, allocates nothing.
  Price price(const BatchShape& shape) const;
  /// Compiled time of a group that depends on the numbers of tokens and of sampled rows alone:
  /// gemm, communication, elementwise. CHECK on attention and host_overhead: Price has them.
  Seconds group_time(CostGroup group, std::int64_t tokens, std::int64_t sampled_rows) const;
  /// Operator by operator; the sum of times equals price().total within 1e-9 relative.
  std::vector<OperatorCost> explain(const BatchShape& shape) const;

  /// Useful model FLOPs over all GPUs of the replica, for MFU. Linear in the shape, no constant term: the
  /// value of summed shapes is the sum of the values.
  Flops useful_flops(const BatchShape& shape) const;
  /// Minimum HBM bytes of one iteration over all GPUs of the replica, for MBU: weights once per GPU (the
  /// experts that the tokens hit, the embedding rows gathered), KV and activations. One iteration at a
  /// time: weights are a constant term. Two lookups and a few multiply-adds.
  double minimum_bytes(const BatchShape& shape) const;

  /// Sliding window of the model in tokens, or 0.
  std::int64_t window() const;
  /// What the reader of a report must know: "fp8 weights on a100 are dequantised: weight-only cost", ...
  const std::vector<std::string>& notes() const;
  /// "roofline", "fixed", "linear": which model priced it, for provenance.
  const std::string& kind() const;

 private:
  // compiled tables: see step_time.cpp
};

/// Why this deployment cannot be priced (tensor parallelism does not divide the heads, a precision that no
/// engine runs, ...), as one line for the user; nullopt when StepTime accepts it.
std::optional<std::string> find_pricing_problem(const ModelSpec& model, const GpuSpec& gpu,
                                                const Precision& precision, std::int64_t tp);

}  // namespace fleetsim
