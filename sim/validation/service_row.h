#pragma once
// One measured operating point of a whole service, as shared/data/e2e publishes it: what was run
// and what came out. Blank cells are absent values, never zeros.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hw_models/problems.h"

namespace fleetsim {

/// Which value of a latency's distribution was published.
enum class LatencyStatistic { mean, median, unstated };

struct ServiceRow {
  std::string row_id;  // of e2e.csv; open loop: "openloop-<exp_id>-<stage>"
  std::string source;  // "inferencex", "nvidia-aic-e2e", ..., "vllm-openloop"
  std::string gpu, engine, version, precision, kv_format, model;  // as the source names them
  std::string length_spread, load, speculation, measured_on, notes;
  std::int64_t gpus = 1;  // over all replicas
  std::optional<std::int64_t> tp, pp, ep;
  bool data_parallel_attention = false;
  std::optional<double> prompt_tokens, output_tokens;  // nominal lengths, or means (open loop)
  std::optional<std::int64_t> clients;
  std::optional<double> rate_per_s;
  // open loop only
  std::string workload, stage;
  std::optional<std::int64_t> max_num_batched_tokens;
  std::optional<double> gpu_memory_utilization;
  bool cpu_offload = false;
  // what was measured; seconds, tokens a second
  std::optional<double> ttft_s, tpot_s, itl_s, e2e_s;
  std::optional<double> ttft_p90_s, ttft_p99_s, e2e_p90_s, e2e_p99_s;
  std::optional<double> output_tokens_per_s, output_tokens_per_s_per_gpu;
  LatencyStatistic ttft_statistic = LatencyStatistic::unstated,
                   tpot_statistic = LatencyStatistic::unstated;
};

/// Reads DIR/e2e/e2e.csv and DIR/e2e/vllm_openloop.csv, in file order. Errors: faults (no such
/// file, missing columns, cells that are no numbers) go to `problems`.
std::vector<ServiceRow> read_service_rows(const std::string& data_dir, Problems& problems);

}  // namespace fleetsim
