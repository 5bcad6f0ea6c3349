#pragma once
// Accumulators that replicas feed while they run. Everything is a sum of integers, so the order of
// feeding (step by step or run ahead) cannot change a byte of the result.

#include <cstdint>
#include <vector>

#include "hw_models/step_time.h"
#include "sim/core/sim_time.h"
#include "sim/metrics/gap_histogram.h"
#include "sim/metrics/records.h"

namespace fleetsim {

/// The span that statistics cover, and the intervals of the time series.
struct MeterWindow {
  SimTime from = 0;            // warmup
  SimTime to = kNever;         // end of arrivals (duration); drain excluded
  SimTime interval = kNanosecondsPerSecond;   // of the time series
};

/// Totals over the iterations that start inside the window.
struct IterationTotals {
  std::int64_t iterations = 0, tokens = 0, sampled_rows = 0, scheduled_requests = 0;
  std::int64_t decode_requests = 0, decode_context = 0, decode_window_context = 0;
  std::int64_t prefill_requests = 0, prefill_context = 0, prefill_pairs = 0, prefill_window_pairs = 0;
  SimTime busy = 0;            // clipped to the window to the nanosecond
  std::int64_t preemptions = 0;
  std::int64_t kv_block_nanoseconds_high = 0, kv_block_nanoseconds_low = 0;  // 128-bit sum of blocks * ns
};

/// One pool's accumulators.
class PoolMeter {
 public:
  PoolMeter(const MeterWindow& window, std::int64_t replicas, std::int64_t max_tokens);

  /// An iteration of `replica` over [start, start + duration) with `kv_used` blocks owned.
  /// Hot: called once an iteration; no allocation unless the time series grows.
  void on_iteration(std::int32_t replica, const BatchShape& shape, SimTime start, SimTime duration,
                    std::int64_t kv_used);
  /// `count` gaps of `gap` between delivered chunks, ending at `at`.
  void on_gaps(SimTime gap, std::int64_t count, SimTime at);
  /// A request waited (or was preempted) over [from, to); it ran over [from, to).
  void on_waited(SimTime from, SimTime to);
  void on_ran(SimTime from, SimTime to);
  void on_preemption(SimTime at);
  void on_arrival(SimTime at);                     // routed to this pool
  void on_output_tokens(std::int64_t tokens, SimTime at);   // delivered by an iteration ending at `at`
  void on_completed(SimTime at);

  const IterationTotals& totals() const;
  const GapHistogram& gaps() const;
  // ... read side for the collector: see meter.cpp
};

}  // namespace fleetsim
