#pragma once
// Measured rows simulated by the code that `fleetsim run` calls, many side by side.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hw_models/operators.h"

namespace fleetsim {

/// What a simulated row came to. Seconds; shares of the time in which the engine was not idle.
struct ServicePrediction {
  std::string refused;  // why it could not be simulated; empty: it was
  double ttft_mean_s = 0, ttft_median_s = 0, ttft_p90_s = 0;
  double tpot_mean_s = 0, tpot_median_s = 0;
  double itl_mean_s = 0;
  double e2e_mean_s = 0, e2e_median_s = 0, e2e_p90_s = 0;
  double output_tokens_per_s = 0, output_tokens_per_s_per_gpu = 0;
  double iteration_s = 0;                     // mean, host time included
  std::array<double, kCostGroups> parts_s{};  // of the mean iteration, by CostGroup
  double batch_mean = 0;                      // requests in an iteration
  std::int64_t iterations = 0, preemptions = 0;
  double kv_blocks_peak_share = 0;
  std::string cost_model;  // StepTime::kind()
  std::vector<std::string> notes;
};

/// Reads, deploys and simulates one scenario. Never throws for faults of the scenario.
ServicePrediction predict_service(const std::string& scenario_yaml, const std::string& name);

struct NamedScenario {
  std::string name, yaml;
};
/// All of them, on `threads` threads; results in the order of `scenarios`, whatever the threads.
std::vector<ServicePrediction> predict_services(const std::vector<NamedScenario>& scenarios,
                                                int threads);

}  // namespace fleetsim
