#pragma once
// The measuring run of fleetsim-kernels: by job lines from stdin, or over its own grid.

#include <string>

#include "kernels/measure/grid.h"
#include "kernels/measure/job_lines.h"

namespace fleetsim::kernels {

/// Who reads what a run tells.
enum class Audience {
  program,  // every event as a JSON line on stdout
  people    // rows and warnings on stdout, progress on stderr where that is a terminal
};

/// Measures and writes the profile. A GPU is there. Returns the exit code: 0; 1 when a check
/// failed, the device was lost or a file could not be written; 2 when the folder cannot be used;
/// 130 when interrupted. SIGINT and SIGTERM end it behind the point at hand; another one, two
/// seconds later, at once.
int run_bench(const Jobs& jobs, Audience audience);

}  // namespace fleetsim::kernels
