#pragma once
// Future events in the order in which they happen, and the clock that they move.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "hw_models/check.h"
#include "sim/core/sim_time.h"

namespace fleetsim {

/// A priority queue of events keyed by (time, order, tie, sequence): simultaneous events run by
/// `order`, a small named phase (an enum below 256, one reason a line where it is defined), within
/// a phase by `tie` (such as a replica's number, where the order of scheduling must not matter),
/// and then in the order of scheduling. Payloads are small values; a payload that may go stale
/// carries an epoch of its own and is ignored by its receiver: nothing is ever removed from the
/// middle. A 4-ary heap: half the levels of a binary one, and the four children share a cache line
/// or two. Errors: CHECK that nothing is scheduled before now() and that an empty queue is not
/// popped.
template <class Payload, class Order = std::uint8_t>
class EventQueue {
 public:
  struct Event {
    SimTime time = 0;
    std::uint64_t rank = 0;  // order in the top 8 bits, tie below
    std::uint64_t sequence = 0;
    Payload payload{};
    Order order() const { return static_cast<Order>(rank >> kTieBits); }
  };

  /// The time of the last event popped; 0 before the first.
  SimTime now() const { return now_; }
  bool empty() const { return heap_.empty(); }
  std::size_t size() const { return heap_.size(); }
  /// Events popped so far.
  std::int64_t popped() const { return popped_; }
  /// Time of the next event; kNever when there is none.
  SimTime next_time() const { return heap_.empty() ? kNever : heap_.front().time; }
  /// The next event; the queue must not be empty.
  const Event& top() const {
    CHECK(!heap_.empty());
    return heap_.front();
  }
  void reserve(std::size_t events) { heap_.reserve(events); }

  void schedule(SimTime time, Order order, Payload payload, std::uint64_t tie = 0) {
    CHECK(time >= now_, "event at " + std::to_string(time) + " ns lies before now, " +
                            std::to_string(now_) + " ns");
    const std::uint64_t phase = static_cast<std::uint64_t>(order);
    CHECK(phase < 256 && tie < (std::uint64_t{1} << kTieBits));
    heap_.push_back({time, (phase << kTieBits) | tie, sequence_++, std::move(payload)});
    sift_up(heap_.size() - 1);
  }

  /// Removes the next event and moves the clock to it.
  Event pop() {
    CHECK(!heap_.empty());
    Event first = std::move(heap_.front());
    Event last = std::move(heap_.back());
    heap_.pop_back();
    if (!heap_.empty()) sift_down(std::move(last));
    now_ = first.time;
    ++popped_;
    return first;
  }

 private:
  static constexpr int kTieBits = 56;
  static constexpr std::size_t kChildren = 4;

  static bool before(const Event& a, const Event& b) {
    if (a.time != b.time) return a.time < b.time;
    return a.rank != b.rank ? a.rank < b.rank : a.sequence < b.sequence;
  }

  void sift_up(std::size_t hole) {
    Event event = std::move(heap_[hole]);
    while (hole > 0) {
      const std::size_t parent = (hole - 1) / kChildren;
      if (!before(event, heap_[parent])) break;
      heap_[hole] = std::move(heap_[parent]);
      hole = parent;
    }
    heap_[hole] = std::move(event);
  }

  /// Puts `event` at the root, whose own event has been taken, and lets it sink.
  void sift_down(Event event) {
    std::size_t hole = 0;
    for (;;) {
      const std::size_t first = hole * kChildren + 1;
      if (first >= heap_.size()) break;
      const std::size_t end = first + kChildren < heap_.size() ? first + kChildren : heap_.size();
      std::size_t least = first;
      for (std::size_t child = first + 1; child < end; ++child) {
        if (before(heap_[child], heap_[least])) least = child;
      }
      if (!before(heap_[least], event)) break;
      heap_[hole] = std::move(heap_[least]);
      hole = least;
    }
    heap_[hole] = std::move(event);
  }

  std::vector<Event> heap_;
  std::uint64_t sequence_ = 0;
  SimTime now_ = 0;
  std::int64_t popped_ = 0;
};

}  // namespace fleetsim
