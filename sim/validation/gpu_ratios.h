#pragma once
// Maximum throughput of one GPU against another for the same model and lengths: a ratio of two
// measurements of one engine that is not simulated, beside the ratio of two simulations.

#include <string>
#include <vector>

#include "sim/validation/error_scores.h"
#include "sim/validation/service_row.h"

namespace fleetsim {

struct GpuRatio {
  std::string source, version, model;
  double prompt_tokens = 0, output_tokens = 0;
  std::string base, gpu;  // "h100 fp8 tp2", "b200 fp4 tp1": as they were run
  MeasuredPair ratio;     // throughput per GPU of `gpu` over that of `base`
};

struct RatioValidation {
  std::vector<GpuRatio> ratios;
  std::int64_t rows = 0;             // of the sources
  std::int64_t rows_in_ratios = 0;   // that stand in at least one
  std::vector<std::string> refused;  // configurations that cannot be simulated, each once
  std::vector<std::string> assumptions;
};

/// Simulates every configuration of the maximum-throughput rows (offline-max, no DP attention, no
/// pipeline stages) once, and pairs GPUs: the base is the configuration of a group of equal model
/// and lengths whose GPU comes first in the order h100, h200, h200-nvl, b200, gb200.
RatioValidation validate_ratios(const std::vector<ServiceRow>& rows, int threads);

}  // namespace fleetsim
