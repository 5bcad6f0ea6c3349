#pragma once
// A point made ready on the device: how to launch it, how often its operands exist, how to check
// it.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/device/launch.h"
#include "kernels/measure/arena.h"
#include "kernels/measure/point.h"

namespace fleetsim::kernels {

struct PreparedPoint {
  /// Runs the operator once on operand set `copy` (0 to copies - 1), asynchronously.
  std::function<void(Stream stream, int copy)> launch;
  /// Distinct operand sets: runs rotate through them, so that L2 does not keep what a real
  /// iteration would evict.
  int copies = 1;
  /// Runs operand set 0 once and compares a sample of its output with float64: relative L2 error.
  /// Infinite when something is wrong whatever the error (NaN left).
  std::function<double()> check_error;
  double error_limit = 0;  // kernels-and-cost-models §4.7
  bool capturable = true;  // false: its launch calls what a CUDA graph cannot hold (host copies,
                           // launch cost itself)
  int operations = 1;      // that one launch runs; a row holds the time of one
  std::size_t bytes_touched = SIZE_MAX;  // by all copies together, where that is less than what the
                                         // arena has given: decides whether the row is warm
  std::string note;  // what the preparation chose, for the log: the algorithm of a GEMM
};

/// One row an operator family: makes a point ready within the arena (which was reset before).
/// Errors: ArenaFull and NotSupportedHere, which skip the point; CudaError.
struct PointFamily {
  const char* op;
  PreparedPoint (*prepare)(const Point& point, Arena& arena, std::uint64_t seed);
};
const std::vector<PointFamily>& point_families();

}  // namespace fleetsim::kernels
