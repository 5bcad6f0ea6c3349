#pragma once
// Iteration records in one order whatever the way they were made: by end, pool, replica.

#include <cstdint>
#include <vector>

#include "sim/engine/replica.h"
#include "sim/metrics/records.h"

namespace fleetsim {

/// Holds records back until every replica has been accounted for up to some time, then passes them
/// on to the sink sorted by (end, pool, replica).
class IterationOrder : public IterationObserver {
 public:
  explicit IterationOrder(Sink& sink) : sink_(sink) {}
  void on_iteration(const IterationRecord& record) override;
  /// Records held back; the fleet flushes when there are many.
  std::size_t held() const { return held_.size(); }
  /// Passes on what ended before `time`: no replica will report an earlier end again.
  void flush(SimTime time);

 private:
  struct Held {
    IterationRecord record;  // its spans are replaced by the vectors below
    std::vector<ScheduledTokens> scheduled;
    std::vector<RequestId> preempted, finished;
  };
  Sink& sink_;
  std::vector<Held> held_;
};

}  // namespace fleetsim
