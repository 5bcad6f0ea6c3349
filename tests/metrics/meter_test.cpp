// The meter by hand, against brute force, and fed in different orders.

#include "sim/metrics/meter.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/catch.h"

namespace fleetsim {
namespace {

BatchShape decode_shape(std::int64_t requests, std::int64_t context) {
  BatchShape shape;
  shape.tokens = shape.sampled_rows = shape.decode_requests = requests;
  shape.decode_context = shape.decode_window_context = context;
  return shape;
}

TEST_CASE("an iteration is split over intervals and clipped to the window to the nanosecond",
          "[unit]") {
  // Window [100, 250), intervals of 100 ns. One iteration over [90, 130), one over [195, 305).
  PoolMeter meter({100, 250, 100}, 2, 64);
  meter.on_iteration(0, decode_shape(3, 30), 90, 40, 7);
  meter.on_iteration(1, decode_shape(2, 50), 195, 110, 5);

  const IterationTotals& totals = meter.totals();
  REQUIRE(totals.iterations == 1);  // the first starts in the warm-up
  REQUIRE(totals.shape.tokens == 2);
  REQUIRE(totals.shape.decode_context == 50);
  REQUIRE(totals.started == 110);
  REQUIRE(totals.busy == 30 + 55);  // [100, 130) and [195, 250)
  REQUIRE(totals.kv_block_nanoseconds == 30 * 7 + 55 * 5);
  REQUIRE(meter.kv_peak().blocks == 5);
  REQUIRE(meter.kv_peak().replica == 1);

  const auto bins = meter.intervals(305);
  REQUIRE(bins.size() == 4);
  REQUIRE(bins[0].busy == 10);
  REQUIRE(bins[1].busy == 30 + 5);
  REQUIRE(bins[2].busy == 100);
  REQUIRE(bins[3].busy == 5);
  REQUIRE(bins[1].kv_block_nanoseconds == 30 * 7 + 5 * 5);
  REQUIRE(bins[0].iterations == 1);
  REQUIRE(bins[1].iterations == 1);
}

TEST_CASE("an iteration that covers the whole window keeps it busy all the time", "[unit]") {
  PoolMeter meter({100, 250, 1000}, 1, 64);
  meter.on_iteration(0, decode_shape(1, 1), 0, 400, 3);
  REQUIRE(meter.totals().busy == 150);
  REQUIRE(meter.totals().kv_block_nanoseconds == 450);
  REQUIRE(meter.totals().iterations == 0);
}

TEST_CASE("gaps, tokens and preemptions count only inside the window, intervals always", "[unit]") {
  PoolMeter meter({100, 200, 100}, 1, 64);
  for (const SimTime at : {50, 100, 199, 200}) {
    meter.on_gaps(at, 2, at);
    meter.on_output_tokens(3, at);
    meter.on_preemption(at);
    meter.on_arrival(at);
    meter.on_completed(at);
  }
  REQUIRE(meter.gaps().count() == 4);
  REQUIRE(meter.gaps().min() == 100);
  REQUIRE(meter.totals().output_tokens == 6);
  REQUIRE(meter.totals().preemptions == 2);
  const auto bins = meter.intervals(201);
  REQUIRE(bins.size() == 3);
  REQUIRE(bins[1].output_tokens == 6);
  REQUIRE(bins[2].arrivals == 1);
  REQUIRE(bins[0].completed == 1);
}

TEST_CASE("prefill tokens are what an iteration computes beyond one a decode", "[unit]") {
  PoolMeter meter({0, kNever, 100}, 1, 64);
  BatchShape shape = decode_shape(4, 400);
  shape.tokens += 20;
  shape.prefill_requests = 2;
  shape.sampled_rows += 1;
  meter.on_iteration(0, shape, 10, 5, 1);
  REQUIRE(meter.intervals(100).front().prompt_tokens == 20);
  REQUIRE(meter.totals().shape.prefill_requests == 2);
  REQUIRE(meter.iterations_by_tokens()[24] == 1);
  REQUIRE(meter.iterations_by_rows()[5] == 1);
}

TEST_CASE("long waits add up to the brute-force integral in every interval", "[invariant]") {
  std::mt19937_64 random(7);
  PoolMeter meter({0, kNever, 97}, 1, 64);
  std::vector<Wide> waiting(40), running(40);
  for (int i = 0; i < 500; ++i) {
    const auto from = static_cast<SimTime>(random() % 3000);
    const auto to = from + static_cast<SimTime>(random() % (i % 2 == 0 ? 800 : 50));
    const bool waits = random() % 2 == 0;
    waits ? meter.on_waited(from, to) : meter.on_ran(from, to);
    for (SimTime at = from; at < to; ++at) {
      (waits ? waiting : running)[static_cast<std::size_t>(at / 97)] += 1;
    }
  }
  const auto bins = meter.intervals(97 * 40);
  REQUIRE(bins.size() == 40);
  for (std::size_t i = 0; i < bins.size(); ++i) {
    REQUIRE(bins[i].waiting == waiting[i]);
    REQUIRE(bins[i].running == running[i]);
  }
}

TEST_CASE("the KV peak goes to the earliest iteration, then the lowest replica", "[unit]") {
  const auto peak_replica = [](bool reversed) {
    struct Fed {
      std::int32_t replica;
      SimTime start;
    };
    std::vector<Fed> fed{{3, 50}, {2, 40}, {1, 40}, {0, 60}};
    if (reversed) std::reverse(fed.begin(), fed.end());
    PoolMeter meter({0, kNever, 1000}, 4, 64);
    for (const Fed& f : fed) meter.on_iteration(f.replica, decode_shape(1, 1), f.start, 5, 9);
    return meter.kv_peak().replica;
  };
  REQUIRE(peak_replica(false) == 1);
  REQUIRE(peak_replica(true) == 1);
}

bool same(const MeterInterval& a, const MeterInterval& b) {
  return a.arrivals == b.arrivals && a.completed == b.completed &&
         a.output_tokens == b.output_tokens && a.iterations == b.iterations &&
         a.prompt_tokens == b.prompt_tokens && a.busy == b.busy &&
         a.kv_block_nanoseconds == b.kv_block_nanoseconds && a.waiting == b.waiting &&
         a.running == b.running;
}

TEST_CASE("feeding order and grouping do not change anything that can be read", "[invariant]") {
  struct Event {
    std::int32_t replica;
    SimTime start, duration;
    std::int64_t requests, blocks;
  };
  std::mt19937_64 random(9);
  for (int round = 0; round < 20; ++round) {
    std::vector<Event> events;
    for (int i = 0; i < 400; ++i) {
      events.push_back(
          {static_cast<std::int32_t>(random() % 4), static_cast<SimTime>(random() % 10'000),
           1 + static_cast<SimTime>(random() % 900), 1 + static_cast<std::int64_t>(random() % 60),
           static_cast<std::int64_t>(random() % 50)});
    }
    PoolMeter step({500, 9000, 333}, 4, 64), ahead({500, 9000, 333}, 4, 64);
    const auto feed = [](PoolMeter& meter, const Event& e, bool grouped) {
      const SimTime end = e.start + e.duration;
      meter.on_iteration(e.replica, decode_shape(e.requests, 3 * e.requests), e.start, e.duration,
                         e.blocks);
      for (int i = 0; i < (grouped ? 1 : e.requests); ++i) {
        meter.on_gaps(e.duration, grouped ? e.requests : 1, end);
        meter.on_output_tokens(grouped ? e.requests : 1, end);
      }
      meter.on_waited(e.start / 2, e.start);
      // A running span reported whole or in two pieces.
      const SimTime middle = grouped ? end : e.start + e.duration / 2;
      meter.on_ran(e.start, middle);
      meter.on_ran(middle, end);
    };
    for (const Event& e : events) feed(step, e, false);
    std::shuffle(events.begin(), events.end(), random);
    std::stable_sort(events.begin(), events.end(),
                     [](const Event& a, const Event& b) { return a.replica < b.replica; });
    for (const Event& e : events) feed(ahead, e, true);

    const auto left = step.intervals(11'000), right = ahead.intervals(11'000);
    REQUIRE(left.size() == right.size());
    for (std::size_t i = 0; i < left.size(); ++i) REQUIRE(same(left[i], right[i]));
    REQUIRE(step.totals().busy == ahead.totals().busy);
    REQUIRE(step.totals().shape == ahead.totals().shape);
    REQUIRE(step.totals().output_tokens == ahead.totals().output_tokens);
    REQUIRE(step.totals().kv_block_nanoseconds == ahead.totals().kv_block_nanoseconds);
    REQUIRE(step.gaps().sum() == ahead.gaps().sum());
    REQUIRE(step.gaps().percentile(0.95) == ahead.gaps().percentile(0.95));
    REQUIRE(step.kv_peak().blocks == ahead.kv_peak().blocks);
    REQUIRE(step.kv_peak().at == ahead.kv_peak().at);
    REQUIRE(step.kv_peak().replica == ahead.kv_peak().replica);
    REQUIRE(step.iterations_by_tokens() == ahead.iterations_by_tokens());
  }
}

TEST_CASE("what the clock cannot hold is refused", "[unit]") {
  PoolMeter meter({0, kNever, 100}, 1, 8);
  REQUIRE_THROWS_AS(meter.on_iteration(0, decode_shape(9, 9), 0, 1, 0), InternalError);
  REQUIRE_THROWS_AS(meter.on_waited(10, 5), InternalError);
  REQUIRE_THROWS_AS(meter.on_arrival(-1), InternalError);
}

}  // namespace
}  // namespace fleetsim
