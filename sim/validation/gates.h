#pragma once
// Recorded errors that must not grow: a YAML file of classes and the most that each may be off.

#include <string>
#include <vector>

#include "hw_models/problems.h"
#include "sim/validation/validation.h"

namespace fleetsim {

/// Limits of one metric of one class, as shares; absent ones are not judged.
struct Gate {
  std::string of;      // ClassScores::name(), or "operators <gpu> <owner>/<engine> <family>"
  std::string metric;  // "ttft", "tpot", "e2e", "throughput"; of operators "time"
  double median = 0, p90 = 0;
  std::int64_t rows = 0;  // at least so many must be predicted
};

/// Reads `gates: [{of, metric, median, p90, rows}]`. Errors: faults to `problems`.
std::vector<Gate> read_gates(const std::string& path, Problems& problems);

/// A file of gates at what is reached now, with room for rounding: medians x 1.05 and 90th
/// percentiles x 1.1, rounded up to a thousandth. Classes of known configuration with at least
/// three predicted rows, and the totals by source.
std::string gates_yaml(const Validation& validation);

/// What is beyond its gate, one line each, also classes that are not there; empty: all holds.
std::vector<std::string> broken_gates(const std::vector<Gate>& gates, const Validation& validation);

}  // namespace fleetsim
