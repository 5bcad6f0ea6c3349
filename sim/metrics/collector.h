#pragma once
// Turns what a run reports (finished requests, iterations) into the Result that people read.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hw_models/kv_memory.h"
#include "hw_models/power.h"
#include "hw_models/step_time.h"
#include "sim/metrics/meter.h"
#include "sim/metrics/records.h"
#include "sim/metrics/summary.h"
#include "sim/scenario/scenario.h"

namespace fleetsim {

/// What the collector must know of a pool. `step_time` outlives the collector.
struct PoolFacts {
  std::string name, gpu, model;
  std::int64_t replicas = 1, gpus_per_replica = 1;
  std::optional<double> usd_per_gpu_hour;
  const StepTime* step_time = nullptr;  // absent: no MFU, MBU or time breakdown
  std::optional<MemoryPlan> memory;
  FlopsPerSecond peak;               // of one GPU at the GEMM precision; 0: no MFU
  BytesPerSecond memory_bandwidth;   // of one GPU, datasheet; 0: no MBU
  std::optional<PowerLaw> power;     // of one GPU; absent: no energy
  std::int64_t kv_blocks_total = 0;  // per replica, null block left out
  std::int64_t max_tokens = 8192;    // of one iteration (max_num_batched_tokens)
  bool prefix_caching = false;
  std::vector<std::string> notes;
};

/// A class of requests and its own limits; absent: the scenario's.
struct ClassFacts {
  std::string name;
  std::optional<Slo> slo;
};

struct CollectorSetup {
  std::vector<PoolFacts> pools;
  std::vector<ClassFacts>
      classes;             // by RequestRecord::class_index; empty: one class without a name
  std::optional<Slo> slo;  // the scenario's
  MeterWindow window;
  Frontend frontend;
  std::int64_t log_threshold =
      20'000'000;  // finished requests kept in full before sketches take over
};

/// Collects a run. Populations:
///  - requests, tokens, latency, slo, cache, realised lengths: requests that *arrive* in the
///  window, whenever
///    they end. latency: completed by GPUs. tokens, cache: scheduled at least once.
///  - throughput, goodput, fleet, cost, time_breakdown, itl: what *happens* in the window, whoever
///  arrived
///    when: completions by GPUs, tokens delivered, prompts whose first token (prefill only: last)
///    fell into it.
///  - timeseries: the whole run.
/// Response-cache hits are in requests.cache_hits only, unless slo.include_cache_hits.
/// Percentiles are exact up to `log_threshold` requests; beyond, rank error <= 0.1 %.
class Collector {
 public:
  explicit Collector(CollectorSetup setup);
  ~Collector();
  Collector(Collector&&) noexcept;
  Collector& operator=(Collector&&) noexcept;

  /// Once a request, when it ends for whatever reason, also when the simulation ends before it
  /// does. Hot: a few tens of nanoseconds. Order matters only beyond log_threshold.
  void on_request(const RequestRecord& record);
  PoolMeter& meter(std::int32_t pool) { return meters_[static_cast<std::size_t>(pool)]; }

  /// The answer; the run ended at `end` (the last event). Call once. Wall-clock figures are the
  /// caller's.
  Result finish(SimTime end, bool stopped_early = false, std::int64_t events_popped = 0);

 private:
  struct State;
  std::vector<PoolMeter> meters_;
  std::unique_ptr<State> state_;
};

}  // namespace fleetsim
