#pragma once
// Says whether the backlog still grew when arrivals ended, beyond what chance explains.

#include <cstdint>
#include <vector>

#include "sim/metrics/meter.h"

namespace fleetsim {

/// Arrivals of one interval of the time series, by the time at which they arrived.
struct ArrivalInterval {
  std::int64_t arrivals = 0;  // that GPUs had to serve; rejected ones are not in it
  std::int64_t given_up = 0;  // of those: timed out without ever being scheduled
};

/// The rule. Let Q3 and Q4 be the mean numbers of waiting requests in the third and the last
/// quarter of [from, to), G the requests that arrived in the third quarter and timed out
/// unscheduled (a time-out caps the queue that would have grown), N the mean arrivals a quarter
/// over both. Saturated when
///     Q4 - Q3 + G > max(3 sqrt(N), N / 100)   and requests arrive in the last quarter.
/// A stable queue moves within a quarter by about sqrt(N) times the variability of arrivals and
/// service; an overload by a share f of the arrivals grows it by f N. So an overload of 1 % is the
/// least that is called saturated, once N passes 90,000; with N arrivals a quarter it is 3 /
/// sqrt(N). `intervals` and `arrivals` have the length `interval`; quarters take their part of
/// those they cut.
bool is_saturated(const std::vector<MeterInterval>& intervals,
                  const std::vector<ArrivalInterval>& arrivals, SimTime interval, SimTime from,
                  SimTime to);

}  // namespace fleetsim
