// Slabs of 2^16 requests: growing never copies what is there, so the peak is what is kept. Above
// the threshold every completed request goes into one sketch a pool and metric, and the slabs are
// given back.

#include "sim/metrics/request_log.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "hw_models/check.h"
#include "sim/metrics/order_statistics.h"

namespace fleetsim {
namespace {

constexpr double kSumUnitsPerNanosecond = 65536;
constexpr std::size_t kBuckets = std::size_t{1} << 14;
constexpr std::array<LatencyMetric, kLatencyMetrics> kMetrics{
    LatencyMetric::ttft, LatencyMetric::tpot, LatencyMetric::e2e, LatencyMetric::queue};

std::size_t index_of(LatencyMetric metric) { return static_cast<std::size_t>(metric); }

}  // namespace

const char* name_of(LatencyMetric metric) {
  constexpr std::array<const char*, kLatencyMetrics> kNames{"ttft", "tpot", "e2e", "queue"};
  return kNames[index_of(metric)];
}

LoggedRequest logged(const RequestRecord& record) {
  return {record.arrival,    record.first_scheduled, record.first_token,
          record.last_token, record.prompt_tokens,   record.output_tokens,
          record.pool,       record.class_index,     record.status};
}

double latency_ns(const LoggedRequest& request, LatencyMetric metric) {
  switch (metric) {
    case LatencyMetric::ttft:
      if (request.output_tokens < 1 || request.first_token < 0) return -1;
      return static_cast<double>(request.first_token - request.arrival);
    case LatencyMetric::tpot:
      if (request.output_tokens < 2 || request.first_token < 0 || request.last_token < 0) return -1;
      return static_cast<double>(request.last_token - request.first_token) /
             static_cast<double>(request.output_tokens - 1);
    case LatencyMetric::e2e:
      return request.last_token < 0 ? -1
                                    : static_cast<double>(request.last_token - request.arrival);
    case LatencyMetric::queue:
      return request.first_scheduled < 0
                 ? -1
                 : static_cast<double>(request.first_scheduled - request.arrival);
  }
  return -1;
}

void LatencySums::add(double ns) {
  count += 1;
  sum += static_cast<Wide>(std::llround(ns * kSumUnitsPerNanosecond));
  max_ns = std::max(max_ns, ns);
}

void LatencySums::merge(const LatencySums& other) {
  count += other.count;
  sum += other.sum;
  max_ns = std::max(max_ns, other.max_ns);
}

double LatencySums::mean_ns() const {
  CHECK(count > 0, "mean of nothing");
  return static_cast<double>(sum) / kSumUnitsPerNanosecond / static_cast<double>(count);
}

RequestLog::RequestLog(std::int32_t pools, std::int64_t threshold) : threshold_(threshold) {
  CHECK(pools >= 0 && threshold >= 0, "request log");
  pools_.resize(static_cast<std::size_t>(pools));
}

void RequestLog::add(const LoggedRequest& request) {
  CHECK(!full(), "the log is full: fold() first");
  size_ += 1;
  if (request.status == RequestStatus::completed) {
    CHECK(request.pool >= 0 && static_cast<std::size_t>(request.pool) < pools_.size(),
          "a completed request of no pool");
    PoolLatencies& pool = pools_[static_cast<std::size_t>(request.pool)];
    for (const LatencyMetric metric : kMetrics) {
      const double ns = latency_ns(request, metric);
      if (ns >= 0) pool.sums[index_of(metric)].add(ns);
    }
  }
  if (folded_) {
    sketch(request);
    return;
  }
  if (slabs_.empty() || slabs_.back().used == slabs_.back().capacity) {
    const auto left = static_cast<std::size_t>(threshold_ - size_ + 1);
    const std::size_t capacity = std::min(kSlabRequests, left);
    slabs_.push_back({std::make_unique_for_overwrite<LoggedRequest[]>(capacity), capacity, 0});
  }
  slabs_.back().requests[slabs_.back().used++] = request;
}

void RequestLog::sketch(const LoggedRequest& request) {
  if (request.status != RequestStatus::completed) return;
  PoolLatencies& pool = pools_[static_cast<std::size_t>(request.pool)];
  for (const LatencyMetric metric : kMetrics) {
    const double ns = latency_ns(request, metric);
    if (ns >= 0) pool.sketches[index_of(metric)].add(ns);
  }
}

void RequestLog::fold() {
  CHECK(!folded_, "the log is folded already");
  folded_ = true;
  for (Slab& slab : slabs_) {
    for (std::size_t i = 0; i < slab.used; ++i) sketch(slab.requests[i]);
    slab.requests
        .reset();  // at once, so that the sketches replace the slabs instead of joining them
  }
  slabs_.clear();
  slabs_.shrink_to_fit();
}

LatencySums RequestLog::sums(LatencyMetric metric, std::int32_t pool) const {
  LatencySums total;
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    if (pool == kAllPools || static_cast<std::size_t>(pool) == i) {
      total.merge(pools_[i].sums[index_of(metric)]);
    }
  }
  return total;
}

std::vector<double> RequestLog::percentiles_ns(LatencyMetric metric, std::int32_t pool,
                                               std::span<const double> ascending,
                                               std::vector<double>& scratch) const {
  const LatencySums total = sums(metric, pool);
  if (total.count == 0) return {};
  if (folded_) {
    QuantileSketch merged;
    for (std::size_t i = 0; i < pools_.size(); ++i) {
      if (pool == kAllPools || static_cast<std::size_t>(pool) == i) {
        merged.merge(pools_[i].sketches[index_of(metric)]);
      }
    }
    return merged.quantiles({ascending.begin(), ascending.end()});
  }
  return exact_percentiles_ns(metric, pool, ascending, scratch);
}

// Values are placed by linear buckets straight from the log, then only buckets that hold a wanted
// rank are looked into: three passes, where selecting two hundred percentiles from a heap of values
// takes nine.
std::vector<double> RequestLog::exact_percentiles_ns(LatencyMetric metric, std::int32_t pool,
                                                     std::span<const double> ascending,
                                                     std::vector<double>& scratch) const {
  const LatencySums total = sums(metric, pool);
  const double scale = static_cast<double>(kBuckets) / (total.max_ns + 1);
  const auto bucket_of = [&](double ns) { return static_cast<std::size_t>(ns * scale); };
  std::vector<std::size_t> next(kBuckets + 1, 0);
  for_each_latency(metric, pool, [&](double ns) { next[bucket_of(ns)] += 1; });
  std::size_t placed = 0;
  for (std::size_t& bucket : next) placed += std::exchange(bucket, placed);
  scratch.resize(placed);
  for_each_latency(metric, pool, [&](double ns) { scratch[next[bucket_of(ns)]++] = ns; });
  return select_percentiles(scratch, next, ascending);  // `next` now holds where each bucket ends
}

std::int64_t RequestLog::bytes() const {
  std::size_t total = slabs_.capacity() * sizeof(Slab) + pools_.capacity() * sizeof(PoolLatencies);
  for (const Slab& slab : slabs_) total += slab.capacity * sizeof(LoggedRequest);
  auto answer = static_cast<std::int64_t>(total);
  for (const PoolLatencies& pool : pools_) {
    for (const QuantileSketch& sketch : pool.sketches) answer += sketch.bytes();
  }
  return answer;
}

}  // namespace fleetsim
