// The whole way from records and iterations to the Result, by hand.

#include "sim/metrics/collector.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "hw_models/gpu_spec.h"
#include "hw_models/model_spec.h"

#include "tests/catch.h"

namespace fleetsim {
namespace {

constexpr SimTime kSecond = kNanosecondsPerSecond;

CollectorSetup plain_setup() {
  CollectorSetup setup;
  PoolFacts pool;
  pool.name = "main";
  pool.replicas = 2;
  pool.gpus_per_replica = 4;
  pool.max_tokens = 64;
  setup.pools.push_back(pool);
  setup.window = {10 * kSecond, 20 * kSecond, kSecond};
  return setup;
}

RequestRecord completed(SimTime arrival, SimTime first, SimTime last, std::int32_t output = 11) {
  RequestRecord record;
  record.arrival = arrival;
  record.first_scheduled = arrival + kSecond / 10;
  record.first_token = first;
  record.last_token = last;
  record.prompt_tokens = 100;
  record.output_tokens = output;
  record.pool = 0;
  record.replica = 0;
  record.status = RequestStatus::completed;
  return record;
}

RequestRecord ended(SimTime arrival, RequestStatus status) {
  RequestRecord record;
  record.arrival = arrival;
  record.prompt_tokens = 50;
  record.status = status;
  return record;
}

TEST_CASE("statistics cover arrivals of the window; throughput covers what happens in it",
          "[unit]") {
  Collector collector(plain_setup());
  collector.on_request(
      completed(9 * kSecond, 9 * kSecond + 1, 12 * kSecond));  // warm-up, ends inside
  collector.on_request(completed(10 * kSecond, 11 * kSecond, 12 * kSecond));  // inside
  collector.on_request(completed(19 * kSecond, 21 * kSecond, 25 * kSecond));  // ends in the drain
  collector.on_request(completed(20 * kSecond, 21 * kSecond, 22 * kSecond));  // arrives after
  PoolMeter& meter = collector.meter(0);
  meter.on_output_tokens(100, 9 * kSecond);
  meter.on_output_tokens(40, 15 * kSecond);
  meter.on_output_tokens(100, 20 * kSecond);
  const Summary summary = collector.finish(30 * kSecond).summary;

  REQUIRE(summary.requests.arrived == 2);
  REQUIRE(summary.requests.completed == 2);
  REQUIRE(summary.latency.e2e->count == 2);
  REQUIRE(summary.latency.e2e->mean == Approx(4.0).epsilon(1e-12));  // 2 s and 6 s
  REQUIRE(summary.latency.e2e->p50 == Approx(4.0).epsilon(1e-12));
  REQUIRE(summary.latency.e2e->p90 == Approx(5.6).epsilon(1e-12));
  REQUIRE(summary.latency.e2e->max == 6);
  REQUIRE(summary.latency.ttft->mean == Approx(1.5).epsilon(1e-12));
  REQUIRE(summary.latency.tpot->max == Approx(0.4).epsilon(1e-12));  // 4 s over 10 gaps
  REQUIRE(summary.latency.queue->p50 == Approx(0.1).epsilon(1e-12));
  REQUIRE_FALSE(summary.latency.itl.has_value());
  // Two ended inside; one first token inside the window (the warm-up's came before it).
  REQUIRE(summary.throughput.requests_per_s == Approx(0.2).epsilon(1e-12));
  REQUIRE(summary.throughput.output_tokens_per_s == Approx(4.0).epsilon(1e-12));
  REQUIRE(summary.throughput.total_tokens_per_s == Approx(14.0).epsilon(1e-12));
  REQUIRE(summary.throughput.output_tokens_per_s_per_gpu == Approx(0.5).epsilon(1e-12));
  REQUIRE(summary.tokens.prompt == 200);
  REQUIRE(summary.tokens.output == 22);
  REQUIRE(summary.realised_prompt_mean == 100);
  REQUIRE(summary.realised_output_p95 == 11);
}

TEST_CASE("every status is counted once, and hits of the response cache have no latency",
          "[unit]") {
  CollectorSetup setup = plain_setup();
  setup.slo = Slo{};
  setup.slo->e2e = kSecond;
  Collector collector(std::move(setup));
  RequestRecord hit = ended(11 * kSecond, RequestStatus::cache_hit);
  hit.last_token = 11 * kSecond + 20'000'000;
  hit.output_tokens = 30;
  collector.on_request(hit);
  for (const auto status : {RequestStatus::rejected, RequestStatus::timed_out, RequestStatus::lost,
                            RequestStatus::unfinished}) {
    collector.on_request(ended(12 * kSecond, status));
  }
  collector.on_request(completed(13 * kSecond, 13 * kSecond + 5, 13 * kSecond + 10));
  const Summary summary = collector.finish(30 * kSecond).summary;
  REQUIRE(summary.requests.arrived == 6);
  REQUIRE(summary.requests.completed == 1);
  REQUIRE(summary.requests.cache_hits == 1);
  REQUIRE(summary.requests.rejected == 1);
  REQUIRE(summary.requests.timed_out == 1);
  REQUIRE(summary.requests.lost == 1);
  REQUIRE(summary.requests.unfinished == 1);
  REQUIRE(summary.latency.e2e->count == 1);
  REQUIRE(summary.tokens.output == 11);
  REQUIRE(summary.slo.at(0).attainment == Approx(0.2).epsilon(1e-12));  // 1 of 5
  REQUIRE_FALSE(summary.slo_met());
  REQUIRE(*summary.throughput.goodput_requests_per_s == Approx(0.1).epsilon(1e-12));
  // The pool saw the completed one only.
  REQUIRE(summary.pools.at(0).requests.arrived == 1);
}

TEST_CASE("sections that do not apply are absent", "[unit]") {
  Collector collector(plain_setup());
  const Result result = collector.finish(0);
  const Summary& summary = result.summary;
  REQUIRE_FALSE(summary.latency.ttft.has_value());
  REQUIRE_FALSE(summary.latency.e2e.has_value());
  REQUIRE_FALSE(summary.cache.has_value());
  REQUIRE_FALSE(summary.cost.has_value());
  REQUIRE_FALSE(summary.time_breakdown.has_value());
  REQUIRE_FALSE(summary.fleet.mfu.has_value());
  REQUIRE_FALSE(summary.memory.has_value());
  REQUIRE_FALSE(summary.throughput.goodput_requests_per_s.has_value());
  REQUIRE(summary.slo.empty());
  REQUIRE(summary.slo_met());
  REQUIRE(result.curves.empty());
  REQUIRE(result.timeseries.empty());
}

TEST_CASE("classes with limits of their own are judged apart from the scenario's", "[unit]") {
  CollectorSetup setup = plain_setup();
  setup.slo = Slo{};
  setup.slo->e2e = 3 * kSecond;
  Slo strict;
  strict.e2e = kSecond;
  setup.classes = {{"chat", {}}, {"voice", strict}};
  Collector collector(std::move(setup));
  for (std::uint16_t index = 0; index < 2; ++index) {
    RequestRecord record = completed(11 * kSecond, 12 * kSecond, 13 * kSecond);
    record.class_index = index;
    collector.on_request(record);
  }
  const Summary summary = collector.finish(20 * kSecond).summary;
  REQUIRE(summary.slo.size() == 2);
  REQUIRE(summary.slo[0].class_name.empty());
  REQUIRE(summary.slo[0].met);
  REQUIRE(summary.slo[1].class_name == "voice");
  REQUIRE_FALSE(summary.slo[1].met);
  REQUIRE(*summary.throughput.goodput_requests_per_s == Approx(0.1).epsilon(1e-12));
}

TEST_CASE("fleet, cost and cache follow from the window's iterations and records", "[unit]") {
  CollectorSetup setup = plain_setup();
  setup.pools[0].usd_per_gpu_hour = 2.5;
  setup.pools[0].prefix_caching = true;
  setup.pools[0].kv_blocks_total = 100;
  Collector collector(std::move(setup));
  BatchShape shape;
  shape.tokens = shape.decode_requests = shape.sampled_rows = 3;
  PoolMeter& meter = collector.meter(0);
  meter.on_iteration(1, shape, 12 * kSecond, 4 * kSecond, 30);
  shape.decode_requests = 2;
  shape.prefill_requests = 2;
  shape.tokens = 10;
  meter.on_iteration(0, shape, 19 * kSecond, 4 * kSecond, 10);  // 1 s of it inside
  meter.on_preemption(15 * kSecond);
  meter.on_gaps(kSecond / 50, 10, 15 * kSecond);
  RequestRecord record = completed(11 * kSecond, 12 * kSecond, 13 * kSecond);
  record.cached_tokens = 25;
  collector.on_request(record);
  meter.on_output_tokens(1000, 14 * kSecond);
  const Result result = collector.finish(24 * kSecond);
  const Summary& summary = result.summary;

  REQUIRE(summary.fleet.gpus == 8);
  REQUIRE(summary.fleet.gpu_hours == Approx(80.0 / 3600).epsilon(1e-12));
  REQUIRE(summary.fleet.iterations == 2);
  REQUIRE(summary.fleet.batch_mean == 3.5);
  REQUIRE(summary.fleet.preemptions == 1);
  REQUIRE(summary.fleet.busy == Approx(5.0 / 20).epsilon(1e-12));
  REQUIRE(summary.fleet.kv_blocks_mean == Approx((4 * 30 + 10) / 20.0).epsilon(1e-12));
  REQUIRE(summary.fleet.kv_blocks_peak == 30);
  REQUIRE(summary.fleet.kv_blocks_peak_replica == 1);
  REQUIRE(summary.fleet.kv_blocks_total == 100);
  REQUIRE(summary.cost->usd_per_hour == 20);
  // 0.1 requests/s and 100 tokens/s for 20 USD an hour.
  REQUIRE(summary.cost->usd_per_request == Approx(20 / 360.0).epsilon(1e-12));
  REQUIRE(summary.cost->usd_per_million_output_tokens == Approx(20 / 0.36).epsilon(1e-12));
  REQUIRE(summary.cache->prefix_hit_rate == 0.25);
  REQUIRE(summary.latency.itl->p99 == Approx(0.02).epsilon(1e-12));
  REQUIRE(summary.latency.itl->count == 10);

  REQUIRE(result.timeseries.size() == 24);
  REQUIRE(result.timeseries[12].busy == Approx(0.5).epsilon(1e-12));
  REQUIRE(result.timeseries[12].kv_blocks_used == Approx(15.0).epsilon(1e-12));
  REQUIRE(result.timeseries[22].busy == Approx(0.5).epsilon(1e-12));
  REQUIRE(result.timeseries[19].prompt_tokens == 8);
  REQUIRE(result.curves.size() == 5);
  for (const LatencyCurve& curve : result.curves) {
    REQUIRE(curve.probability.size() == 203);
    REQUIRE(curve.seconds.size() == 203);
    REQUIRE(std::is_sorted(curve.seconds.begin(), curve.seconds.end()));
  }
}

TEST_CASE("the front end's share is its fixed time over each request's own", "[unit]") {
  CollectorSetup setup = plain_setup();
  setup.frontend.network = kSecond / 20;
  setup.frontend.tokenize_base = kSecond / 10;
  setup.frontend.tokenize_per_token = 1'000'000;
  Collector collector(std::move(setup));
  // 0.1 + 0.1 + 100 x 1 ms = 0.3 s of 1 s and of 3 s.
  collector.on_request(completed(11 * kSecond, 12 * kSecond, 12 * kSecond));
  collector.on_request(completed(11 * kSecond, 12 * kSecond, 14 * kSecond));
  REQUIRE(collector.finish(20 * kSecond).summary.frontend_share == Approx(0.2).epsilon(1e-9));
}

TEST_CASE("an open-ended run is measured to its end, a stopped one to where it stopped", "[unit]") {
  for (const bool open_ended : {true, false}) {
    CollectorSetup setup = plain_setup();
    setup.window.to = open_ended ? kNever : 20 * kSecond;
    Collector collector(std::move(setup));
    collector.on_request(completed(11 * kSecond, 12 * kSecond, 13 * kSecond));
    const Summary summary = collector.finish(15 * kSecond, true).summary;
    REQUIRE(summary.throughput.requests_per_s == Approx(1.0 / 5).epsilon(1e-12));
    REQUIRE(summary.stopped_early);
  }
}

TEST_CASE("a warm-up longer than the run leaves nothing to measure and breaks nothing", "[unit]") {
  CollectorSetup setup = plain_setup();
  setup.window = {100 * kSecond, 20 * kSecond, kSecond};
  Collector collector(std::move(setup));
  collector.on_request(completed(11 * kSecond, 12 * kSecond, 13 * kSecond));
  collector.meter(0).on_iteration(0, {1, 1, 1, 5, 5, 0, 0, 0, 0}, 11 * kSecond, kSecond, 3);
  const Summary summary = collector.finish(25 * kSecond).summary;
  REQUIRE(summary.requests.arrived == 0);
  REQUIRE(summary.throughput.requests_per_s == 0);
  REQUIRE_FALSE(summary.latency.e2e.has_value());
}

TEST_CASE("a fixed cost model has no breakdown, MFU or MBU", "[unit]") {
  const StepTime fixed = StepTime::linear({0.01}, {0}, {0});
  CollectorSetup setup = plain_setup();
  setup.pools[0].step_time = &fixed;
  setup.pools[0].peak = {1e15};
  setup.pools[0].memory_bandwidth = {3e12};
  Collector collector(std::move(setup));
  const Summary summary = collector.finish(20 * kSecond).summary;
  REQUIRE_FALSE(summary.time_breakdown.has_value());
  REQUIRE_FALSE(summary.fleet.mfu.has_value());
  REQUIRE_FALSE(summary.fleet.mbu.has_value());
  REQUIRE(summary.pools[0].cost_model == "fixed");
}

BatchShape random_shape(std::mt19937_64& random, std::int64_t window) {
  BatchShape shape;
  shape.decode_requests = static_cast<std::int64_t>(random() % 64);
  for (std::int64_t i = 0; i < shape.decode_requests; ++i) {
    const auto context = 1 + static_cast<std::int64_t>(random() % 4000);
    shape.decode_context += context;
    shape.decode_window_context += window > 0 ? std::min(context, window) : context;
  }
  shape.sampled_rows = shape.tokens = shape.decode_requests;
  if (random() % 3 == 0 || shape.tokens == 0) {
    const auto queries = 1 + static_cast<std::int64_t>(random() % 1500);
    shape.tokens += queries;
    shape.prefill_requests = 1;
    shape.prefill_context = queries + static_cast<std::int64_t>(random() % 1000);
    shape.prefill_pairs = queries * (shape.prefill_context - queries) + queries * (queries + 1) / 2;
    shape.prefill_window_pairs =
        window > 0 ? std::min(shape.prefill_pairs, queries * window) : shape.prefill_pairs;
    shape.sampled_rows += static_cast<std::int64_t>(random() % 2);
  }
  return shape;
}

/// Feeds random iterations priced by hardware and compares sums over counters with sums over
/// iterations.
void check_hardware_sums(const char* model_name, bool async, double tolerance) {
  const ModelSpec* model = find_model(model_name);
  const GpuSpec* gpu = find_gpu("h100-sxm");
  REQUIRE(model != nullptr);
  REQUIRE(gpu != nullptr);
  LaunchRules rules;
  rules.async_scheduling = async;
  rules.capture_sizes = {1, 2, 4, 8, 16, 32, 64};
  const StepTime price(*model, *gpu, Precision{}, 1, rules, 2048);

  CollectorSetup setup = plain_setup();
  setup.pools[0].replicas = 1;
  setup.pools[0].gpus_per_replica = 1;
  setup.pools[0].max_tokens = 2048;
  setup.pools[0].step_time = &price;
  setup.pools[0].peak = {989.4e12};
  setup.pools[0].memory_bandwidth = {3.35e12};
  setup.window = {0, 100 * kSecond, kSecond};
  Collector collector(std::move(setup));

  std::mt19937_64 random(17);
  std::array<double, kCostGroups> groups{};
  double flops = 0, bytes = 0, busy = 0;
  SimTime now = 0;
  for (int i = 0; i < 1000; ++i) {
    const BatchShape shape = random_shape(random, price.window());
    const Price cost = price.price(shape);
    const SimTime duration = to_sim_time(cost.total);
    collector.meter(0).on_iteration(0, shape, now, duration, 1, to_sim_time(cost.host_overhead));
    now += duration;
    busy += to_seconds(duration).value;
    flops += price.useful_flops(shape).value;
    bytes += price.minimum_bytes(shape);
    for (const OperatorCost& op : price.explain(shape)) {
      groups[static_cast<std::size_t>(op.group)] += op.time.value;
    }
  }
  REQUIRE(now < 100 * kSecond);
  const Summary summary = collector.finish(100 * kSecond).summary;
  REQUIRE(*summary.fleet.mfu == Approx(flops / 989.4e12 / 100).epsilon(1e-9));
  REQUIRE(*summary.fleet.mbu == Approx(bytes / 3.35e12 / 100).epsilon(tolerance));
  REQUIRE(summary.time_breakdown.has_value());
  const auto& fractions = summary.time_breakdown->groups;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    REQUIRE(fractions[g] == Approx(groups[g] / 100).epsilon(1e-6).margin(1e-9));
  }
  REQUIRE(fractions[static_cast<std::size_t>(CostGroup::attention)] > 0);
  REQUIRE(summary.time_breakdown->idle == Approx(1 - busy / 100).epsilon(1e-9));
  const double sum =
      std::accumulate(fractions.begin(), fractions.end(), summary.time_breakdown->idle);
  REQUIRE(sum == Approx(1).epsilon(1e-12));
}

TEST_CASE("time, FLOPs and bytes from counters equal the sums over all iterations", "[invariant]") {
  check_hardware_sums("llama-3.1-8b", true, 1e-9);
  check_hardware_sums("qwen3-14b", false, 1e-9);
  check_hardware_sums("qwen3-30b-a3b", true, 1e-9);
}

TEST_CASE("with a sliding window the summed bytes are at most 1 % above the true sum",
          "[invariant]") {
  check_hardware_sums("gpt-oss-20b", true, 0.01);
}

TEST_CASE("crossing the log's threshold changes a summary only within the stated errors",
          "[invariant]") {
  const auto run = [](std::int64_t threshold) {
    CollectorSetup setup = plain_setup();
    setup.pools.push_back(setup.pools.front());
    setup.window = {10 * kSecond, 310 * kSecond, kSecond};
    setup.slo = Slo{};
    setup.slo->e2e = 3 * kSecond;
    setup.slo->ttft = kSecond;
    setup.log_threshold = threshold;
    Collector collector(std::move(setup));
    std::mt19937_64 random(99);
    for (int i = 0; i < 100'000; ++i) {
      const SimTime arrival = 10 * kSecond + 3'000'000 * static_cast<SimTime>(i);
      const auto first = arrival + static_cast<SimTime>(random() % 1'000'000'000);
      const auto last = first + static_cast<SimTime>(
                                    random() % (2'000'000'000 + 10'000 * static_cast<unsigned>(i)));
      RequestRecord record = completed(arrival, first, last);
      record.pool = static_cast<std::int16_t>(i % 2);
      if (i % 100 == 7) record = ended(arrival, RequestStatus::timed_out);
      collector.on_request(record);
    }
    return collector.finish(330 * kSecond).summary;
  };
  const Summary exact = run(1'000'000), folded = run(10'000);
  REQUIRE_FALSE(exact.latency_from_sketch);
  REQUIRE(folded.latency_from_sketch);
  REQUIRE(folded.requests.completed == exact.requests.completed);
  REQUIRE(folded.latency.e2e->mean == exact.latency.e2e->mean);
  REQUIRE(folded.latency.e2e->max == exact.latency.e2e->max);
  // 0.1 % of the ranks of these nearly uniform laws is about 3 ms.
  REQUIRE(folded.latency.e2e->p95 == Approx(exact.latency.e2e->p95).margin(0.01));
  REQUIRE(folded.pools[1].latency.ttft->p50 ==
          Approx(exact.pools[1].latency.ttft->p50).margin(0.002));
  REQUIRE(folded.slo[0].attainment == exact.slo[0].attainment);
  REQUIRE(folded.slo[0].met == exact.slo[0].met);
  for (std::size_t i = 0; i < 2; ++i) {
    REQUIRE(folded.slo[0].limits[i].worst_window_start ==
            exact.slo[0].limits[i].worst_window_start);
    REQUIRE(folded.slo[0].limits[i].worst_s ==
            Approx(exact.slo[0].limits[i].worst_s).epsilon(1.0 / 1024));
  }
}

}  // namespace
}  // namespace fleetsim
