#pragma once
// What a pool's GPUs did with their time in the window: utilisation, memory, where the time went.

#include <array>
#include <cstdint>
#include <optional>

#include "sim/metrics/collector.h"
#include "sim/metrics/meter.h"
#include "sim/metrics/summary.h"

namespace fleetsim {

/// Sums of one pool, or of several, from which a FleetSection and a TimeBreakdown follow.
/// Everything is over the window; times are GPU-seconds, so that pools of different sizes weigh by
/// their GPUs.
struct FleetUsage {
  std::int64_t gpus = 0, replicas = 0, iterations = 0, preemptions = 0, scheduled_requests = 0;
  double gpu_seconds = 0;  // owned
  double replica_seconds = 0;
  double busy_gpu_seconds = 0;
  std::optional<double> flops = 0,
                        peak_flops = 0;  // useful / at the datasheet peak; absent: unknown
  std::optional<double> bytes = 0, peak_bytes = 0;  // minimum / at the datasheet bandwidth
  double kv_bytes = 0;                              // of `bytes`: KV read and written
  double kv_block_seconds = 0;
  std::int64_t kv_blocks_peak = 0, kv_blocks_total = 0;
  std::int32_t kv_blocks_peak_replica = 0;
  std::optional<std::array<double, kCostGroups>> group_gpu_seconds =
      std::array<double, kCostGroups>{};  // adds up to busy; absent: not priced by hardware
  void add(const FleetUsage& other);
};

/// Usage of one pool over a window of `length`.
///
/// Time by group: iterations are counted by tokens T and by sampled rows, and a group that depends
/// on these alone takes g(T, rows) = g(T, 0) + (g(1, rows) - g(1, 0)), since rows only add the
/// logits. The host's part is counted as it runs; attention is the rest of what the iterations
/// took. Iterations that start in the window are priced whole, then scaled to the busy time inside
/// it.
///
/// Minimum bytes: f(T, rows) likewise by counts, plus attention, which is linear in the summed
/// shapes. (For models with a sliding window the summed prefill reads min(sum, sum) where each
/// iteration reads its own minimum: never less than the true sum.)
FleetUsage usage_of(const PoolFacts& facts, const PoolMeter& meter, SimTime length);

FleetSection fleet_section(const FleetUsage& usage);
/// Absent where a pool is not priced by hardware, or when no time passed.
std::optional<TimeBreakdown> time_breakdown(const FleetUsage& usage);

}  // namespace fleetsim
