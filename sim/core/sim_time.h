#pragma once
// The simulation clock: whole nanoseconds since the start, so that order and equality are exact.

#include <cmath>
#include <cstdint>
#include <limits>

#include "hw_models/check.h"
#include "hw_models/units.h"

namespace fleetsim {

/// A point on the clock or a span of it, in nanoseconds. Range: 292 years.
using SimTime = std::int64_t;

inline constexpr SimTime kNever = std::numeric_limits<SimTime>::max();
inline constexpr SimTime kNanosecondsPerSecond = 1'000'000'000;

/// Rounds to the nearest nanosecond (half away from zero); the only place where costs are rounded.
inline SimTime to_sim_time(Seconds seconds) {
  return static_cast<SimTime>(std::llround(seconds.value * 1e9));
}
inline Seconds to_seconds(SimTime time) { return {static_cast<double>(time) / 1e9}; }

}  // namespace fleetsim
