#pragma once
// `fleetsim calibrate bench`: has the GPU measured by fleetsim-kernels and says what came of it.

#include <string>

#include "calibrate/bench.h"

namespace fleetsim {

/// What its command line says; texts are checked by bench_command.
struct CalibrateOptions {
  bool quick = false;
  std::string only, out;
  std::string budget;  // "480s"; empty: by the grid
  std::uint64_t seed = 1;
  bool force = false;
  bool points = false;  // print the job lines instead of running them
};

/// Returns the exit code of BenchReport, or 0 after printing points.
/// Errors: ConfigError for bad options and where there is no fleetsim-kernels.
int bench_command(const CalibrateOptions& options);

}  // namespace fleetsim
