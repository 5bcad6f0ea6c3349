#pragma once
// Measured services beside their simulation: pairs of values a row, scores a class.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/validation/error_scores.h"
#include "sim/validation/row_scenario.h"
#include "sim/validation/service_prediction.h"
#include "sim/validation/service_row.h"

namespace fleetsim {

/// tpot: time per output token, or the gap between tokens where that was published. Where a source
/// publishes no end-to-end time or throughput, both sides are computed from TTFT and TPOT:
/// e2e = ttft + tpot (osl - 1), throughput = clients x osl / e2e (Little's law).
enum class ServiceMetric { ttft, tpot, e2e, throughput };
inline constexpr int kServiceMetrics = 4;
const char* name_of(ServiceMetric metric);
inline constexpr std::array<ServiceMetric, kServiceMetrics> kAllServiceMetrics = {
    ServiceMetric::ttft, ServiceMetric::tpot, ServiceMetric::e2e, ServiceMetric::throughput};

struct ValidatedRow {
  ServiceRow row;
  RowScenario scenario;
  ServicePrediction prediction;  // of rows with a scenario
  bool fitted = false;           // a parameter was chosen with the help of rows like it
  std::array<std::optional<MeasuredPair>, kServiceMetrics> pairs;  // of predicted rows

  bool has_scenario() const { return !scenario.yaml.empty(); }
  bool predicted() const { return has_scenario() && prediction.refused.empty(); }
  const std::optional<MeasuredPair>& pair(ServiceMetric metric) const {
    return pairs[static_cast<std::size_t>(metric)];
  }
  /// "vllm 0.10.2", "vllm (no version)".
  std::string engine() const;
};

/// Rows that have one source, model, precision, GPU and engine version (or fewer of these, for
/// totals), scored together. `assumed` rows are never mixed with rows of known configuration.
struct ClassScores {
  std::string source, model, precision, gpu, engine;
  RowScope scope = RowScope::simulated;
  bool fitted = false;
  std::int64_t rows = 0, predicted = 0;
  std::array<std::optional<ErrorScores>, kServiceMetrics> scores;
  std::string name() const;
  const std::optional<ErrorScores>& of(ServiceMetric metric) const {
    return scores[static_cast<std::size_t>(metric)];
  }
};

/// Order of throughput per GPU over configurations of one model at equal lengths.
struct RankScores {
  std::string source, model;
  std::int64_t rows = 0, groups = 0;
  double correlation = 0;  // mean over groups of equal lengths, weighted by their rows
};

/// Rows that have no scenario, or whose scenario was refused, by reason.
struct LeftOut {
  std::string scope, reason, source, model, gpu;
  std::int64_t rows = 0;
};

struct ServiceValidation {
  std::vector<ValidatedRow> rows;
  std::vector<ClassScores> classes;         // by source, model, precision, GPU, engine version
  std::vector<ClassScores> sources;         // totals by source and scope
  std::vector<ClassScores> fitted, unseen;  // totals by source: rows that fits saw, and the rest
  std::vector<RankScores> ranks;
  std::vector<LeftOut> refused, other;
};

/// Which rows are looked at: each text must be the row's source, model (as the catalogue calls it
/// or the data) or GPU. Texts of one kind are alternatives. Empty: all.
struct RowFilter {
  std::vector<std::string> only;
};

/// Simulates and scores. Errors: faults of the data and of the filter go to `problems`.
ServiceValidation validate_services(const std::string& data_dir, const RowFilter& filter,
                                    int threads, Problems& problems);

}  // namespace fleetsim
