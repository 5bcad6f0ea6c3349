// Latency definitions, exactness below the threshold, and what folding costs in accuracy and
// memory.

#include "sim/metrics/request_log.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "hw_models/check.h"

#include "tests/catch.h"

namespace fleetsim {
namespace {

LoggedRequest completed(SimTime arrival, SimTime scheduled, SimTime first, SimTime last,
                        std::int32_t output) {
  LoggedRequest request;
  request.arrival = arrival;
  request.first_scheduled = scheduled;
  request.first_token = first;
  request.last_token = last;
  request.output_tokens = output;
  request.pool = 0;
  request.status = RequestStatus::completed;
  return request;
}

TEST_CASE("latencies follow their definitions", "[unit]") {
  const LoggedRequest request = completed(100, 150, 400, 1000, 5);
  REQUIRE(latency_ns(request, LatencyMetric::queue) == 50);
  REQUIRE(latency_ns(request, LatencyMetric::ttft) == 300);
  REQUIRE(latency_ns(request, LatencyMetric::tpot) == 150);  // 600 / 4
  REQUIRE(latency_ns(request, LatencyMetric::e2e) == 900);

  const LoggedRequest one_token = completed(100, 150, 400, 400, 1);
  REQUIRE(latency_ns(one_token, LatencyMetric::tpot) < 0);
  REQUIRE(latency_ns(one_token, LatencyMetric::ttft) == 300);

  const LoggedRequest prefill_only = completed(100, 150, -1, 400, 0);
  REQUIRE(latency_ns(prefill_only, LatencyMetric::ttft) < 0);
  REQUIRE(latency_ns(prefill_only, LatencyMetric::e2e) == 300);

  LoggedRequest rejected;
  for (const auto metric :
       {LatencyMetric::ttft, LatencyMetric::tpot, LatencyMetric::e2e, LatencyMetric::queue}) {
    REQUIRE(latency_ns(rejected, metric) < 0);
  }
}

TEST_CASE("only completed requests of the pool asked for make its percentiles", "[unit]") {
  RequestLog log(2, 1000);
  std::vector<double> scratch;
  for (int i = 1; i <= 4; ++i) log.add(completed(0, 0, 10 * i, 10 * i, 1));
  LoggedRequest other = completed(0, 0, 1000, 1000, 1);
  other.pool = 1;
  log.add(other);
  LoggedRequest late = completed(0, 0, 9999, 9999, 1);
  late.status = RequestStatus::timed_out;
  log.add(late);
  const std::vector<double> half{0.5};
  REQUIRE(log.percentiles_ns(LatencyMetric::e2e, 0, half, scratch).front() == 25);
  REQUIRE(log.percentiles_ns(LatencyMetric::e2e, 1, half, scratch).front() == 1000);
  REQUIRE(log.percentiles_ns(LatencyMetric::e2e, RequestLog::kAllPools, half, scratch).front() ==
          30);
  REQUIRE(log.sums(LatencyMetric::e2e, 0).mean_ns() == 25);
  REQUIRE(log.sums(LatencyMetric::e2e, RequestLog::kAllPools).max_ns == 1000);
  REQUIRE(log.percentiles_ns(LatencyMetric::tpot, 0, half, scratch).empty());
}

TEST_CASE("crossing the threshold moves percentiles by no more than 0.1 % of the ranks",
          "[invariant]") {
  constexpr std::int64_t kThreshold = 10'000;
  constexpr int kRequests = 300'000;
  std::mt19937_64 random(21);
  RequestLog whole(1, 1'000'000), folding(1, kThreshold);
  std::vector<double> e2e, scratch;
  for (int i = 0; i < kRequests; ++i) {
    const double u = (static_cast<double>(random() >> 11) + 1) / 9007199254740993.0;
    const auto latency = static_cast<SimTime>(1e9 - 4e8 * std::log(u));
    const LoggedRequest request = completed(i, i + latency / 9, i + latency / 7, i + latency, 20);
    if (folding.full()) folding.fold();
    folding.add(request);
    whole.add(request);
    e2e.push_back(static_cast<double>(latency));
  }
  REQUIRE(folding.folded());
  REQUIRE_FALSE(whole.folded());
  std::sort(e2e.begin(), e2e.end());
  const std::vector<double> asked{0.01, 0.5, 0.9, 0.95, 0.99, 0.999};
  const auto sketched =
      folding.percentiles_ns(LatencyMetric::e2e, RequestLog::kAllPools, asked, scratch);
  const auto exact = whole.percentiles_ns(LatencyMetric::e2e, 0, asked, scratch);
  bool any_differs = false;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const auto rank =
        static_cast<double>(std::lower_bound(e2e.begin(), e2e.end(), sketched[i]) - e2e.begin());
    REQUIRE(std::abs(rank - asked[i] * (kRequests - 1)) <= 0.001 * kRequests + 1);
    any_differs = any_differs || sketched[i] != exact[i];
  }
  REQUIRE(any_differs);  // the sketch really answered
  // Counts, means and maxima are exact on both sides.
  const LatencySums a = folding.sums(LatencyMetric::tpot, 0),
                    b = whole.sums(LatencyMetric::tpot, 0);
  REQUIRE(a.count == b.count);
  REQUIRE(a.sum == b.sum);
  REQUIRE(a.max_ns == b.max_ns);
}

TEST_CASE("a kept request takes at most 64 bytes with the scratch, and a folded log stays flat",
          "[unit]") {
  REQUIRE(sizeof(LoggedRequest) + sizeof(double) <= 64);
  constexpr std::int64_t kRequests = 400'000;
  RequestLog log(1, kRequests);
  std::vector<double> scratch;
  for (std::int64_t i = 0; i < kRequests; ++i) log.add(completed(i, i, i + 7, i + 90 + i % 100, 9));
  const std::vector<double> asked{0.5};
  log.percentiles_ns(LatencyMetric::e2e, 0, asked, scratch);
  const auto scratch_bytes = static_cast<std::int64_t>(scratch.capacity() * sizeof(double));
  REQUIRE(log.bytes() + scratch_bytes <= 64 * kRequests);

  REQUIRE(log.full());
  REQUIRE_THROWS_AS(log.add(completed(0, 0, 1, 2, 2)), InternalError);
  log.fold();
  const auto pass = [&] {
    for (std::int64_t i = 0; i < kRequests; ++i) log.add(completed(i, i, i + 7, i + 90, 9));
    return log.bytes();
  };
  const std::int64_t after_two = pass();
  pass();
  const std::int64_t after_four = pass();
  REQUIRE(after_two < 4 * 2'000'000);
  // Doubling the count adds at most one level of 128 KiB to each of four sketches.
  REQUIRE(after_four - after_two <= 4 * 2 * 16384 * 8);
}

}  // namespace
}  // namespace fleetsim
