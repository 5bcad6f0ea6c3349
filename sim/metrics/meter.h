#pragma once
// Accumulators that replicas feed while they run. Everything is a sum of integers, so the order of
// feeding (step by step or run ahead) cannot change a byte of the result.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "hw_models/check.h"
#include "hw_models/step_time.h"
#include "sim/core/sim_time.h"
#include "sim/metrics/gap_histogram.h"
#include "sim/metrics/wide.h"

namespace fleetsim {

/// The span that statistics cover, and the intervals of the time series.
/// `to` is exclusive: a trace whose last arrival defines the end passes that arrival + 1.
/// kNever: the span ends with the run (closed loops, batches and lists without `duration`).
struct MeterWindow {
  SimTime from = 0;                          // warmup
  SimTime to = kNever;                       // end of arrivals (duration); drain excluded
  SimTime interval = kNanosecondsPerSecond;  // of the time series
  bool contains(SimTime at) const { return at >= from && at < to; }
};

/// Totals over the iterations that start inside the window.
struct IterationTotals {
  std::int64_t iterations = 0;
  BatchShape shape;               // field by field
  SimTime started = 0;            // durations of those iterations, whole
  SimTime host_overhead = 0;      // of `started`: what the host added
  SimTime busy = 0;               // any iteration's time inside the window, to the nanosecond
  Wide kv_block_nanoseconds = 0;  // blocks owned x time, inside the window
  std::int64_t preemptions = 0;
  std::int64_t output_tokens = 0;  // delivered inside the window
};

/// The most blocks that an iteration of the window owned. Ties go to the earliest start, then to
/// the lowest replica, so that the order of feeding does not matter.
struct KvPeak {
  std::int64_t blocks = 0;
  SimTime at = 0;
  std::int32_t replica = 0;
};

/// One interval of the time series: sums over the pool's replicas.
struct MeterInterval {
  std::int64_t arrivals = 0, completed = 0, output_tokens = 0;
  std::int64_t iterations = 0;  // that start in it
  std::int64_t prompt_tokens =
      0;             // computed by those iterations: cached ones are not in it, recomputed ones are
  SimTime busy = 0;  // replica-nanoseconds
  Wide kv_block_nanoseconds = 0;
  Wide waiting = 0, running = 0;  // request-nanoseconds
};

/// One pool's accumulators.
class PoolMeter {
 public:
  /// `max_tokens`: the largest T of an iteration. An empty window measures nothing.
  /// Errors: CHECK interval > 0.
  PoolMeter(const MeterWindow& window, std::int64_t replicas, std::int64_t max_tokens);

  /// An iteration of `replica` over [start, start + duration) with `kv_used` blocks owned, of which
  /// the host added `host_overhead` (Price::host_overhead; left at 0, it shows as attention in the
  /// breakdown). Hot: called once an iteration; no allocation unless the time series grows.
  void on_iteration(std::int32_t replica, const BatchShape& shape, SimTime start, SimTime duration,
                    std::int64_t kv_used, SimTime host_overhead = 0);
  /// `count` gaps of `gap` between delivered chunks, ending at `at`. Counted when `at` is in the
  /// window.
  void on_gaps(SimTime gap, std::int64_t count, SimTime at) {
    if (window_.contains(at)) gaps_.add(gap, count);
  }
  /// A request waited (or was preempted) over [from, to); it ran over [from, to). Requests that
  /// still wait or run when the simulation ends are reported with `to` = its end. Constant time.
  void on_waited(SimTime from, SimTime to) {
    spread(&Bin::waiting, &Bin::waiting_change, from, to);
  }
  void on_ran(SimTime from, SimTime to) { spread(&Bin::running, &Bin::running_change, from, to); }
  void on_preemption(SimTime at) { totals_.preemptions += window_.contains(at) ? 1 : 0; }
  void on_arrival(SimTime at) { bin_at(at).arrivals += 1; }  // routed to this pool
  void on_output_tokens(std::int64_t tokens,
                        SimTime at) {  // delivered by an iteration ending at `at`
    bin_at(at).output_tokens += tokens;
    if (window_.contains(at)) totals_.output_tokens += tokens;
  }
  void on_completed(SimTime at) { bin_at(at).completed += 1; }

  const IterationTotals& totals() const { return totals_; }
  const GapHistogram& gaps() const { return gaps_; }
  const KvPeak& kv_peak() const { return kv_peak_; }
  const MeterWindow& window() const { return window_; }
  std::int64_t replicas() const { return replicas_; }
  /// Iterations of the window by T and by sampled rows (index = the number).
  const std::vector<std::int64_t>& iterations_by_tokens() const { return by_tokens_; }
  const std::vector<std::int64_t>& iterations_by_rows() const { return by_rows_; }
  /// The time series over [0, end), warm-up and drain included: ceil(end / interval) intervals.
  /// What was reported beyond `end` (deliveries on the wire) is in the last one.
  std::vector<MeterInterval> intervals(SimTime end) const;

 private:
  // An interval under construction. The *_change fields hold the change in the number of requests
  // that wait or run over whole intervals, so that a long wait costs two additions and not one an
  // interval.
  struct Bin : MeterInterval {
    std::int64_t waiting_change = 0, running_change = 0;
  };

  Bin& bin_at(SimTime at) {
    if (at >= cached_from_ && at < cached_to_) [[likely]]
      return bins_[cached_bin_];
    return find_bin(at);
  }
  Bin& find_bin(SimTime at);
  void spread(Wide Bin::*sum, std::int64_t Bin::*change, SimTime from, SimTime to);
  void split_iteration(SimTime start, SimTime end, std::int64_t kv_used);
  void clip_iteration(SimTime start, SimTime end, std::int64_t kv_used);
  void count_shape(const BatchShape& shape, SimTime duration);

  MeterWindow window_;
  std::int64_t replicas_;
  IterationTotals totals_;
  KvPeak kv_peak_;
  std::vector<Bin> bins_;
  SimTime cached_from_ = 0, cached_to_ = 0;  // the interval last used: bins_[cached_bin_]
  std::size_t cached_bin_ = 0;
  std::vector<std::int64_t> by_tokens_, by_rows_;
  GapHistogram gaps_;
};

inline void PoolMeter::count_shape(const BatchShape& shape, SimTime duration) {
  totals_.iterations += 1;
  totals_.started += duration;
  BatchShape& sums = totals_.shape;
  sums.tokens += shape.tokens;
  sums.sampled_rows += shape.sampled_rows;
  sums.decode_requests += shape.decode_requests;
  sums.decode_context += shape.decode_context;
  sums.decode_window_context += shape.decode_window_context;
  sums.prefill_requests += shape.prefill_requests;
  sums.prefill_context += shape.prefill_context;
  sums.prefill_pairs += shape.prefill_pairs;
  sums.prefill_window_pairs += shape.prefill_window_pairs;
  CHECK(static_cast<std::size_t>(shape.tokens) < by_tokens_.size() &&
            static_cast<std::size_t>(shape.sampled_rows) < by_rows_.size(),
        "an iteration of " + std::to_string(shape.tokens) + " tokens");
  by_tokens_[static_cast<std::size_t>(shape.tokens)] += 1;
  by_rows_[static_cast<std::size_t>(shape.sampled_rows)] += 1;
}

inline void PoolMeter::on_iteration(std::int32_t replica, const BatchShape& shape, SimTime start,
                                    SimTime duration, std::int64_t kv_used, SimTime host_overhead) {
  const SimTime end = start + duration;
  const Wide kv_time = static_cast<Wide>(kv_used) * duration;
  Bin& bin = bin_at(start);
  bin.iterations += 1;
  bin.prompt_tokens += shape.tokens - shape.decode_requests;
  if (end <= cached_to_) [[likely]] {
    bin.busy += duration;
    bin.kv_block_nanoseconds += kv_time;
  } else {
    split_iteration(start, end, kv_used);
  }
  if (start >= window_.from && end <= window_.to) [[likely]] {
    totals_.busy += duration;
    totals_.kv_block_nanoseconds += kv_time;
  } else {
    clip_iteration(start, end, kv_used);
  }
  if (!window_.contains(start)) return;
  count_shape(shape, duration);
  totals_.host_overhead += host_overhead;
  if (kv_used < kv_peak_.blocks) [[likely]]
    return;
  const bool first = kv_used > kv_peak_.blocks || totals_.iterations == 1 || start < kv_peak_.at ||
                     (start == kv_peak_.at && replica < kv_peak_.replica);
  if (first) kv_peak_ = {kv_used, start, replica};
}

}  // namespace fleetsim
