#pragma once
// Where the memory of one GPU goes, to the byte: weights by kind of matrix, the KV pool and what a
// batch takes of it, and the engine's other parts.

#include <cstdint>
#include <string>
#include <vector>

#include "hw_models/kv_memory.h"
#include "hw_models/model_spec.h"
#include "hw_models/precision.h"
#include "hw_models/weight_groups.h"

namespace fleetsim {

/// Weights of one kind on one rank, over all layers and experts.
struct WeightPart {
  std::string name;
  WeightRole role = WeightRole::matrix;
  std::int64_t parameters = 0;
  Bytes bytes;
  double bytes_per_weight = 0;  // scales included
};

/// KV cache of requests that have `context` tokens each.
struct KvNeed {
  std::int64_t context = 0;
  Bytes per_token;              // one rank, layers that grow
  Bytes per_token_and_layer;    // one rank
  std::int64_t blocks = 0;      // of one request, its reserve for windowed layers included
  Bytes per_request;            // these blocks
  std::int64_t batch_fits = 0;  // requests of this context that the pool holds at once
};

struct MemoryBreakdown {
  MemoryPlan plan;
  std::vector<WeightPart> weights;  // in the order of the forward pass; sums to `stored_weights`
  Bytes stored_weights;             // ModelSpec::weight_bytes_per_rank
  Bytes rotary_table;               // plan.weights = stored_weights + rotary_table
  std::int64_t parameters = 0;      // of one rank
  KvNeed kv;
  std::int64_t batch = 0;
  Bytes kv_of_batch;  // batch x kv.per_request
};

/// Bytes are whole by construction: each part is what the running sum grows by, rounded up, so that
/// the parts of int4 weights with their scales add up to the model's own figure.
MemoryBreakdown break_memory_down(const ModelSpec& model, const Precision& precision,
                                  std::int64_t tp, const MemoryPlan& plan, std::int64_t batch,
                                  std::int64_t context);

/// KV cache that requests of `context` tokens take of a pool. Errors: CHECK context >= 1.
KvNeed kv_need(const ModelSpec& model, const Precision& precision, std::int64_t tp,
               const MemoryPlan& plan, std::int64_t context);

/// The longest context at which `batch` requests fit in the pool; 0 when none does.
std::int64_t longest_context(const MemoryPlan& plan, std::int64_t batch);

}  // namespace fleetsim
