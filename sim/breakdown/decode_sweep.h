#pragma once
// Decode iterations over batches and over contexts: where they turn from one bound to another, and
// how far the KV cache lets them go.

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/breakdown/phase.h"
#include "sim/fleet/deployment.h"

namespace fleetsim {

struct SweepPoint {
  std::int64_t batch = 0, context = 0;
  PhaseBreakdown iteration;
  double tokens_per_second = 0;  // of the replica
};

struct DecodeSweeps {
  std::vector<SweepPoint> batches;   // 1, 2, 4, ... and the largest, at the question's context
  std::vector<SweepPoint> contexts;  // 128, 256, ... and the longest, at the question's batch
  std::int64_t largest_batch = 0;    // of the first list: what fits in the KV pool and the budget
  bool largest_batch_is_of_memory = true;  // else of max_num_batched_tokens
  std::int64_t longest_context = 0;        // of the second list: what fits, or the model's longest
  bool longest_context_is_of_memory = true;  // else the model's
  /// Smallest batch at which half of the matrix products' time is compute-bound; nullopt when none
  /// up to the token budget is. Contexts do not matter to them.
  std::optional<std::int64_t> products_turn_at;
  std::int64_t products_turn_fits_to = 0;  // the longest context at which that batch fits
  /// Shortest context at which attention takes longer than the matrix products at the question's
  /// batch; nullopt when none up to the model's longest does.
  std::optional<std::int64_t> attention_takes_over_at;
};

/// `batch` and `context`: the question's, which fit. Errors: CHECK that they do.
DecodeSweeps sweep_decode(const PoolDeployment& pool, const Roofs& roofs, std::int64_t batch,
                          std::int64_t context);

}  // namespace fleetsim
