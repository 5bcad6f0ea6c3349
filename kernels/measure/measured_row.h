#pragma once
// What one point came to: a row of a profile's tables, as plain values.

#include <cstdint>
#include <optional>
#include <string>

#include "kernels/measure/point.h"

namespace fleetsim::kernels {

/// Whether the operands of a run had left the L2 cache since they were last used.
enum class L2State { cold, warm };

/// Times of one run of the operator over repeated runs, in whole nanoseconds.
struct MeasuredRow {
  Point point;
  L2State l2 = L2State::cold;
  std::int64_t median_ns = 0, p10_ns = 0, p90_ns = 0;
  std::int64_t n = 0;                     // samples behind them; "samples" in files
  std::optional<std::int64_t> clock_mhz;  // of the SMs; nothing where it cannot be read
  double check_err = 0;                   // relative L2 error of the check before timing
  bool noisy = false;                     // (p90 - p10) / median stayed above 5 % when run again
  std::string note;                       // what the preparation chose; may be empty
};

}  // namespace fleetsim::kernels
