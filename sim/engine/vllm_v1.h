#pragma once
// The scheduler of vLLM v1: one call plans one engine iteration (engine-semantics §1.2-1.5, 1.9).
// It decides over the queues and changes nothing but the KV blocks and the requests' own counters.

#include <cstdint>
#include <deque>
#include <vector>

#include "sim/engine/engine_request.h"
#include "sim/engine/engine_rules.h"
#include "sim/engine/kv_blocks.h"

namespace fleetsim {

/// One request's share of a planned iteration.
struct PlannedTokens {
  EngineRequest* request = nullptr;
  std::int32_t tokens = 0;
  std::int32_t context = 0;  // tokens already in KV
  std::uint16_t preemptions =
      0;               // of the request when planned: a later preemption makes the result stale
  bool emits = false;  // the step produces a token for it
};

/// What one scheduler call decided.
struct IterationPlan {
  std::vector<PlannedTokens> scheduled;   // in scheduling order
  std::vector<EngineRequest*> preempted;  // in order of preemption
  std::vector<EngineRequest*> admitted;   // taken from the waiting queue in this call
  std::int32_t kv_blocks_used = 0;        // after scheduling
  std::int32_t waiting = 0, running = 0;  // after scheduling
  bool empty() const { return scheduled.empty(); }
  void clear() {
    scheduled.clear();
    preempted.clear();
    admitted.clear();
  }
};

class VllmV1 {
 public:
  VllmV1(const EngineRules& rules, KvBlocks& blocks) : rules_(rules), blocks_(blocks) {}

  void add(EngineRequest& request);
  /// Plans one iteration into `plan` (cleared first).
  void plan(IterationPlan& plan);
  /// Applies the result of a planned step to one of its requests: counters, registration, stop
  /// rules. Returns true when the request has just ended; its blocks are then free and it has left
  /// the queues.
  bool apply(const PlannedTokens& planned);
  /// Takes a request out (client gone): blocks are freed at once.
  void abort(EngineRequest& request);

  bool has_requests() const { return !running_.empty() || !waiting_.empty(); }
  const std::vector<EngineRequest*>& running() const { return running_; }
  std::size_t waiting_count() const { return waiting_.size(); }

  /// The engine registers the request's first `blocks` blocks now. Those of the prompt that others
  /// may ask for become shareable at once; the rest matters only when the request comes back (after
  /// a preemption, as a retry, as the next turn) and is registered on release, if at all.
  void note_full(EngineRequest& request, std::int32_t blocks);
  /// The same for the blocks that the first `tokens` tokens fill; mostly they fill no further one.
  void note_tokens(EngineRequest& request, std::int32_t tokens) {
    if (tokens >= (request.full_blocks + 1) * blocks_.block_size()) {
      note_full(request, tokens / blocks_.block_size());
    }
  }

 private:
  void plan_running(IterationPlan& plan, std::int64_t& budget);
  void plan_waiting(IterationPlan& plan, std::int64_t& budget);
  bool allocate_running(EngineRequest& request, std::int32_t tokens);
  bool admit(EngineRequest& request, std::int64_t budget, IterationPlan& plan,
             std::int32_t& tokens);
  std::size_t victim() const;
  void preempt(std::size_t index, IterationPlan& plan);
  void schedule(EngineRequest& request, std::int32_t tokens, IterationPlan& plan);
  void finish_plan(IterationPlan& plan);
  void enqueue_waiting(EngineRequest& request, bool at_head);
  void end(EngineRequest& request, bool may_return);
  void release(EngineRequest& request, bool may_return);
  std::int32_t shareable_blocks(const Request& request) const;

  const EngineRules& rules_;
  KvBlocks& blocks_;
  std::vector<EngineRequest*> running_;  // admission order
  std::deque<EngineRequest*> waiting_;   // fcfs: queue order; priority: (priority, arrival) order
};

}  // namespace fleetsim
