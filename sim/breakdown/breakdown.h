#pragma once
// One deployment taken apart: where memory, FLOPs, bytes and time go in the prefill of one prompt
// and in one decode iteration, and what a token and a request cost.

#include <cstdint>
#include <string>

#include "sim/breakdown/decode_sweep.h"
#include "sim/breakdown/memory_parts.h"
#include "sim/breakdown/phase.h"
#include "sim/fleet/deployment.h"

namespace fleetsim {

/// What is looked at. All counts are 1 at least.
struct BreakdownQuestion {
  std::int64_t batch = 32;      // requests of the decode iteration
  std::int64_t context = 2048;  // tokens of each in the KV cache, the new one included
  std::int64_t prompt = 2048;   // tokens of the prompt that is prefilled
};

/// What one request with the question's context, and one token of it, cost.
struct RequestCosts {
  Bytes kv_per_gpu;      // of its tokens; its blocks may hold more
  Bytes kv_all_gpus;     // over the ranks of the replica
  Seconds swap_one_way;  // kv_per_gpu over PCIe at the datasheet's rate, all GPUs at once
  Seconds recompute;     // a prefill of its context
  // one decoded token, over all GPUs
  double linear_flops = 0;     // 2 x the weights of the layers that it passes
  double head_flops = 0;       // logits
  double attention_flops = 0;  // scores and values
  double flops() const { return linear_flops + head_flops + attention_flops; }
  double bytes = 0;  // HBM, weights shared by the batch
  Seconds time;      // until it is there: the decode iteration
};

struct Breakdown {
  std::string scenario, pool;
  BreakdownQuestion question;
  PoolDeployment deployment;
  Precision precision;
  std::int64_t tp = 1;
  MemoryBreakdown memory;
  PhaseBreakdown prefill, decode;
  DecodeSweeps sweeps;
  RequestCosts request;

  /// "Llama 3.1 8B on 2 x NVIDIA H100 SXM5 80 GB"
  std::string title() const;
};

/// Takes pool number `pool` of a scenario that was deployed without faults apart. Faults (a batch
/// that does not fit, a cost model without hardware) go to `problems`; the result is usable only
/// when there are none.
Breakdown break_down(const Scenario& scenario, const Deployment& deployment, std::size_t pool,
                     const BreakdownQuestion& question, Problems& problems);

}  // namespace fleetsim
