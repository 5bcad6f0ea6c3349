// When a run is called saturated: overload is, chance and decay are not.

#include "sim/metrics/saturation.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

#include "tests/catch.h"

namespace fleetsim {
namespace {

constexpr SimTime kSecond = kNanosecondsPerSecond;

struct Queue {
  std::vector<MeterInterval> intervals;
  std::vector<ArrivalInterval> arrivals;
};

/// A single server fed by a Poisson process at `load` of its rate of 100/s, exponential service;
/// customers leave the queue after `patience` seconds.
bool queue_is_saturated(double load, double seconds, std::uint64_t seed, double patience = 1e9) {
  std::mt19937_64 random(seed);
  const auto exponential = [&](double mean) {
    return -mean * std::log((static_cast<double>(random() >> 11) + 1) / 9007199254740993.0);
  };
  PoolMeter meter({0, kNever, kSecond}, 1, 8);
  std::vector<ArrivalInterval> arrivals;
  double now = 0, free_at = 0;
  while ((now += exponential(0.01 / load)) < seconds) {
    const auto at = static_cast<SimTime>(now * 1e9);
    arrivals.resize(static_cast<std::size_t>(at / kSecond) + 1);
    arrivals.back().arrivals += 1;
    const double wait = std::max(0.0, free_at - now);
    const bool gives_up = wait > patience;
    meter.on_waited(at, at + static_cast<SimTime>(std::min(wait, patience) * 1e9));
    arrivals.back().given_up += gives_up ? 1 : 0;
    if (!gives_up) free_at = std::max(now, free_at) + exponential(0.01);
  }
  const auto end = static_cast<SimTime>((std::max(now, free_at) + 1) * 1e9);
  return is_saturated(meter.intervals(end), arrivals, kSecond, 0,
                      static_cast<SimTime>(seconds * 1e9));
}

TEST_CASE("an overloaded queue is saturated, a stable one is not", "[queueing]") {
  int overloaded = 0, stable = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    overloaded += queue_is_saturated(1.2, 600, seed) ? 1 : 0;
    stable += queue_is_saturated(0.8, 600, seed) ? 1 : 0;
  }
  // Growth at 1.2: about 20 a second, 3000 a quarter, against 3 sqrt(18,000) = 400.
  REQUIRE(overloaded == 40);
  REQUIRE(stable == 0);
}

TEST_CASE("time-outs that cap the queue do not hide an overload", "[queueing]") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    REQUIRE(queue_is_saturated(1.3, 600, seed, 5));
    REQUIRE_FALSE(queue_is_saturated(0.7, 600, seed, 5));
  }
}

TEST_CASE("a backlog that shrinks, or that nobody adds to, is not saturation", "[unit]") {
  // Everything arrives at once and is worked off.
  std::vector<MeterInterval> intervals(100);
  std::vector<ArrivalInterval> arrivals(1);
  arrivals[0].arrivals = 100'000;
  for (std::size_t i = 0; i < 100; ++i) {
    intervals[i].waiting = static_cast<Wide>(1000 * (100 - i)) * kSecond;
  }
  REQUIRE_FALSE(is_saturated(intervals, arrivals, kSecond, 0, 100 * kSecond));
  std::reverse(intervals.begin(), intervals.end());
  REQUIRE_FALSE(is_saturated(intervals, arrivals, kSecond, 0, 100 * kSecond));
  arrivals.assign(100, {100, 0});
  REQUIRE(is_saturated(intervals, arrivals, kSecond, 0, 100 * kSecond));
  REQUIRE_FALSE(is_saturated(intervals, arrivals, kSecond, 0, 3));
  REQUIRE_FALSE(is_saturated({}, {}, kSecond, 0, 100 * kSecond));
}

}  // namespace
}  // namespace fleetsim
