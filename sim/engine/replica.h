#pragma once
// One model instance on its GPUs: keeps the steps in flight, prices and applies them, and runs
// ahead over stretches of iterations in which nothing that anybody could notice happens.

#include <array>
#include <cstdint>
#include <vector>

#include "hw_models/step_time.h"
#include "sim/engine/vllm_v1.h"
#include "sim/metrics/meter.h"
#include "sim/metrics/records.h"

namespace fleetsim {

/// Receives the record of every iteration when a sink wants them.
class IterationObserver {
 public:
  virtual ~IterationObserver() = default;
  virtual void on_iteration(const IterationRecord& record) = 0;
};

/// Requests that left the engine with one end: those that ended now, and those that had ended
/// before and whose last wasted step has now drained (async scheduling), so that nothing refers to
/// them.
struct Departures {
  std::vector<EngineRequest*> ended, drained;
  void clear() {
    ended.clear();
    drained.clear();
  }
};

/// What a replica is made of; the referenced values outlive it.
struct ReplicaSetup {
  const EngineRules* rules = nullptr;
  const StepTime* step_time = nullptr;
  PoolMeter* meter = nullptr;
  IterationObserver* observer = nullptr;  // or none
  std::int32_t pool = 0, replica = 0;
  std::int64_t stream_interval = 1;
  bool run_ahead = true;
  bool planted_fault = false;
};

/// The life of a replica, driven by the fleet. At every instant the fleet first delivers ends
/// (finish), then arrivals and cancellations (submit, abort), then asks for plans (plan).
class Replica {
 public:
  explicit Replica(const ReplicaSetup& setup);
  Replica(const Replica&) = delete;
  Replica(Replica&&) = default;

  /// Puts a request into the waiting queue at `now`.
  void submit(EngineRequest& request, SimTime now);
  /// Removes a live request at `now` and frees its blocks.
  void abort(EngineRequest& request, SimTime now);
  /// The next end of an iteration that must be delivered; kNever when nothing is in flight.
  SimTime next_event() const;
  /// Stops running ahead, so that something may change at `now`. An end at this very instant is
  /// then announced by next_event() and must be delivered first.
  void interrupt(SimTime now);
  /// Delivers the end that next_event() announced for `now`; `departures` is appended to.
  void finish(SimTime now, Departures& departures);
  /// True when the scheduler must be called at the current instant.
  bool needs_plan() const { return needs_plan_; }
  /// Calls the scheduler at `now` until enough steps are in flight or nothing can be scheduled.
  void plan(SimTime now);
  /// Accounts for the iterations that ended before `now`; what lies ahead stays as it is.
  void catch_up(SimTime now);
  /// Asks the memory system for this replica: with hundreds of them the next event's is in no near
  /// cache, and it is known while the present one is being handled.
  void prefetch() const {
    const char* bytes = reinterpret_cast<const char*>(this);
    for (std::size_t line = 0; line < sizeof(Replica); line += 64) __builtin_prefetch(bytes + line);
  }
  /// Closes the books at the end of the simulation.
  void close(SimTime now);

  /// Blocks owned at `now`, before any plan made at this very instant. Exact also while running
  /// ahead.
  std::int32_t kv_blocks_used_at(SimTime now) const;
  std::int32_t kv_blocks_usable() const { return blocks_.usable(); }
  const KvBlocks& blocks() const { return blocks_; }
  const VllmV1& scheduler() const { return scheduler_; }

 private:
  // A planned step that is executing or waits for its turn on the GPU.
  struct InFlight {
    IterationPlan plan;
    BatchShape shape;
    SimTime scheduled_at = 0, start = 0, end = 0, host_overhead = 0;
    std::int32_t context_shift = 0;  // contexts of the plan moved on by running ahead
    bool uniform = false;            // every running request decodes one token, nobody was admitted
    std::vector<RequestId>
        preempted;  // ids, victims of calls right before that scheduled nothing included
  };

  InFlight& in_flight(int index) { return steps_[static_cast<std::size_t>((first_ + index) & 1)]; }
  const InFlight& in_flight(int index) const {
    return steps_[static_cast<std::size_t>((first_ + index) & 1)];
  }
  void launch(InFlight& step, SimTime now);
  void account_plan(const IterationPlan& plan, SimTime now);
  void deliver(EngineRequest& request, SimTime now, bool ended);
  void add_gap(SimTime gap, std::int64_t count, SimTime at);
  void flush_gaps(SimTime at);
  void observe(const InFlight& step);
  void leave(EngineRequest& request, EngineState from, SimTime now);

  // Run-ahead. Iteration i of a stretch is the (i+1)-th that ends after it was entered.
  void look_ahead();
  std::int32_t silent_ends_possible() const;
  std::int32_t ends_before(SimTime now) const;
  void commit(std::int32_t silent_ends);
  void account_silent(std::int32_t iteration);
  void move_requests(std::int32_t from, std::int32_t to);
  void deliver_silent_chunks(EngineRequest& request, std::int32_t from, std::int32_t to);
  void refresh_in_flight(std::int32_t committed);
  BatchShape shape_at(std::int32_t iteration) const;

  ReplicaSetup setup_;
  KvBlocks blocks_;
  VllmV1 scheduler_;
  std::array<InFlight, 2> steps_;
  int first_ = 0, in_flight_count_ = 0;
  int depth_ = 1;
  bool needs_plan_ = false;
  std::int64_t iterations_ = 0;
  std::uint64_t arrivals_ = 0;
  std::vector<RequestId> preempted_before_;  // victims of calls that scheduled nothing

  // ahead_[i] is iteration i of the stretch. The first silent_ends_ ends change nothing that others
  // see; 0: not running ahead.
  struct Ahead {
    SimTime end = 0, host_overhead = 0;
    std::int32_t kv_used = 0;
  };
  std::vector<Ahead> ahead_;
  std::int32_t silent_ends_ = 0, committed_ = 0;
  std::int32_t reach_ = 8;  // how far the next stretch is computed at most
  BatchShape base_shape_;
  std::int64_t window_growth_ = 0;  // of decode_window_context an iteration
  SimTime base_start_ = 0;
  // What the steps in flight were when the stretch was entered.
  struct Base {
    SimTime scheduled_at = 0;
    std::int32_t waiting = 0, context_shift = 0;
  };
  std::array<Base, 2> base_{};

  SimTime gap_ = -1;  // run length of equal gaps within one end
  std::int64_t gap_count_ = 0;
  std::vector<std::int32_t> phases_;        // scratch: running requests by fill of their last block
  std::vector<ScheduledTokens> scheduled_;  // scratch of observe()
  std::vector<RequestId> finished_;
};

}  // namespace fleetsim
