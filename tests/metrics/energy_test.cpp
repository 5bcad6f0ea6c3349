// Energy by hand: idle GPUs draw, work adds, the intervals add up to the whole.

#include "sim/metrics/energy.h"

#include <cmath>

#include "hw_models/gpu_spec.h"
#include "hw_models/model_spec.h"
#include "sim/metrics/collector.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

constexpr SimTime kSecond = kNanosecondsPerSecond;

/// 100 W idle, 500 W at most, 1 J for 1e12 FLOP, 1 J for 1e10 bytes.
PowerLaw law() { return {100, 500, 1e-12, 1e-10}; }

FleetUsage usage(double gpus, double seconds, double busy_share, double flops, double bytes) {
  FleetUsage made;
  made.gpus = static_cast<std::int64_t>(gpus);
  made.replicas = made.gpus;
  made.gpu_seconds = gpus * seconds;
  made.busy_gpu_seconds = made.gpu_seconds * busy_share;
  made.flops = flops;
  made.bytes = bytes;
  return made;
}

CollectorSetup priced_setup(const StepTime& price, const PowerLaw& power) {
  CollectorSetup setup;
  PoolFacts pool;
  pool.name = "main";
  pool.replicas = 2;
  pool.max_tokens = 2048;
  pool.step_time = &price;
  pool.peak = {989e12};
  pool.memory_bandwidth = {3350e9};
  pool.power = power;
  setup.pools = {pool};
  setup.window = {0, 10 * kSecond, kSecond};
  return setup;
}

StepTime h100_price() {
  return StepTime(*find_model("llama-3.1-8b"), *find_gpu("h100"), Precision{}, 1, {}, 2048);
}

BatchShape decodes(std::int64_t requests, std::int64_t context) {
  BatchShape shape;
  shape.tokens = shape.sampled_rows = shape.decode_requests = requests;
  shape.decode_context = shape.decode_window_context = requests * context;
  return shape;
}

}  // namespace

TEST_CASE("GPUs without work draw their idle power all the time", "[unit]") {
  CHECK(*joules_of(law(), usage(4, 10, 0, 0, 0)) == 4 * 10 * 100);
}

TEST_CASE("work adds joules by FLOP and by byte, up to the limit of the busy time", "[unit]") {
  CHECK(*joules_of(law(), usage(2, 10, 0.5, 1e15, 2e13)) ==
        Approx(2 * 10 * 100 + 1000 + 2000).epsilon(1e-12));
  CHECK(*joules_of(law(), usage(1, 10, 0.25, 1e17, 0)) ==
        Approx(10 * 100 + 2.5 * 400).epsilon(1e-12));
}

TEST_CASE("energy is unknown without power figures, or without FLOPs and bytes", "[unit]") {
  CHECK_FALSE(joules_of(std::nullopt, usage(1, 1, 0, 0, 0)).has_value());
  FleetUsage unknown = usage(1, 1, 1, 0, 0);
  unknown.bytes.reset();
  CHECK_FALSE(joules_of(law(), unknown).has_value());
  CHECK_FALSE(energy_section(std::nullopt, usage(1, 1, 1, 0, 0), {}).has_value());
}

TEST_CASE("joules per token are power over tokens a second; none delivered is without end",
          "[unit]") {
  ThroughputSection throughput;
  throughput.output_tokens_per_s = 50;
  const EnergySection section = *energy_section(8000.0, usage(4, 10, 0, 0, 0), throughput);
  CHECK(section.watts_per_gpu == 200);
  CHECK(section.joules_per_output_token == 16);
  CHECK(std::isinf(section.joules_per_request));
}

TEST_CASE("the power of intervals adds up to the energy of the window they make", "[unit]") {
  const StepTime price = h100_price();
  Collector collector(priced_setup(price, law()));
  SimTime now = kSecond / 10;
  for (int i = 0; i < 400; ++i) {
    const BatchShape shape = decodes(1 + i % 40, 500 + 3 * i);
    const SimTime duration = to_sim_time(price.price(shape).total);
    collector.meter(0).on_iteration(i % 2, shape, now, duration, 31 * shape.decode_requests);
    collector.meter(0).on_output_tokens(shape.decode_requests, now + duration);
    now += duration;
  }
  REQUIRE(now < 10 * kSecond);
  const Result result = collector.finish(10 * kSecond);
  REQUIRE(result.summary.energy.has_value());
  double joules = 0, least = 1e9, most = 0;
  for (const TimeseriesPoint& point : result.timeseries) {
    REQUIRE(point.watts.has_value());
    joules += *point.watts * to_seconds(point.length).value;
    least = std::min(least, *point.watts);
    most = std::max(most, *point.watts);
  }
  CHECK(joules == Approx(result.summary.energy->joules).epsilon(1e-9));
  CHECK(joules == Approx(result.summary.pools[0].energy->joules).epsilon(1e-9));
  CHECK(least == 200);  // two idle GPUs
  CHECK(most > 250);
  CHECK(most <= 1000);
}

TEST_CASE("decoding a batch is cheaper a token than decoding one request", "[unit]") {
  const StepTime price = h100_price();
  const auto joules_per_token = [&](std::int64_t requests) {
    Collector collector(priced_setup(price, *power_law(*find_gpu("h100"), Precision{})));
    const BatchShape shape = decodes(requests, 1000);
    const SimTime duration = to_sim_time(price.price(shape).total);
    for (SimTime now = 0; now + duration < 10 * kSecond; now += duration) {
      for (std::int32_t replica : {0, 1}) {
        collector.meter(0).on_iteration(replica, shape, now, duration, 63 * requests);
        collector.meter(0).on_output_tokens(requests, now + duration);
      }
    }
    return collector.finish(10 * kSecond).summary.energy->joules_per_output_token;
  };
  const double one = joules_per_token(1), many = joules_per_token(64);
  INFO(one << " J and " << many << " J a token");
  CHECK(one > 1);
  CHECK(one < 10);
  CHECK(many < one / 15);
}
