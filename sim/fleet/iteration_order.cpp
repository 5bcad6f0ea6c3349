// A replica that runs ahead reports its iterations late and several at a time; sorting restores the
// order of their ends.

#include "sim/fleet/iteration_order.h"

#include <algorithm>
#include <tuple>

namespace fleetsim {

void IterationOrder::on_iteration(const IterationRecord& record) {
  Held held{record,
            {record.scheduled.begin(), record.scheduled.end()},
            {record.preempted.begin(), record.preempted.end()},
            {record.finished.begin(), record.finished.end()}};
  held_.push_back(std::move(held));
}

void IterationOrder::flush(SimTime time) {
  const auto key = [](const Held& held) {
    return std::make_tuple(held.record.start + held.record.duration, held.record.pool,
                           held.record.replica);
  };
  const auto later = std::stable_partition(held_.begin(), held_.end(), [&](const Held& held) {
    return held.record.start + held.record.duration < time;
  });
  std::stable_sort(held_.begin(), later,
                   [&](const Held& a, const Held& b) { return key(a) < key(b); });
  for (auto held = held_.begin(); held != later; ++held) {
    held->record.scheduled = held->scheduled;
    held->record.preempted = held->preempted;
    held->record.finished = held->finished;
    sink_.on_iteration(held->record);
  }
  held_.erase(held_.begin(), later);
}

}  // namespace fleetsim
