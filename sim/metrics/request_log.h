#pragma once
// The finished requests of a run as far as statistics need them: kept whole up to a threshold, then
// folded into quantile sketches, after which memory stays flat.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sim/metrics/quantile_sketch.h"
#include "sim/metrics/records.h"
#include "sim/metrics/wide.h"

namespace fleetsim {

/// The latencies that a request itself has (ITL belongs to gaps).
enum class LatencyMetric { ttft, tpot, e2e, queue };
inline constexpr int kLatencyMetrics = 4;
const char* name_of(LatencyMetric metric);

/// What statistics need of a RequestRecord.
struct LoggedRequest {
  SimTime arrival = 0, first_scheduled = -1, first_token = -1, last_token = -1;
  std::int32_t prompt_tokens = 0, output_tokens = 0;
  std::int16_t pool = -1;
  std::uint16_t class_index = 0;
  RequestStatus status = RequestStatus::unfinished;
};
// With 8 bytes of scratch a value, a finished request takes at most 64 bytes while it is
// summarised.
static_assert(sizeof(LoggedRequest) + sizeof(double) <= 64);

LoggedRequest logged(const RequestRecord& record);

/// A latency in nanoseconds, -1 where the request has none: TTFT without output tokens, TPOT with
/// less than two, anything whose events did not happen.
double latency_ns(const LoggedRequest& request, LatencyMetric metric);

/// Exact sums of one latency over one population; a whole-number sum, so order cannot matter.
struct LatencySums {
  std::int64_t count = 0;
  Wide sum = 0;  // in 2^-16 ns (TPOT is a fraction)
  double max_ns = 0;
  void add(double ns);
  void merge(const LatencySums& other);
  double mean_ns() const;  // CHECK: not empty
};

/// Requests of the statistics' population and percentiles of the completed ones.
class RequestLog {
 public:
  static constexpr std::int32_t kAllPools = -1;
  static constexpr std::size_t kSlabRequests = std::size_t{1} << 16;

  /// `threshold`: requests kept whole.
  RequestLog(std::int32_t pools, std::int64_t threshold);

  /// True when the next add() needs room that is not there: the caller reads what it wants through
  /// for_each() and calls fold().
  bool full() const { return !folded_ && size_ == threshold_; }
  /// Replaces the kept requests by sketches; irreversible.
  void fold();
  bool folded() const { return folded_; }
  /// CHECK: not full().
  void add(const LoggedRequest& request);
  std::int64_t size() const { return size_; }

  /// Calls visit(const LoggedRequest&) for every kept request in order; none after fold().
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const auto& slab : slabs_) {
      for (std::size_t i = 0; i < slab.used; ++i) visit(slab.requests[i]);
    }
  }

  /// Exact count, mean and maximum, before and after fold().
  LatencySums sums(LatencyMetric metric, std::int32_t pool) const;
  /// Nanoseconds at ascending probabilities over the completed requests of a pool (or kAllPools);
  /// empty when there are none. Exact before fold(); after it each is an observed value of rank
  /// error <= 0.1 %. `scratch` is reused from call to call: 8 bytes a value.
  std::vector<double> percentiles_ns(LatencyMetric metric, std::int32_t pool,
                                     std::span<const double> ascending,
                                     std::vector<double>& scratch) const;
  /// Bytes held, for memory accounting.
  std::int64_t bytes() const;

 private:
  struct Slab {
    std::unique_ptr<LoggedRequest[]> requests;
    std::size_t capacity = 0, used = 0;
  };
  struct PoolLatencies {
    std::array<LatencySums, kLatencyMetrics> sums;
    std::array<QuantileSketch, kLatencyMetrics> sketches;  // after fold()
  };
  void sketch(const LoggedRequest& request);
  std::vector<double> exact_percentiles_ns(LatencyMetric metric, std::int32_t pool,
                                           std::span<const double> ascending,
                                           std::vector<double>& scratch) const;
  /// Calls visit(ns) for every completed request of the pool that has the latency.
  template <typename Visit>
  void for_each_latency(LatencyMetric metric, std::int32_t pool, Visit&& visit) const {
    for_each([&](const LoggedRequest& request) {
      if (request.status != RequestStatus::completed) return;
      if (pool != kAllPools && request.pool != pool) return;
      const double ns = latency_ns(request, metric);
      if (ns >= 0) visit(ns);
    });
  }

  std::int64_t threshold_, size_ = 0;
  bool folded_ = false;
  std::vector<Slab> slabs_;
  std::vector<PoolLatencies> pools_;
};

}  // namespace fleetsim
