#pragma once
// From GPU memory to KV blocks, as vLLM does it at start-up (engine-semantics §1.10).

#include "hw_models/gpu_spec.h"
#include "hw_models/model_spec.h"

namespace fleetsim {

/// Memory of one GPU by purpose; the parts add up to `total`.
struct MemoryPlan {
  Bytes total, requested, weights, activations, cuda_graphs, non_torch, kv_cache, free;
  Bytes block_bytes;                       // one KV block on one rank, all growing layers
  std::int64_t blocks = 0;                 // num_gpu_blocks, the null block included; <= 1: does not fit
  std::int64_t window_blocks_per_request = 0;  // fixed reserve of sliding-window layers, in blocks
  std::int64_t kv_tokens() const;          // blocks * block_size, as the engine logs it
  std::int64_t block_size = 16;
  Bytes missing;                           // > 0: what is lacking for one block
};

struct MemoryRequest {
  double gpu_memory_utilization = 0.92;
  bool graphs_inside_budget = true;        // vLLM since 2026-04
  bool enforce_eager = false;
  std::int64_t block_size = 16, max_num_batched_tokens = 8192, max_num_seqs = 256, tp = 1;
  std::int64_t kv_cache_memory_bytes = 0;  // > 0 overrides
  std::int64_t num_gpu_blocks_override = 0;
};

MemoryPlan plan_memory(const ModelSpec& model, const GpuSpec& gpu, const Precision& precision,
                       const MemoryRequest& request);
/// floor(floor(kv / page) / layers): exact block count from KV bytes.
std::int64_t kv_blocks(Bytes kv_cache, Bytes page_bytes_per_layer, std::int64_t layers);

}  // namespace fleetsim
