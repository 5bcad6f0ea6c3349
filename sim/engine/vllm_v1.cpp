// vLLM v1 plans without telling prefill from decode: running requests in admission order share one
// token budget, then waiting ones in queue order, until the first that does not fit. Order,
// budgets, allocation, preemption and the moments at which blocks become shareable follow
// vllm/v1/core/sched/scheduler.py at commit 017e9f4448 (2026-08-17) and at tag v0.10.0.

#include "sim/engine/vllm_v1.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "hw_models/check.h"
#include "sim/workload/stream_ids.h"

namespace fleetsim {

namespace {

std::int32_t blocks_for(std::int32_t tokens, std::int32_t block_size) {
  return (tokens + block_size - 1) / block_size;
}

auto priority_key(const EngineRequest& request) {
  return std::make_tuple(request.request.priority, request.order);
}

}  // namespace

void VllmV1::enqueue_waiting(EngineRequest& request, bool at_head) {
  request.state = EngineState::waiting;
  if (rules_.priority_policy) {
    const auto place = std::upper_bound(waiting_.begin(), waiting_.end(), &request,
                                        [](const EngineRequest* a, const EngineRequest* b) {
                                          return priority_key(*a) < priority_key(*b);
                                        });
    waiting_.insert(place, &request);
  } else if (at_head) {
    waiting_.push_front(&request);
  } else {
    waiting_.push_back(&request);
  }
}

// A request stops by length at max_tokens outputs, or when prompt + outputs reach max_model_len.
void VllmV1::add(EngineRequest& request) {
  const std::int64_t room = rules_.max_model_len - request.request.prompt_tokens;
  request.prompt_tokens = request.request.prompt_tokens;
  request.length_limit = static_cast<std::int32_t>(
      std::min<std::int64_t>(request.request.max_tokens, std::max<std::int64_t>(room, 1)));
  request.stop_after = std::min(request.request.output_tokens, request.length_limit);
  request.emits_tokens = request.request.output_tokens > 0;
  request.shareable_blocks = shareable_blocks(request.request);
  enqueue_waiting(request, false);
}

// What a client writes outside a session is asked for by this request alone, and so is what is
// generated.
std::int32_t VllmV1::shareable_blocks(const Request& request) const {
  if (request.session != 0) return std::numeric_limits<std::int32_t>::max();
  std::int32_t tokens = 0;
  for (const Stretch& stretch : request.prompt) {
    if (stream_kind(stretch.stream) == StreamKind::conversation) break;
    tokens += stretch.length();
  }
  return tokens / blocks_.block_size();
}

// --- planning ---------------------------------------------------------------------------------

void VllmV1::plan(IterationPlan& plan) {
  plan.clear();
  std::int64_t budget = rules_.max_num_batched_tokens;
  plan_running(plan, budget);
  if (plan.preempted.empty()) plan_waiting(plan, budget);
  finish_plan(plan);
}

void VllmV1::plan_running(IterationPlan& plan, std::int64_t& budget) {
  for (std::size_t index = 0; index < running_.size() && budget > 0;) {
    EngineRequest& request = *running_[index];
    const bool limit_in_flight =
        rules_.async_scheduling && request.placeholders > 0 &&
        request.computed + 2 - request.placeholders >= request.prompt_tokens + request.length_limit;
    std::int64_t tokens = request.known_tokens() + request.placeholders - request.computed;
    if (rules_.long_prefill_token_threshold > 0) {
      tokens = std::min(tokens, rules_.long_prefill_token_threshold);
    }
    tokens = std::min({tokens, budget, rules_.max_model_len - 1 - request.computed});
    if (limit_in_flight || tokens <= 0) {
      ++index;
      continue;
    }
    bool allocated = allocate_running(request, static_cast<std::int32_t>(tokens));
    while (!allocated) {
      const std::size_t victim_index = victim();
      EngineRequest& unlucky = *running_[victim_index];
      if (unlucky.scheduled_in_plan && rules_.preempted_victim_is_unscheduled) {
        const auto entry =
            std::find_if(plan.scheduled.begin(), plan.scheduled.end(),
                         [&](const PlannedTokens& planned) { return planned.request == &unlucky; });
        budget += entry->tokens;
        plan.scheduled.erase(entry);
        unlucky.scheduled_in_plan = false;
      }
      if (victim_index < index) --index;
      preempt(victim_index, plan);
      if (&unlucky == &request) break;
      allocated = allocate_running(request, static_cast<std::int32_t>(tokens));
    }
    if (!allocated) break;
    schedule(request, static_cast<std::int32_t>(tokens), plan);
    budget -= tokens;
    ++index;
  }
}

bool VllmV1::allocate_running(EngineRequest& request, std::int32_t tokens) {
  const std::int32_t total = request.computed + tokens;
  if (total > request.table.blocks() * blocks_.block_size()) {
    const std::int32_t need = blocks_for(total, blocks_.block_size()) - request.table.blocks();
    if (need > blocks_.free()) return false;
    blocks_.take(request.table, need);
  }
  note_tokens(request, std::min(total, request.known_tokens()));
  return true;
}

void VllmV1::plan_waiting(IterationPlan& plan, std::int64_t& budget) {
  while (!waiting_.empty() && budget > 0 &&
         static_cast<std::int64_t>(running_.size()) < rules_.max_num_seqs) {
    EngineRequest& request = *waiting_.front();
    std::int32_t tokens = 0;
    if (!admit(request, budget, plan, tokens)) break;  // strict head-of-line blocking
    budget -= tokens;
  }
}

bool VllmV1::admit(EngineRequest& request, std::int64_t budget, IterationPlan& plan,
                   std::int32_t& tokens) {
  const std::int32_t block_size = blocks_.block_size();
  const std::int32_t known = request.known_tokens();
  const PrefixHit hit = blocks_.look_up(request.tokens(), known - 1);
  const std::int32_t cached = hit.blocks * block_size;
  std::int64_t wanted = known - cached;
  if (rules_.long_prefill_token_threshold > 0) {
    wanted = std::min(wanted, rules_.long_prefill_token_threshold);
  }
  if (!rules_.enable_chunked_prefill && wanted > budget) return false;
  tokens = static_cast<std::int32_t>(std::min(wanted, budget));

  const std::int64_t reserve =
      (running_.empty() ? 0
                        : static_cast<std::int64_t>(rules_.watermark *
                                                    static_cast<double>(rules_.num_gpu_blocks))) +
      rules_.window_blocks_per_request;
  const auto fits = [&](std::int32_t total) {
    const std::int64_t need =
        blocks_for(total, block_size) - hit.blocks + hit.free_blocks + reserve;
    return need <= blocks_.free();
  };
  const std::int32_t slots =
      static_cast<std::int32_t>(std::min<std::int64_t>(cached + tokens, rules_.max_model_len));
  if (rules_.reserve_full_isl &&
      !fits(static_cast<std::int32_t>(std::min<std::int64_t>(known, rules_.max_model_len)))) {
    return false;
  }
  if (!fits(slots)) return false;

  waiting_.pop_front();
  blocks_.touch(request.table);
  blocks_.reserve(request.table, static_cast<std::int32_t>(rules_.window_blocks_per_request));
  blocks_.take(request.table, blocks_for(slots, block_size) - hit.blocks);
  request.full_blocks = hit.blocks;
  note_tokens(request, std::min(slots, known));
  request.computed = cached;
  if (request.cached_tokens < 0) request.cached_tokens = cached;
  request.state = EngineState::running;
  running_.push_back(&request);
  plan.admitted.push_back(&request);
  schedule(request, tokens, plan);
  return true;
}

void VllmV1::schedule(EngineRequest& request, std::int32_t tokens, IterationPlan& plan) {
  request.scheduled_in_plan = true;
  plan.scheduled.push_back({&request, tokens, request.computed, request.preemptions, false});
}

// The latest admitted; under the priority policy the one with the largest (priority, arrival).
std::size_t VllmV1::victim() const {
  CHECK(!running_.empty());
  if (!rules_.priority_policy) return running_.size() - 1;
  std::size_t worst = 0;
  for (std::size_t i = 1; i < running_.size(); ++i) {
    if (priority_key(*running_[worst]) < priority_key(*running_[i])) worst = i;
  }
  return worst;
}

void VllmV1::preempt(std::size_t index, IterationPlan& plan) {
  EngineRequest& request = *running_[index];
  running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(index));
  release(request, true);
  request.computed = 0;
  request.placeholders = 0;
  ++request.preemptions;
  plan.preempted.push_back(&request);
  enqueue_waiting(request, true);
}

// Counters move on before the forward runs, so that the next call can plan on top of this one.
void VllmV1::finish_plan(IterationPlan& plan) {
  for (PlannedTokens& planned : plan.scheduled) {
    EngineRequest& request = *planned.request;
    request.scheduled_in_plan = false;
    ++request.steps_in_flight;
    if (planned.preemptions != request.preemptions)
      continue;  // v0.10: a victim that stays in the batch
    request.computed += planned.tokens;
    planned.emits = request.computed == request.known_tokens() + request.placeholders;
    if (planned.emits && rules_.async_scheduling) ++request.placeholders;
  }
  plan.kv_blocks_used = blocks_.used();
  plan.waiting = static_cast<std::int32_t>(waiting_.size());
  plan.running = static_cast<std::int32_t>(running_.size());
}

// --- results ----------------------------------------------------------------------------------

bool VllmV1::apply(const PlannedTokens& planned) {
  EngineRequest& request = *planned.request;
  --request.steps_in_flight;
  if (request.state == EngineState::ended || !planned.emits) return false;
  const bool stale = planned.preemptions != request.preemptions;
  if (request.emits_tokens) ++request.generated;
  if (rules_.async_scheduling && !stale) {
    --request.placeholders;
    note_tokens(request, request.computed - request.placeholders);
  }
  if (request.generated < request.stop_after) return false;
  end(request, false);
  return true;
}

void VllmV1::note_full(EngineRequest& request, std::int32_t blocks) {
  if (blocks <= request.full_blocks) return;
  request.full_blocks = blocks;
  const std::int32_t now =
      std::min({blocks, request.shareable_blocks, request.prompt_tokens / blocks_.block_size()});
  if (now > request.table.registered) {
    blocks_.register_content(request.table, request.tokens(), now);
  }
}

void VllmV1::release(EngineRequest& request, bool may_return) {
  const std::int32_t kept =
      may_return ? request.full_blocks : std::min(request.full_blocks, request.shareable_blocks);
  blocks_.register_content(request.table, request.tokens(), kept);
  const std::int32_t private_full = request.full_blocks - request.table.registered;
  blocks_.release(request.table, blocks_.caching() ? std::max(0, private_full) : 0);
  request.full_blocks = 0;
}

void VllmV1::end(EngineRequest& request, bool may_return) {
  release(request, may_return);
  if (request.state == EngineState::running) {
    running_.erase(std::find(running_.begin(), running_.end(), &request));
  } else {
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &request));
  }
  request.state = EngineState::ended;
}

void VllmV1::abort(EngineRequest& request) {
  CHECK(request.state != EngineState::ended);
  end(request, true);  // its client may try again
}

}  // namespace fleetsim
