#include "kernels/checks/check.h"

#include <algorithm>
#include <cmath>

#include "hw_models/check.h"

namespace fleetsim::kernels {

std::vector<float> floats_of(const std::vector<Bf16>& values) {
  std::vector<float> floats(values.size());
  std::transform(values.begin(), values.end(), floats.begin(), [](Bf16 v) { return to_float(v); });
  return floats;
}

std::string list_of(const std::vector<int>& values) {
  std::string text;
  for (std::size_t i = 0; i < values.size() && i < 6; ++i)
    text += (i == 0 ? "" : ",") + std::to_string(values[i]);
  return values.size() <= 6 ? text : text + ",... (" + std::to_string(values.size()) + ")";
}

Comparison compare(const std::vector<float>& out, const std::vector<double>& reference) {
  CHECK(out.size() == reference.size());
  Comparison comparison;
  double difference = 0, norm = 0, out_norm = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!std::isfinite(out[i]) && std::isfinite(reference[i])) {
      ++comparison.not_finite;
      continue;
    }
    if (!std::isfinite(reference[i])) continue;
    const double error = static_cast<double>(out[i]) - reference[i];
    difference += error * error;
    norm += reference[i] * reference[i];
    out_norm += static_cast<double>(out[i]) * static_cast<double>(out[i]);
    comparison.largest_error = std::fmax(comparison.largest_error, std::fabs(error));
  }
  comparison.relative_error = norm > 0 ? std::sqrt(difference / norm) : std::sqrt(out_norm);
  return comparison;
}

CheckReport report_of(std::string what, const Comparison& comparison, double limit) {
  CheckReport report{std::move(what), comparison.relative_error, limit, ""};
  if (comparison.not_finite > 0)
    report.problem = std::to_string(comparison.not_finite) + " elements are NaN or infinite";
  return report;
}

}  // namespace fleetsim::kernels
