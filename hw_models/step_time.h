#pragma once
// Time of one engine iteration on one replica, by two paths that must agree: compiled (a few
// lookups, never allocates) for the simulation, explained (operator by operator) for breakdowns and
// tests.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hw_models/check.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/model_spec.h"
#include "hw_models/octave_table.h"
#include "hw_models/operators.h"
#include "hw_models/precision.h"
#include "hw_models/units.h"

namespace fleetsim {

/// What one iteration computes. Query tokens q_i, cached tokens c_i, L_i = c_i + q_i per request i.
/// A request counts as decode when q_i = 1 and its prompt is done, else as prefill.
struct BatchShape {
  std::int64_t tokens = 0;        // T = sum q_i, before CUDA-graph padding
  std::int64_t sampled_rows = 0;  // rows that need logits
  std::int64_t decode_requests = 0;
  std::int64_t decode_context = 0;  // sum of L_i over decodes
  std::int64_t decode_window_context =
      0;  // sum of min(L_i, W) over decodes; = decode_context without window
  std::int64_t prefill_requests = 0;
  std::int64_t prefill_context = 0;  // sum of L_i over prefill chunks
  std::int64_t prefill_pairs = 0;  // sum of q_i c_i + q_i (q_i + 1) / 2: causal (query, key) pairs
  std::int64_t prefill_window_pairs = 0;  // the same with every query seeing at most W keys
  bool operator==(const BatchShape&) const = default;
};

/// What the engine's process does on the CPU for an iteration.
struct HostTime {
  // engine-semantics §7 gives 1-5 ms a step, growing with the batch (vLLM v1): 1 ms at an empty
  // batch and 5 ms at one of 512.
  Seconds per_iteration{1e-3};
  Seconds per_request{4e-3 / 512};
  /// Host time of a kernel that no CUDA graph launches for it: PyTorch's dispatcher and the glue of
  /// compiled code between kernels. Fitted on first tokens and on what prefills cost decodes in
  /// vLLM 0.10.2 and 0.19 on B200 (0.85 ms a layer with 13 to 19 kernels), see VALIDATION.md.
  Seconds per_eager_launch{45e-6};
  /// GPU idle between two iterations even where the host runs ahead, for each request: inputs of
  /// the next iteration follow from the tokens of this one. Fitted on what decode times of
  /// closed-loop rows grow with the number of clients beyond the operators, 0.10.2 to 0.19: 6 to 23
  /// us a request on Llama-3.3-70B and gpt-oss-120b.
  Seconds between_per_request{8e-6};
};

/// Rules of the engine that decide what is launched.
struct LaunchRules {
  bool async_scheduling = true;                       // host time hidden behind the GPU's
  bool enforce_eager = false;                         // no CUDA graphs
  bool fused = true;                                  // KernelPlan::fused
  std::optional<AttentionBackend> attention_backend;  // absent: default_attention_backend
  std::int64_t block_size = 16;
  std::vector<std::int64_t>
      capture_sizes;  // ascending token counts with a CUDA graph; engine_rules fills it
  HostTime host;
  KernelAge age;
  bool fused_all_heads_norm = true;    // KernelPlan::fused_all_heads_norm
  std::optional<double> routing_skew;  // KernelPlan::routing_skew; absent: the model's own
  bool model_sampling = false;         // as the generation_config of the model asks
};

/// What vLLM takes by itself: FlashAttention 3 on Hopper, TensorRT-LLM's kernels (through
/// FlashInfer) on data-centre Blackwell, FlashAttention 2 elsewhere (vllm/platforms/cuda.py).
AttentionBackend default_attention_backend(const GpuSpec& gpu);

/// GPUs of a replica and how they share a model.
struct Sharding {
  Sharding(std::int64_t tensor_ranks = 1, std::int64_t expert_ranks = 1,
           std::int64_t pipeline_stages = 1)
      : tp(tensor_ranks), ep(expert_ranks), pp(pipeline_stages) {}
  std::int64_t tp;  // tensor-parallel ranks
  std::int64_t ep;  // ranks that share out the routed experts: 1 or tp
  std::int64_t pp;  // stages; the model is then pipeline_stage, and the price one stage's
};

/// One operator of an iteration, over all layers: the explained price.
struct OperatorCost {
  std::string name;  // "qkv projection", "decode attention", ...
  CostGroup group = CostGroup::gemm;
  std::int64_t launches = 0;
  Flops flops;            // useful
  double bytes = 0;       // minimum HBM traffic
  double wire_bytes = 0;  // per GPU, collectives
  Seconds time;
  std::string source;  // its Provenance, or where its curve is from
};

/// Price of an iteration. total = attention + host_overhead + the three groups of group_time().
struct Price {
  Seconds total;
  Seconds attention;      // depends on contexts, not on the number of tokens alone
  Seconds host_overhead;  // what the host adds to the GPU's time: the part of it that is not hidden
};

/// A deployment priced: model on GPU in a precision with tensor parallelism.
/// Valid: 1 <= tokens <= max_tokens. Errors: CHECK on shapes outside; construction never fails
/// for a (model, gpu, precision) that find_pricing_problem accepts.
class StepTime {
 public:
  /// Hardware pricing. `max_tokens`: the largest T of one iteration (max_num_batched_tokens).
  /// `fitted`: prices the operators it knows; absent or unknown ones take the roofline. kind() says
  /// "calibrated" when it is given.
  StepTime(const ModelSpec& model, const GpuSpec& gpu, const Precision& precision,
           const Sharding& sharding, const LaunchRules& rules, std::int64_t max_tokens,
           const FittedGpu* fitted = nullptr);
  /// Takes the hardware out: total = base + per_token * T + per_context_token * sum of L_i.
  static StepTime linear(Seconds base, Seconds per_token, Seconds per_context_token);

  /// The compiled price, under 100 ns; chunks and decodes that share one call (FlashAttention 2,
  /// fitted) are evaluated on their surface and take longer.
  Price price(const BatchShape& shape) const;
  /// Compiled time of a group that depends on the numbers of tokens and of sampled rows alone:
  /// gemm, communication, elementwise. CHECK on attention and host_overhead: Price has them.
  Seconds group_time(CostGroup group, std::int64_t tokens, std::int64_t sampled_rows) const;
  /// Operator by operator; the sum of times equals price().total within 1e-9 relative.
  std::vector<OperatorCost> explain(const BatchShape& shape) const;

  /// Useful model FLOPs over all GPUs of the replica, for MFU. Linear in the shape, no constant
  /// term: the value of summed shapes is the sum of the values.
  Flops useful_flops(const BatchShape& shape) const;
  /// Minimum HBM bytes of one iteration over all GPUs of the replica, for MBU, as the floors of
  /// kernels-and-cost-models §3 count them: weights once per GPU (of the experts those that the
  /// tokens hit; the embedding is gathered, not read; the head when there are sampled rows), KV
  /// read and written. Activations are left out: they may stay in the cache. One iteration at a
  /// time: weights are a constant term. One lookup and a few multiply-adds.
  double minimum_bytes(const BatchShape& shape) const;

  /// Most keys a query of the windowed layers sees: the sliding window, the top_k of sparse
  /// attention, or 0.
  std::int64_t window() const;
  /// What the reader of a report must know: "fp8 weights on a100 are dequantised: weight-only
  /// cost", ...
  const std::vector<std::string>& notes() const;
  /// "calibrated", "roofline", "fixed", "linear": which model priced it, for provenance.
  const std::string& kind() const;

 private:
  StepTime() = default;

  /// Seconds of the operators that depend on T alone, CUDA-graph padding included, and bytes
  /// without it.
  struct TokenPrice {
    double gemm = 0, communication = 0, elementwise = 0;
    double minimum_bytes = 0;  // one GPU
  };
  /// Attention of one phase and kind of layer over all its layers: by the work where the roofline
  /// prices it (fixed + max(compute, memory)), else tabulated.
  struct AttentionTerm {
    double fixed = 0;
    double compute_per_pair = 0, compute_per_cached = 0;
    double memory_per_context = 0, memory_per_token = 0;
    /// Decode: by requests and mean context. Prefill: by the queries of prompts without cached
    /// tokens that are as much work and whose last query sees as many keys, and by those keys (the
    /// coordinates of attention_work.h); under a window by queries and mean keys a query.
    OctaveTable table;
    bool by_mean_keys = false;
    double seconds(double requests, double queries, double pairs, double context) const {
      if (!table.empty()) return requests > 0 ? table.at(requests, context / requests) : 0;
      return roofline(queries, pairs, 0, context);
    }
    double chunk_seconds(double requests, double queries, double pairs, double context) const {
      if (table.empty()) return roofline(queries, pairs, context - queries, context);
      if (by_mean_keys) return table.at(queries, pairs / queries);
      const double longest = pairs / queries + (queries / requests - 1) / 2;
      return table.at(2 * pairs / (longest + 1), longest) +
             compute_per_cached * (context - queries);
    }
    double roofline(double queries, double pairs, double cached, double context) const {
      const double compute = compute_per_pair * pairs + compute_per_cached * cached;
      const double memory = memory_per_context * context + memory_per_token * queries;
      return fixed + (compute > memory ? compute : memory);
    }
  };
  /// Seconds of the operators on the rows that need logits.
  struct SampledPrice {
    double gemm = 0, communication = 0, elementwise = 0;
  };

  void compile_rows(std::int64_t max_tokens);
  void compile_sampled(std::int64_t max_rows);
  void compile_attention(std::int64_t max_tokens, std::int64_t max_context, const KernelPlan& plan);
  template <class Terms>
  static auto& term_of(const AttentionOperator& op, Terms& phase) {
    return op.linear ? phase.linear : op.windowed ? phase.windowed : phase.full;
  }
  AttentionLoad load_of(const AttentionOperator& op, const BatchShape& shape) const;
  double attention_seconds(const BatchShape& shape) const;
  double decode_seconds(const BatchShape& shape) const;
  double prefill_seconds(const BatchShape& shape) const;
  /// Chunks and decodes in one call: as fitted, not tabulated.
  double mixed_seconds(const BatchShape& shape) const;
  double host_seconds(const BatchShape& shape, double device) const;
  Price linear_price(const BatchShape& shape) const;
  std::vector<OperatorCost> explain_linear(const BatchShape& shape) const;
  void explain_attention(const BatchShape& shape, std::vector<OperatorCost>& costs) const;
  std::int64_t padded(std::int64_t tokens) const;
  double windowed_context(const BatchShape& shape) const;

  std::string kind_;
  // compiled
  std::vector<TokenPrice> tokens_;     // by T; [0] unused
  std::vector<SampledPrice> sampled_;  // by rows that need logits; [0] is free
  double head_bytes_ = 0;              // one GPU, like the three below
  double kv_bytes_per_context_ = 0, kv_bytes_per_windowed_context_ = 0,
         kv_bytes_written_per_token_ = 0;
  struct PhaseTerms {
    AttentionTerm full, windowed, linear;  // by kind of layer
  };
  PhaseTerms decode_, prefill_;
  std::int64_t largest_graph_ = 0;  // tokens; 0 without CUDA graphs
  double launch_graph_ = 0, launch_piecewise_ = 0, launch_eager_ = 0;
  double window_ = 0;
  double host_fixed_ = 0, host_per_request_ = 0, between_per_request_ = 0;
  double mixed_saving_ = 0;  // a call less where chunks and decodes share one
  bool async_ = true, linear_ = false, has_windowed_ = false, has_linear_ = false,
       one_kernel_ = false;
  Seconds base_, per_token_, per_context_token_;
  // MFU and MBU, over the whole replica
  double ranks_ = 1, flops_per_token_ = 0, flops_per_row_ = 0;
  double flops_per_decode_pair_ = 0, flops_per_prefill_pair_ = 0;  // growing layers
  double flops_per_decode_pair_windowed_ = 0, flops_per_prefill_pair_windowed_ = 0;
  // explained
  OperatorList operators_;
  LaunchRules rules_;
};

inline double StepTime::windowed_context(const BatchShape& shape) const {
  // A chunk of q queries sees at most W - 1 + q keys.
  const double keys = static_cast<double>(shape.prefill_requests) * (window_ - 1) +
                      static_cast<double>(shape.tokens - shape.decode_requests);
  const double context = static_cast<double>(shape.prefill_context);
  return keys < context ? keys : context;
}

inline double StepTime::decode_seconds(const BatchShape& shape) const {
  const double context = static_cast<double>(shape.decode_context);
  const double queries = static_cast<double>(shape.decode_requests);
  double seconds = decode_.full.seconds(queries, queries, context, context);
  if (has_windowed_) {
    const double windowed = static_cast<double>(shape.decode_window_context);
    seconds += decode_.windowed.seconds(queries, queries, windowed, windowed);
  }
  if (has_linear_) seconds += decode_.linear.roofline(queries, 0, 0, 0);
  return seconds;
}

inline double StepTime::prefill_seconds(const BatchShape& shape) const {
  const double requests = static_cast<double>(shape.prefill_requests);
  const double context = static_cast<double>(shape.prefill_context);
  const double queries = static_cast<double>(shape.tokens - shape.decode_requests);
  double seconds = prefill_.full.chunk_seconds(requests, queries,
                                               static_cast<double>(shape.prefill_pairs), context);
  if (has_windowed_)
    seconds += prefill_.windowed.chunk_seconds(requests, queries,
                                               static_cast<double>(shape.prefill_window_pairs),
                                               windowed_context(shape));
  if (has_linear_) seconds += prefill_.linear.roofline(queries, 0, 0, 0);
  return seconds;
}

inline double StepTime::attention_seconds(const BatchShape& shape) const {
  if (shape.prefill_requests == 0) return shape.decode_requests == 0 ? 0 : decode_seconds(shape);
  if (shape.decode_requests == 0) return prefill_seconds(shape);
  if (one_kernel_) return mixed_seconds(shape);
  return decode_seconds(shape) + prefill_seconds(shape) - mixed_saving_;
}

/// What the host adds: scheduling, and launches where the GPU waits for them.
inline double StepTime::host_seconds(const BatchShape& shape, double device) const {
  const double requests = static_cast<double>(shape.decode_requests + shape.prefill_requests);
  const double between = between_per_request_ * requests;
  const double scheduling = host_fixed_ + host_per_request_ * requests;
  double launching = launch_eager_;
  if (shape.tokens <= largest_graph_)
    launching = shape.prefill_requests > 0 ? launch_piecewise_ : launch_graph_;
  if (async_) {
    const double host = scheduling + launching;
    return between + (host > device ? host - device : 0);
  }
  return between + scheduling + (launching > device ? launching - device : 0);
}

inline Price StepTime::price(const BatchShape& shape) const {
  CHECK(shape.tokens >= 1, "an iteration without tokens");
  if (linear_) return linear_price(shape);
  CHECK(shape.tokens < static_cast<std::int64_t>(tokens_.size()) &&
            shape.sampled_rows < static_cast<std::int64_t>(sampled_.size()),
        std::to_string(shape.tokens));
  const TokenPrice& row = tokens_[static_cast<std::size_t>(shape.tokens)];
  double device = row.gemm + row.communication + row.elementwise;
  const SampledPrice& logits = sampled_[static_cast<std::size_t>(shape.sampled_rows)];
  device += logits.gemm + logits.communication + logits.elementwise;
  const double attention = attention_seconds(shape);
  device += attention;
  const double host = host_seconds(shape, device);
  return {{device + host}, {attention}, {host}};
}

/// Why this deployment cannot be priced (tensor parallelism does not divide the heads, a precision
/// that no engine runs, ...), as one line for the user; nullopt when StepTime accepts it.
std::optional<std::string> find_pricing_problem(const ModelSpec& model, const GpuSpec& gpu,
                                                const Precision& precision,
                                                const Sharding& sharding);

}  // namespace fleetsim
