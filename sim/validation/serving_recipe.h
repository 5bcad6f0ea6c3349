#pragma once
// How a measured row's server was started: the settings of the engine that the data's README
// states, those that the benchmark's own launch scripts show, and what is assumed where neither
// says it.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/validation/service_row.h"

namespace fleetsim {

/// Engine settings of one row. Absent: the engine's default for its version and GPU.
struct ServingRecipe {
  std::string version;  // as fleetsim's scenarios write it
  std::optional<std::int64_t> max_num_seqs, max_num_batched_tokens, max_model_len, block_size,
      max_cudagraph_capture_size;
  std::optional<double> gpu_memory_utilization;
  std::optional<bool> prefix_caching, async_scheduling;
  bool greedy = false;  // the client asks for temperature 0
  std::int64_t tp = 1, ep = 1;
  std::int64_t stream_interval = 1;
  /// Between the client's clock and the engine's queue: HTTP, JSON, tokeniser. Fitted on the first
  /// tokens of gpt-oss-120b on B200 (10.6 to 12.6 ms at 0.9 k tokens, about 21 ms at 7.4 k).
  std::string api_base = "9ms", api_per_token = "1600ns";
  std::string weights, activations, kv_cache,
      experts;                           // number formats of a scenario's `precision`
  std::vector<std::string> assumptions;  // what no source says, one line each
  std::string unknown;  // what of the configuration is not known at all; empty: nothing
};

/// The recipe of a vLLM row.
ServingRecipe serving_recipe(const ServiceRow& row);

}  // namespace fleetsim
