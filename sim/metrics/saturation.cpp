// Compares the queue of the window's last quarter with that of the quarter before.

#include "sim/metrics/saturation.h"

#include <algorithm>
#include <cmath>

namespace fleetsim {
namespace {

/// Sum of value(entry) over [from, to), entries evenly spread over their interval.
template <typename Entry, typename Value>
double sum_between(const std::vector<Entry>& entries, SimTime interval, SimTime from, SimTime to,
                   Value&& value) {
  double sum = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const SimTime start = static_cast<SimTime>(i) * interval;
    const SimTime covered = std::min(to, start + interval) - std::max(from, start);
    if (covered <= 0) continue;
    sum += value(entries[i]) * static_cast<double>(covered) / static_cast<double>(interval);
  }
  return sum;
}

}  // namespace

bool is_saturated(const std::vector<MeterInterval>& intervals,
                  const std::vector<ArrivalInterval>& arrivals, SimTime interval, SimTime from,
                  SimTime to) {
  const SimTime quarter = (to - from) / 4;
  if (quarter <= 0) return false;
  const SimTime last = to - quarter, third = last - quarter;
  const auto waiting = [](const MeterInterval& bin) { return static_cast<double>(bin.waiting); };
  const auto arrived = [](const ArrivalInterval& bin) { return static_cast<double>(bin.arrivals); };
  const auto given_up = [](const ArrivalInterval& bin) {
    return static_cast<double>(bin.given_up);
  };
  const auto length = static_cast<double>(quarter);
  const double queue_third = sum_between(intervals, interval, third, last, waiting) / length;
  const double queue_last = sum_between(intervals, interval, last, to, waiting) / length;
  const double lost = sum_between(arrivals, interval, third, last, given_up);
  const double arrived_last = sum_between(arrivals, interval, last, to, arrived);
  const double arrived_third = sum_between(arrivals, interval, third, last, arrived);
  if (arrived_last <= 0) return false;
  const double mean_arrivals = (arrived_third + arrived_last) / 2;
  return queue_last - queue_third + lost >
         std::max(3 * std::sqrt(mean_arrivals), mean_arrivals / 100);
}

}  // namespace fleetsim
