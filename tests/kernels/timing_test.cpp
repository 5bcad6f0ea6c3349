// Timing by hand: quantiles, runs in a replay, when samples are enough, what a noisy point costs.

#include "kernels/measure/timing.h"

#include <cmath>
#include <vector>

#include "hw_models/check.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

/// A point whose run takes `run_ns`, and whose replay takes `around_ns` besides; notes what is
/// done with it.
struct FakePoint {
  double run_ns = 1000, around_ns = 0;
  double first_ns = 0;         // what the very first replay takes besides
  std::vector<double> factor;  // of replay i; 1 behind the end
  int runs = 0, prepared = 0, replayed = 0;
  double total_ns = 0;

  Replays replays(int copies = 1, int operations = 1) {
    return {[this](int wanted) { runs = wanted, ++prepared; },
            [this] {
              const auto i = static_cast<std::size_t>(replayed++);
              const double ns = (run_ns * runs + around_ns) * (i < factor.size() ? factor[i] : 1) +
                                (i == 0 ? first_ns : 0);
              total_ns += ns;
              return ns;
            },
            copies, operations};
  }
};

}  // namespace

TEST_CASE("quantiles lie on the line between order statistics", "[kernels][timing]") {
  const std::vector<double> five{10, 20, 30, 40, 50};
  REQUIRE(quantile(five, 0) == 10);
  REQUIRE(quantile(five, 1) == 50);
  REQUIRE(quantile(five, 0.5) == 30);
  REQUIRE(quantile(five, 0.1) == Approx(14));  // place 0.4: 10 + 0.4 * 10
  REQUIRE(quantile(five, 0.9) == Approx(46));
  REQUIRE(quantile({7}, 0.9) == 7);
  REQUIRE_THROWS_AS(quantile({}, 0.5), fleetsim::InternalError);
}

TEST_CASE("a timing holds whole nanoseconds and the spread", "[kernels][timing]") {
  const Timing timing = timing_of({50, 10.4, 20, 40, 30.6}, 8);  // any order
  REQUIRE(timing.median_ns == 31);
  REQUIRE(timing.p10_ns == 14);  // 10.4 + 0.4 * 9.6 = 14.24
  REQUIRE(timing.p90_ns == 46);
  REQUIRE(timing.samples == 5);
  REQUIRE(timing.runs == 8);
  REQUIRE(timing.noise() == Approx(32.0 / 31));
  REQUIRE_THROWS_AS(timing_of({0.3, 0.2}, 1), fleetsim::InternalError);
}

TEST_CASE("a replay lasts 200 us in whole rotations of the operands", "[kernels][timing]") {
  const TimingRule rule;
  REQUIRE(runs_per_replay(2000, 1, rule) == 100);
  REQUIRE(runs_per_replay(2001, 1, rule) == 100);
  REQUIRE(runs_per_replay(1999, 1, rule) == 101);
  REQUIRE(runs_per_replay(2000, 7, rule) == 105);         // the next multiple of 7
  REQUIRE(runs_per_replay(300'000, 5, rule) == 5);        // one run would last, one rotation is due
  REQUIRE(runs_per_replay(30'000'000, 5, rule) == 1);     // 150 ms a rotation: too long to insist
  REQUIRE(runs_per_replay(1, 1, rule) == rule.runs_max);  // a graph has only so many nodes
  REQUIRE(runs_per_replay(1, 3, rule) == rule.runs_max);  // 2049 would be whole rotations
}

TEST_CASE("samples are enough after 20 or 30 ms, never below 5 unless half a second is gone",
          "[kernels][timing]") {
  const TimingRule rule;
  const double ms = 1e6;
  REQUIRE_FALSE(enough_samples(0, 0, 900 * ms, rule));  // something must be reported
  REQUIRE_FALSE(enough_samples(19, 4 * ms, 5 * ms, rule));
  REQUIRE(enough_samples(20, 4 * ms, 5 * ms, rule));
  REQUIRE_FALSE(enough_samples(4, 40 * ms, 50 * ms, rule));
  REQUIRE(enough_samples(5, 40 * ms, 50 * ms, rule));
  REQUIRE_FALSE(enough_samples(5, 29 * ms, 50 * ms, rule));
  REQUIRE(enough_samples(1, 400 * ms, 500 * ms, rule));
}

TEST_CASE("a quiet point is measured once and comes out as it is", "[kernels][timing]") {
  FakePoint point;
  point.run_ns = 3000;
  point.around_ns = 5000;       // events and the graph's start
  point.first_ns = 80'000'000;  // loading code
  const Timing timing = time_replays(point.replays(4));
  // a lone run looks like 8 us: 25 -> 28 runs; these last 89 us, 3.18 us a run: 63 -> 64; these
  // last 197 us: 65 -> 68 runs, 209 us
  REQUIRE(timing.runs == 68);
  REQUIRE(point.prepared == 4);
  REQUIRE(timing.samples == 20);
  REQUIRE(timing.median_ns == std::llround(3000 + 5000.0 / 68));
  REQUIRE(timing.noise() == 0);
  REQUIRE(point.replayed == 5 + 3 + 20);  // sizes and the very first, warm-ups, samples
}

TEST_CASE("a launch of many operations is reported as one of them", "[kernels][timing]") {
  FakePoint point;
  point.run_ns = 250'000;
  REQUIRE(time_replays(point.replays(1, 100)).median_ns == 2500);
}

TEST_CASE("a slow point stops at half a second with what it has", "[kernels][timing]") {
  FakePoint point;
  point.run_ns = 160e6;
  const Timing timing = time_replays(point.replays());
  REQUIRE(timing.samples >= 1);
  REQUIRE(timing.median_ns == 160'000'000);
  REQUIRE(point.total_ns <= 500e6 + 160e6);
}

TEST_CASE("a noisy point is measured once more and the quieter pass is kept", "[kernels][timing]") {
  FakePoint once;
  once.run_ns = 250'000;
  once.factor.assign(2 + 3 + 20, 1.0);  // the first pass: sizing, warm-ups, samples
  for (std::size_t i = 5; i < 25; i += 3) once.factor[i] = 1.2;
  const Timing healed = time_replays(once.replays());
  REQUIRE(once.replayed == 50);
  REQUIRE(healed.noise() == 0);
  REQUIRE(healed.median_ns == 250'000);

  FakePoint always;
  always.run_ns = 250'000;
  for (int i = 0; i < 200; ++i) always.factor.push_back(i % 3 == 0 ? 1.2 : 1.0);
  const Timing noisy = time_replays(always.replays());
  REQUIRE(always.replayed == 50);  // not a third time
  REQUIRE(noisy.noise() > 0.05);
}
