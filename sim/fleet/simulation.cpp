// Wires a scenario's source, fleet and collector together for one run.

#include "sim/fleet/simulation.h"

#include "sim/fleet/fleet.h"
#include "sim/metrics/collector.h"
#include "sim/workload/workload.h"

namespace fleetsim {

namespace {

constexpr std::int64_t kTimeseriesPoints = 300;  // about as many as a chart can show

MeterWindow meter_window(const Scenario& scenario, SimTime end_of_arrivals) {
  MeterWindow window;
  window.from = scenario.warmup;
  if (scenario.duration) {
    window.to = *scenario.duration;
  } else if (scenario.workload.arrivals &&
             scenario.workload.arrivals->process == Arrivals::Process::trace) {
    window.to = end_of_arrivals + 1;
  }
  window.interval = scenario.outputs.timeseries_interval;
  if (window.interval == 0) {
    const SimTime span = end_of_arrivals == kNever ? 0 : end_of_arrivals;
    const SimTime seconds = span / kNanosecondsPerSecond / kTimeseriesPoints;
    window.interval = std::max<SimTime>(seconds, 1) * kNanosecondsPerSecond;
  }
  return window;
}

PoolFacts facts_of(const PoolDeployment& pool) {
  PoolFacts facts;
  facts.name = pool.name;
  facts.gpu = pool.gpu->name;
  facts.model = pool.model.name;
  facts.replicas = pool.replicas;
  facts.gpus_per_replica = pool.gpus_per_replica;
  if (pool.priced) facts.usd_per_gpu_hour = pool.usd_per_gpu_hour;
  facts.step_time = pool.step_time.get();
  facts.memory = pool.memory;
  facts.peak = pool.gemm_peak;
  // A cost model without hardware has no utilisation of it either.
  if (pool.gemm_peak.value > 0) facts.memory_bandwidth = pool.gpu->memory_bandwidth;
  facts.power = pool.power;
  facts.kv_blocks_total = pool.rules.num_gpu_blocks - 1;
  facts.max_tokens = pool.rules.max_num_batched_tokens;
  facts.prefix_caching = pool.rules.enable_prefix_caching;
  facts.notes = pool.notes;
  return facts;
}

CollectorSetup collector_setup(const Scenario& scenario, const Deployment& deployment,
                               const RequestSource& source) {
  CollectorSetup setup;
  for (const PoolDeployment& pool : deployment.pools) setup.pools.push_back(facts_of(pool));
  for (const ClassInfo& info : source.classes()) setup.classes.push_back({info.name, info.slo});
  setup.slo = scenario.slo;
  setup.window = meter_window(scenario, source.end_of_arrivals());
  setup.frontend = scenario.frontend;
  return setup;
}

// After `duration` the fleet has `drain` to finish; without a duration it finishes whatever it
// takes.
SimTime horizon_of(const Scenario& scenario, SimTime end_of_arrivals) {
  if (scenario.duration) return *scenario.duration + scenario.drain.value_or(*scenario.duration);
  if (scenario.drain && end_of_arrivals != kNever) return end_of_arrivals + *scenario.drain;
  return kNever - 1;
}

}  // namespace

Result simulate(const Scenario& scenario, const Deployment& deployment, std::uint64_t seed,
                Sink& sink, const SimulationOptions& options) {
  RequestSource source(scenario, seed, options.load_factor);
  Collector collector(collector_setup(scenario, deployment, source));
  Fleet fleet(scenario, deployment, seed, source, collector, sink, options);
  const SimTime end = fleet.run(horizon_of(scenario, source.end_of_arrivals()));
  return collector.finish(end, fleet.stopped_early(), fleet.events_popped());
}

}  // namespace fleetsim
