#pragma once
// From GPU memory to KV blocks, as vLLM does it at start-up (engine-semantics §1.10).

#include "hw_models/gpu_spec.h"
#include "hw_models/model_spec.h"

namespace fleetsim {

/// Memory of one GPU by purpose. When `missing` is 0, weights + activations + cuda_graphs +
/// non_torch + kv_cache + free = total; `requested` is the engine's budget, ceil(total *
/// gpu_memory_utilization).
struct MemoryPlan {
  Bytes total, requested;
  Bytes weights;  // parameters of the rank and its rotary table
  Bytes activations, cuda_graphs, non_torch;
  Bytes kv_cache;           // what the engine logs as available; the last part block included
  Bytes free;               // outside the budget; the CUDA context lives in it
  Bytes block_bytes;        // one KV block on one rank, all growing layers
  std::int64_t blocks = 0;  // num_gpu_blocks, the null block included; <= 1: does not fit
  std::int64_t window_blocks_per_request = 0;  // fixed reserve of sliding-window and linear layers,
                                               // in blocks
  std::int64_t kv_tokens() const;              // blocks * block_size, as the engine logs it
  std::int64_t block_size = 16;
  Bytes missing;  // > 0: lacking for the null block and one more, or for the
                  // pool that an override asks for
};

struct MemoryRequest {
  double gpu_memory_utilization = 0.92;
  bool graphs_inside_budget = true;  // vLLM since 2026-04
  bool enforce_eager = false;
  std::int64_t block_size = 16, max_num_batched_tokens = 8192, max_num_seqs = 256, tp = 1;
  std::int64_t kv_cache_memory_bytes = 0;  // > 0 overrides
  std::int64_t num_gpu_blocks_override = 0;
  std::int64_t captured_graphs = 51;  // size of the capture list; 51 is vLLM's up to 512 tokens
};

/// What is known of a start-up: from a log, or from the estimates of plan_memory.
struct MemoryParts {
  Bytes total;
  double gpu_memory_utilization = 0.92;
  Bytes weights, activations, non_torch;
  Bytes cuda_graphs;  // 0 where they lie outside the budget
};
/// ceil(total * utilisation).
Bytes requested_memory(Bytes total, double gpu_memory_utilization);
/// Bytes left for KV blocks; negative when the rest alone exceeds the budget.
Bytes kv_budget(const MemoryParts& parts);
/// Requests of `tokens_per_request` tokens that the pool holds at once, as the engine logs it:
/// pool tokens / tokens. Errors: CHECK tokens_per_request >= 1.
double maximum_concurrency(std::int64_t kv_tokens, std::int64_t tokens_per_request);

MemoryPlan plan_memory(const ModelSpec& model, const GpuSpec& gpu, const Precision& precision,
                       const MemoryRequest& request);
/// floor(floor(kv / page) / layers): exact block count from KV bytes.
std::int64_t kv_blocks(Bytes kv_cache, Bytes page_bytes_per_layer, std::int64_t layers);

}  // namespace fleetsim
