#pragma once
// The answer of a run as values: what summary.json and the report are written from. Definitions in
// product.md ("What a run writes"). Absent optionals are sections that do not apply.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hw_models/kv_memory.h"
#include "hw_models/step_time.h"
#include "sim/core/sim_time.h"

namespace fleetsim {

/// Seconds. `count` samples stand behind it; absent as a whole when there are none.
struct LatencySummary {
  double mean = 0, p50 = 0, p90 = 0, p95 = 0, p99 = 0, max = 0;
  std::int64_t count = 0;
};

struct RequestCounts {
  std::int64_t arrived = 0, completed = 0, cache_hits = 0, rejected = 0, timed_out = 0, lost = 0,
               unfinished = 0;
};
struct TokenCounts {
  std::int64_t prompt = 0, prompt_cached = 0, output = 0;
};
struct LatencySection {
  std::optional<LatencySummary> ttft, tpot, itl, e2e, queue;
};
struct ThroughputSection {
  double requests_per_s = 0, output_tokens_per_s = 0, total_tokens_per_s = 0,
         output_tokens_per_s_per_gpu = 0;
  std::optional<double> goodput_requests_per_s;  // with an slo
};

/// One limit of the SLO in its worst window.
struct SloLimit {
  std::string metric;  // "e2e", "ttft", "tpot", "itl"
  double limit_s = 0;
  double worst_s = 0;  // the percentile in the worst window; infinity when misses reach it
  double overall_s = 0;
  SimTime worst_window_start = 0;
  std::int64_t population =
      0;  // requests judged in the worst window (itl: gaps of the run); 0: the limit
          // applied to none, worst_s and overall_s mean nothing and it counts as met
  bool met = false;
};
struct SloSection {
  std::string class_name;  // empty: the scenario's, over every class without its own
  double attainment = 0;   // requests that meet all limits / arrivals judged
  bool met = false;
  double percentile = 95;
  double window_s = 60;
  std::vector<SloLimit> limits;
  struct WindowPoint {
    double start_s = 0;
    double attainment = 0;
    std::int64_t arrivals = 0;
    std::vector<double> percentile_s;
  };
  std::vector<WindowPoint>
      windows;  // the timeline behind the verdict; percentile_s in order of `limits`
};
struct FleetSection {
  std::int64_t gpus = 0, replicas = 0, iterations = 0, preemptions = 0;
  double gpu_hours = 0, batch_mean = 0, busy = 0;
  std::optional<double> mfu, mbu;
  double kv_blocks_mean = 0;
  std::int64_t kv_blocks_peak = 0, kv_blocks_total = 0;  // per replica
  std::int32_t kv_blocks_peak_replica = 0;
};
struct CacheSection {
  double prefix_hit_rate = 0;  // cached / queried prompt tokens at first admission
};
struct CostSection {
  // Per request that GPUs completed; infinite where the window saw none.
  double usd_per_hour = 0, usd_per_request = 0, usd_per_million_output_tokens = 0;
};
/// Of the GPUs, idle ones included; not of hosts, switches and cooling.
struct EnergySection {
  // Per output token delivered and request completed; infinite where the window saw none.
  double joules = 0, joules_per_output_token = 0, joules_per_request = 0;
  double watts_per_gpu = 0;  // mean
};
/// Fractions of the measured GPU time; they add up to 1. Indexed by CostGroup, plus idle.
struct TimeBreakdown {
  std::array<double, kCostGroups> groups{};
  double transfer = 0, idle = 0;
};
struct PoolSection {
  std::string name, gpu, model;
  RequestCounts requests;
  TokenCounts tokens;
  LatencySection latency;
  ThroughputSection throughput;
  FleetSection fleet;
  std::optional<CacheSection> cache;
  std::optional<CostSection> cost;
  std::optional<EnergySection> energy;
  std::optional<TimeBreakdown> time_breakdown;
  std::optional<MemoryPlan> memory;
  std::string cost_model;  // StepTime::kind()
  std::vector<std::string> notes;
};
struct WallSection {
  double simulate_s = 0, requests_per_wall_s = 0;
  std::int64_t peak_rss_bytes = 0;
};

struct Summary {
  RequestCounts requests;
  TokenCounts tokens;
  LatencySection latency;
  ThroughputSection throughput;
  std::vector<SloSection> slo;  // first: the scenario's; then classes with their own
  FleetSection fleet;
  std::optional<CacheSection> cache;
  std::optional<CostSection> cost;
  std::optional<EnergySection> energy;
  std::optional<TimeBreakdown> time_breakdown;
  std::optional<MemoryPlan> memory;  // of the first pool
  std::vector<PoolSection> pools;
  double realised_prompt_mean = 0, realised_prompt_p95 = 0, realised_output_mean = 0,
         realised_output_p95 = 0;
  /// Mean share of e2e that the front end works (network, tokenising; waiting for a place left
  /// out).
  double frontend_share = 0;
  bool latency_from_sketch = false;  // above 20 million finished requests: rank error <= 0.1 %
  bool stopped_early = false;        // the sink asked to stop; figures are partial
  bool saturated = false;            // the backlog kept growing until arrivals ended
  bool slo_met() const;              // every SLO that was asked; true without one
};

/// One pool in one interval. Means are weighted by time; rates are per second of the interval.
struct TimeseriesPoint {
  SimTime start = 0, length = 0;
  std::int32_t pool = 0;
  // prompt_tokens: computed, that is without cached and with recomputed ones.
  std::int64_t arrivals = 0, completed = 0, output_tokens = 0, prompt_tokens = 0, iterations = 0;
  double queue = 0, running = 0, kv_blocks_used = 0,
         busy = 0;  // fleet sums (queue, running), per replica (kv, busy)
  std::int32_t replicas = 0;
  std::optional<double> watts;  // of the pool's GPUs
};

/// 0, 0.5 %, …, 100 % and the tail points of a latency, for the CDF.
struct LatencyCurve {
  std::string metric;
  std::vector<double> probability, seconds;
};

/// Everything a run answers, records streamed to the sink apart.
struct Result {
  Summary summary;
  std::vector<TimeseriesPoint> timeseries;
  std::vector<LatencyCurve> curves;
  std::int64_t events_popped = 0;  // of the event queue: the run-ahead test compares it
};

}  // namespace fleetsim
