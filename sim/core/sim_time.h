#pragma once
// The simulation clock: whole nanoseconds since the start, so that order and equality are exact.

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
  const double nanoseconds = seconds.value * 1e9;
  const SimTime whole = static_cast<SimTime>(nanoseconds);  // towards zero
  const double rest = nanoseconds - static_cast<double>(whole);
  return whole + (rest >= 0.5 ? 1 : 0) - (rest <= -0.5 ? 1 : 0);
}
inline Seconds to_seconds(SimTime time) { return {static_cast<double>(time) / 1e9}; }

}  // namespace fleetsim
