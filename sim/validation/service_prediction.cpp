#include "sim/validation/service_prediction.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "hw_models/check.h"
#include "sim/fleet/deployment.h"
#include "sim/fleet/router.h"
#include "sim/fleet/simulation.h"
#include "sim/scenario/scenario_reader.h"

namespace fleetsim {
namespace {

class QuietSink : public Sink {};

/// The faults as one line without the name of a file that nobody wrote.
std::string one_line(const Problems& problems) {
  std::string line;
  for (const Problem& problem : problems.sorted())
    line += (line.empty() ? "" : "; ") + problem.message;
  return line;
}

double mean_or_zero(const std::optional<LatencySummary>& latency) {
  return latency ? latency->mean : 0;
}

ServicePrediction read_off(const Result& result) {
  const Summary& summary = result.summary;
  ServicePrediction out;
  const LatencySection& latency = summary.latency;
  out.ttft_mean_s = mean_or_zero(latency.ttft);
  out.ttft_median_s = latency.ttft ? latency.ttft->p50 : 0;
  out.ttft_p90_s = latency.ttft ? latency.ttft->p90 : 0;
  out.tpot_mean_s = mean_or_zero(latency.tpot);
  out.tpot_median_s = latency.tpot ? latency.tpot->p50 : 0;
  out.itl_mean_s = mean_or_zero(latency.itl);
  out.e2e_mean_s = mean_or_zero(latency.e2e);
  out.e2e_median_s = latency.e2e ? latency.e2e->p50 : 0;
  out.e2e_p90_s = latency.e2e ? latency.e2e->p90 : 0;
  out.output_tokens_per_s = summary.throughput.output_tokens_per_s;
  out.output_tokens_per_s_per_gpu = summary.throughput.output_tokens_per_s_per_gpu;
  const FleetSection& fleet = summary.fleet;
  out.batch_mean = fleet.batch_mean;
  out.iterations = fleet.iterations;
  out.preemptions = fleet.preemptions;
  if (fleet.kv_blocks_total > 0)
    out.kv_blocks_peak_share =
        static_cast<double>(fleet.kv_blocks_peak) / static_cast<double>(fleet.kv_blocks_total);
  if (summary.time_breakdown && fleet.iterations > 0) {
    const double replica_seconds = fleet.gpu_hours * 3600 / static_cast<double>(fleet.gpus) *
                                   static_cast<double>(fleet.replicas);
    const double per_iteration = replica_seconds / static_cast<double>(fleet.iterations);
    for (std::size_t i = 0; i < out.parts_s.size(); ++i) {
      out.parts_s[i] = summary.time_breakdown->groups[i] * per_iteration;
      out.iteration_s += out.parts_s[i];
    }
  }
  if (!summary.pools.empty()) {
    out.cost_model = summary.pools.front().cost_model;
    out.notes = summary.pools.front().notes;
  }
  return out;
}

}  // namespace

ServicePrediction predict_service(const std::string& scenario_yaml, const std::string& name) {
  ReadOptions options;
  options.known_router_policies = router_names();
  Problems problems;
  ServicePrediction out;
  const auto scenario = read_scenario_text(scenario_yaml, name, "", options, problems);
  if (!scenario || !problems.empty()) {
    out.refused = one_line(problems);
    return out;
  }
  const Deployment deployment = deploy(*scenario, problems);
  if (!problems.empty()) {
    out.refused = one_line(problems);
    return out;
  }
  QuietSink sink;
  return read_off(simulate(*scenario, deployment, scenario->seed, sink));
}

std::vector<ServicePrediction> predict_services(const std::vector<NamedScenario>& scenarios,
                                                int threads) {
  std::vector<ServicePrediction> predictions(scenarios.size());
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < scenarios.size(); i = next++)
      predictions[i] = predict_service(scenarios[i].yaml, scenarios[i].name);
  };
  std::vector<std::jthread> workers;
  for (int i = 1; i < threads; ++i) workers.emplace_back(work);
  work();
  workers.clear();
  return predictions;
}

}  // namespace fleetsim
