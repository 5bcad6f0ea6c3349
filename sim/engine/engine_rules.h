#pragma once
// The dated rules of an engine and its settings with every default filled in (engine-semantics
// §1.1).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hw_models/gpu_spec.h"
#include "hw_models/model_spec.h"
#include "hw_models/step_time.h"
#include "sim/scenario/scenario.h"

namespace fleetsim {

/// What a scheduler needs to know; nothing in it is optional any more.
struct EngineRules {
  std::string scheduler, version;
  std::int64_t version_date = 0;  // yyyymmdd
  std::int64_t block_size = 16;
  std::int64_t num_gpu_blocks = 0;  // null block included; filled by the deployment
  std::int64_t max_num_seqs = 256, max_num_batched_tokens = 8192, max_model_len = 0;
  std::int64_t long_prefill_token_threshold = 0;
  double watermark = 0;
  double gpu_memory_utilization = 0.92;
  bool enable_prefix_caching = true;
  bool enable_chunked_prefill = true;
  bool async_scheduling = true;
  bool enforce_eager = false;
  bool priority_policy = false;
  // rules by date
  bool reserve_full_isl = true;       // admission gate over the whole sequence, 2026-03-24
  bool unhashed_blocks_first = true;  // freed blocks without a hash are reused first, 2026-06
  bool preempted_victim_is_unscheduled =
      true;                          // a victim scheduled in this step gives its tokens back
  bool graphs_inside_budget = true;  // CUDA graphs subtracted from KV memory, 2026-04
  std::vector<std::int64_t> capture_sizes;
  bool fused_kernels = true;
  std::optional<AttentionBackend> attention_backend;  // absent: the engine's own choice
  std::optional<double> routing_skew;                 // absent: the model's
  bool model_sampling = true;                  // requests are sampled as the model's publisher asks
  bool fused_all_heads_norm = true;            // of this version
  KernelAge kernel_age;                        // of this version on this GPU
  HostTime host;                               // of this version
  std::int64_t window_blocks_per_request = 0;  // fixed reserve of sliding-window layers
};

/// One dated rule, for `fleetsim list policies` and the report's assumptions.
struct DatedRule {
  std::string since;  // "2026-03-24"
  std::string rule;
};
const std::vector<DatedRule>& vllm_v1_rules();

/// A scheduler row: name, since which releases, one-line description.
struct SchedulerRow {
  std::string name, description;
};
const std::vector<SchedulerRow>& scheduler_table();

/// Fills every default for the version, GPU and model. Faults go to `problems` at
/// `path` (the pool's engine section).
EngineRules resolve_engine_rules(const EngineSettings& settings, const GpuSpec& gpu,
                                 const ModelSpec& model, const SourceMap& source,
                                 const std::string& path, Problems& problems);

/// CUDA-graph capture sizes in tokens (engine-semantics §1.8).
std::vector<std::int64_t> capture_sizes(std::int64_t version_date, std::int64_t max_num_seqs,
                                        std::int64_t max_num_batched_tokens,
                                        bool data_centre_blackwell,
                                        std::optional<std::int64_t> largest_asked = {});

}  // namespace fleetsim
