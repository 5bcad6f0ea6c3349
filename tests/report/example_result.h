#pragma once
// A plausible run made by hand: 300 replicas under a sinusoidal load near their limit. Gives the
// writers and the page something to say without a simulation.

#include <algorithm>
#include <cmath>

#include "sim/report/report_data.h"

namespace fleetsim::example {

constexpr double kPi = 3.14159265358979323846;

inline Scenario scenario() {
  Scenario one;
  one.name = "chat-2k-rps";
  one.duration = 600 * kNanosecondsPerSecond;
  one.warmup = 60 * kNanosecondsPerSecond;
  one.workload.classes.push_back({});
  one.pools.push_back({});
  one.pools[0].gpu = "h100-sxm";
  one.pools[0].replicas = 300;
  one.router.policy = "least-outstanding";
  one.sha256 = "3f8a5f0c";
  return one;
}

inline Deployment deployment() {
  Deployment fleet;
  PoolDeployment pool;
  pool.name = "main";
  pool.gpu = find_gpu("h100-sxm");
  pool.model.name = "qwen3-14b";
  pool.model.title = "Qwen3 14B";
  pool.rules.scheduler = "vllm-v1";
  pool.rules.version = "2026-08";
  pool.rules.version_date = 20260801;
  pool.rules.num_gpu_blocks = 15'001;
  pool.replicas = 300;
  pool.usd_per_gpu_hour = 2.5;
  pool.priced = true;
  pool.step_time = std::make_shared<const StepTime>(StepTime::linear({5e-3}, {2e-5}, {3e-8}));
  pool.notes = {"Memory reported by the driver is taken as nominal for h100-sxm"};
  fleet.pools.push_back(std::move(pool));
  return fleet;
}

inline SloSection slo(double worst_s, double limit_s = 3) {
  SloSection section;
  section.attainment = worst_s <= limit_s ? 0.981 : 0.92;
  section.met = worst_s <= limit_s;
  section.limits.push_back(
      {"e2e", limit_s, worst_s, worst_s * 0.8, 150 * kNanosecondsPerSecond, 108'000, section.met});
  for (int minute = 1; minute < 10; ++minute) {
    const double load = 1 + 0.125 * std::sin(2 * kPi * (minute + 0.5) / 10);
    section.windows.push_back({60.0 * minute,
                               0.98,
                               static_cast<std::int64_t>(96'000 * load),
                               {std::isfinite(worst_s) ? worst_s * std::pow(load / 1.125, 4)
                                : minute == 2          ? worst_s
                                                       : 2.4}});
  }
  return section;
}

inline LatencySummary latency(double p50) {
  return {p50 * 1.1, p50, p50 * 1.8, p50 * 2.1, p50 * 2.9, p50 * 6, 864'000};
}

inline PoolSection pool_section(const Summary& whole) {
  PoolSection pool;
  pool.name = "main";
  pool.gpu = "h100-sxm";
  pool.model = "qwen3-14b";
  pool.cost_model = "roofline";
  pool.requests = whole.requests;
  pool.tokens = whole.tokens;
  pool.latency = whole.latency;
  pool.throughput = whole.throughput;
  pool.fleet = whole.fleet;
  pool.cost = whole.cost;
  pool.energy = whole.energy;
  pool.time_breakdown = whole.time_breakdown;
  pool.memory = whole.memory;
  return pool;
}

inline Result result() {
  Result run;
  Summary& summary = run.summary;
  summary.requests = {1'080'000, 860'311, 216'002, 0, 12, 0, 3'675};
  summary.tokens = {2'073'600'000, 0, 43'200'000};
  summary.latency = {latency(0.42), latency(0.021), latency(0.019), latency(1.31), latency(0.11)};
  summary.throughput = {1'599.4, 80'012.5, 3'919'400.0, 266.7, 1'569.0};
  summary.slo = {slo(2.913)};
  summary.fleet.gpus = 300;
  summary.fleet.replicas = 300;
  summary.fleet.iterations = 5'500'000;
  summary.fleet.gpu_hours = 45;
  summary.fleet.batch_mean = 7.9;
  summary.fleet.busy = 0.83;
  summary.fleet.mfu = 0.39;
  summary.fleet.mbu = 0.31;
  summary.fleet.kv_blocks_mean = 1'920.5;
  summary.fleet.kv_blocks_peak = 9'800;
  summary.fleet.kv_blocks_total = 15'000;
  summary.fleet.kv_blocks_peak_replica = 17;
  summary.cost = CostSection{750, 0.000130, 2.6};
  summary.energy = EnergySection{8.1e7, 1.69, 84.6, 500};
  summary.time_breakdown = TimeBreakdown{{0.58, 0.11, 0, 0.06, 0.08}, 0, 0.17};
  MemoryPlan memory;
  memory.total = {85'520'809'984};
  memory.weights = {29'540'000'000};
  memory.kv_cache = {41'000'000'000};
  memory.activations = {4'300'000'000};
  memory.cuda_graphs = {900'000'000};
  memory.non_torch = {1'100'000'000};
  memory.free = {8'680'809'984};
  summary.memory = memory;
  summary.realised_prompt_mean = 2'391.2;
  summary.realised_prompt_p95 = 5'978;
  summary.realised_output_mean = 49.7;
  summary.realised_output_p95 = 99;
  summary.pools = {pool_section(summary)};
  for (int i = 0; i < 302; ++i) {
    const double t = 2.0 * i;
    const double load = t < 600 ? 1 + 0.125 * std::sin(2 * kPi * t / 600) : 0;
    const double wobble = 1 + 0.02 * std::sin(i * 12.9898);
    TimeseriesPoint point;
    point.start = static_cast<SimTime>(t * 1e9);
    point.length = 2 * kNanosecondsPerSecond;
    point.arrivals = static_cast<std::int64_t>(3'200 * load * wobble);
    point.completed = static_cast<std::int64_t>(3'200 * load);
    point.prompt_tokens = point.arrivals * 2'400;
    point.output_tokens = point.completed * 50;
    point.iterations = load > 0 ? 18'000 : 0;
    point.queue = 130 * std::pow(load, 6) * wobble;
    point.running = 2'100 * load * load * wobble;
    point.kv_blocks_used = 1'900 * load * load;
    point.busy = 0.83 * load;
    point.replicas = 300;
    run.timeseries.push_back(point);
  }
  for (const auto& [metric, p50] :
       {std::pair{"ttft", 0.42}, std::pair{"tpot", 0.021}, std::pair{"e2e", 1.31},
        std::pair{"queue", 0.11}, std::pair{"itl", 0.019}}) {
    LatencyCurve curve{metric, {}, {}};
    for (int i = 0; i <= 200; ++i) {
      const double p = std::min(0.9999, std::max(0.0005, i / 200.0));
      curve.probability.push_back(i / 200.0);
      curve.seconds.push_back(p50 * std::pow(p / (1 - p), 0.3));
    }
    run.curves.push_back(curve);
  }
  return run;
}

inline RunDigest digest(std::uint64_t seed, std::int64_t load_percent, double worst_s) {
  Summary summary = result().summary;
  summary.slo = {slo(worst_s)};
  return digest_of(summary, seed, load_percent);
}

/// The whole document; `infinite` makes the runs at high load miss for good.
inline nlohmann::ordered_json document() {
  static const Scenario asked = scenario();
  static const Deployment fleet = deployment();
  static const Result run = result();
  ReportInput input{
      asked,
      fleet,
      run,
      {asked.name, 1, asked.sha256, "0.1.0"},
      "Do 300 H100s hold a 3 s limit at 2,000 requests/s with 20 % answered by the response cache?",
      "name: chat-2k-rps\nseed: 1\n",
      {},
      std::nullopt};
  const double worst[] = {2.913, 2.902, 2.951, 3.012, 2.887};
  for (std::uint64_t i = 0; i < 5; ++i) input.seeds.push_back(digest(i + 1, 0, worst[i]));
  Headroom headroom;
  headroom.turns_at_percent = 2;
  headroom.probed_to_percent = 10;
  headroom.probes = {digest(1, 1, 2.97), digest(1, 2, 3.08), digest(1, 5, 3.6),
                     digest(1, 10, std::numeric_limits<double>::infinity())};
  input.headroom = headroom;
  return report_data(input);
}

}  // namespace fleetsim::example
