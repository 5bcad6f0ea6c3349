// Step by step: plan() asks the scheduler for as many steps as the engine keeps in flight, finish()
// applies the oldest. Run ahead: when every step in flight decodes one token for every running
// request and nobody can be admitted, the following iterations are known in advance until a request
// ends, the pool runs dry or somebody interrupts: their ends are computed in one loop over prices,
// and accounted for later in one go (commit). Between two ends nothing differs from stepping, to
// the byte.

#include "sim/engine/replica.h"

#include <algorithm>

#include "hw_models/check.h"

namespace fleetsim {

namespace {

// A stretch is computed at most so far ahead; what lies beyond an interruption is wasted, so that
// the reach follows how far the last stretch was used. It never shows in a result.
constexpr std::int32_t kShortestReach = 4, kLongestReach = 256;

}  // namespace

Replica::Replica(const ReplicaSetup& setup)
    : setup_(setup),
      blocks_(static_cast<std::int32_t>(setup.rules->num_gpu_blocks - 1),
              static_cast<std::int32_t>(setup.rules->block_size),
              setup.rules->enable_prefix_caching, setup.rules->unhashed_blocks_first),
      scheduler_(*setup.rules, blocks_),
      depth_(setup.rules->async_scheduling ? 2 : 1) {
  phases_.resize(static_cast<std::size_t>(setup.rules->block_size));
}

// --- what the fleet asks for ------------------------------------------------------------------

void Replica::submit(EngineRequest& request, SimTime now) {
  interrupt(now);
  request.order = arrivals_++;
  request.queued_since = now;
  scheduler_.add(request);
  setup_.meter->on_arrival(now);
  if (in_flight_count_ == 0) needs_plan_ = true;
}

void Replica::abort(EngineRequest& request, SimTime now) {
  interrupt(now);
  leave(request, request.state, now);
  scheduler_.abort(request);
  if (in_flight_count_ == 0 && scheduler_.has_requests()) needs_plan_ = true;
}

SimTime Replica::next_event() const {
  if (in_flight_count_ == 0) return kNever;
  return silent_ends_ > 0 ? ahead_[static_cast<std::size_t>(silent_ends_)].end : in_flight(0).end;
}

// How many silent ends of the stretch lie before `now`.
std::int32_t Replica::ends_before(SimTime now) const {
  const auto last =
      std::lower_bound(ahead_.begin() + committed_, ahead_.begin() + silent_ends_, now,
                       [](const Ahead& ahead, SimTime time) { return ahead.end < time; });
  return static_cast<std::int32_t>(last - ahead_.begin());
}

void Replica::catch_up(SimTime now) {
  if (silent_ends_ > 0) commit(ends_before(now));
}

void Replica::interrupt(SimTime now) {
  if (silent_ends_ == 0) return;
  catch_up(now);
  reach_ = std::max(kShortestReach, 2 * committed_);
  silent_ends_ = 0;
}

void Replica::finish(SimTime now, Departures& departures) {
  if (silent_ends_ > 0) {
    commit(silent_ends_);
    if (silent_ends_ == reach_) reach_ = std::min(2 * reach_, kLongestReach);
    silent_ends_ = 0;
  }
  InFlight& step = in_flight(0);
  CHECK(in_flight_count_ > 0 && step.end == now);
  setup_.meter->on_iteration(setup_.replica, step.shape, step.start, step.end - step.start,
                             step.plan.kv_blocks_used, step.host_overhead);
  ++iterations_;
  finished_.clear();
  std::int64_t tokens = 0;
  for (const PlannedTokens& planned : step.plan.scheduled) {
    EngineRequest& request = *planned.request;
    const EngineState before = request.state;
    const bool ended = scheduler_.apply(planned);
    if (before == EngineState::ended) {
      if (request.steps_in_flight == 0) departures.drained.push_back(&request);
      continue;
    }
    if (!planned.emits) continue;
    tokens += request.emits_tokens ? 1 : 0;
    deliver(request, now, ended);
    if (!ended) continue;
    leave(request, before, now);
    departures.ended.push_back(&request);
    finished_.push_back(request.request.id);
  }
  flush_gaps(now);
  if (tokens > 0) setup_.meter->on_output_tokens(tokens, now);
  if (setup_.observer != nullptr) observe(step);
  first_ ^= 1;
  --in_flight_count_;
  needs_plan_ = true;
}

void Replica::plan(SimTime now) {
  needs_plan_ = false;
  int empty_calls = 0;
  while (in_flight_count_ < depth_) {
    InFlight& step = in_flight(in_flight_count_);
    scheduler_.plan(step.plan);
    account_plan(step.plan, now);
    if (!step.plan.empty()) {
      launch(step, now);
      ++in_flight_count_;
      continue;
    }
    for (const EngineRequest* victim : step.plan.preempted) {
      preempted_before_.push_back(victim->request.id);
    }
    // A call that schedules nothing because it preempted takes no time: the engine calls again at
    // once.
    if (in_flight_count_ > 0 || step.plan.preempted.empty()) break;
    CHECK(++empty_calls < 1'000'000, "the scheduler preempts for ever");
  }
  if (setup_.run_ahead && in_flight_count_ == depth_) look_ahead();
}

void Replica::close(SimTime now) {
  catch_up(now + 1);  // an end at this very instant has happened as well
  silent_ends_ = 0;
}

std::int32_t Replica::kv_blocks_used_at(SimTime now) const {
  if (silent_ends_ == 0) return blocks_.used();
  return ahead_[static_cast<std::size_t>(ends_before(now) + depth_ - 1)].kv_used;
}

// --- step by step -----------------------------------------------------------------------------

void Replica::launch(InFlight& step, SimTime now) {
  const std::int32_t window = static_cast<std::int32_t>(setup_.step_time->window());
  BatchShape shape;
  bool all_emit = true;
  for (const PlannedTokens& planned : step.plan.scheduled) {
    const std::int64_t context = planned.context;
    const std::int64_t tokens = planned.tokens;
    const std::int64_t length = context + tokens;
    shape.tokens += tokens;
    all_emit = all_emit && planned.emits;
    if (tokens == 1 && context >= planned.request->prompt_tokens) {
      ++shape.decode_requests;
      shape.decode_context += length;
      shape.decode_window_context += window > 0 ? std::min<std::int64_t>(length, window) : length;
      continue;
    }
    ++shape.prefill_requests;
    shape.prefill_context += length;
    shape.prefill_pairs += tokens * context + tokens * (tokens + 1) / 2;
    if (window > 0) {
      // The first `growing` of the chunk's queries see fewer than W keys, the rest see W.
      const std::int64_t growing = std::clamp<std::int64_t>(window - context, 0, tokens);
      shape.prefill_window_pairs +=
          growing * context + growing * (growing + 1) / 2 + (tokens - growing) * window;
    }
  }
  if (window == 0) shape.prefill_window_pairs = shape.prefill_pairs;
  shape.sampled_rows = shape.decode_requests + shape.prefill_requests;
  step.shape = shape;
  step.context_shift = 0;
  step.preempted.clear();
  step.preempted.swap(preempted_before_);
  for (const EngineRequest* victim : step.plan.preempted) {
    step.preempted.push_back(victim->request.id);
  }
  step.uniform = all_emit && shape.prefill_requests == 0 && step.plan.admitted.empty() &&
                 step.preempted.empty() &&
                 step.plan.scheduled.size() == scheduler_.running().size();
  step.scheduled_at = now;
  step.start = in_flight_count_ > 0 ? std::max(now, in_flight(in_flight_count_ - 1).end) : now;
  const Price price = setup_.step_time->price(shape);
  const SimTime duration = to_sim_time(price.total);
  CHECK(duration > 0, "an iteration must take time");
  step.host_overhead = to_sim_time(price.host_overhead);
  step.end = step.start + duration;
}

void Replica::account_plan(const IterationPlan& plan, SimTime now) {
  for (EngineRequest* request : plan.preempted) {
    setup_.meter->on_ran(request->running_since, now);
    setup_.meter->on_preemption(now);
    request->queued_since = now;
  }
  for (EngineRequest* request : plan.admitted) {
    setup_.meter->on_waited(request->queued_since, now);
    request->running_since = now;
    if (request->first_scheduled < 0) request->first_scheduled = now;
  }
}

void Replica::leave(EngineRequest& request, EngineState from, SimTime now) {
  if (from == EngineState::running) {
    setup_.meter->on_ran(request.running_since, now);
  } else {
    setup_.meter->on_waited(request.queued_since, now);
  }
}

// A token reaches the front end; every stream_interval tokens, and at the end, a chunk goes out.
void Replica::deliver(EngineRequest& request, SimTime now, bool ended) {
  request.last_token = now;
  if (!request.emits_tokens) return;
  if (request.first_token < 0) {
    request.first_token = request.last_chunk = now;
    request.tokens_since_chunk = 0;
    return;
  }
  if (++request.tokens_since_chunk < setup_.stream_interval && !ended) return;
  add_gap(now - request.last_chunk, 1, now);
  request.last_chunk = now;
  request.tokens_since_chunk = 0;
}

void Replica::add_gap(SimTime gap, std::int64_t count, SimTime at) {
  if (gap != gap_) flush_gaps(at);
  gap_ = gap;
  gap_count_ += count;
}

void Replica::flush_gaps(SimTime at) {
  if (gap_count_ > 0) setup_.meter->on_gaps(gap_, gap_count_, at);
  gap_count_ = 0;
}

void Replica::observe(const InFlight& step) {
  scheduled_.clear();
  for (const PlannedTokens& planned : step.plan.scheduled) {
    const std::int32_t context = planned.context + step.context_shift;
    const bool prefill = planned.tokens > 1 || context < planned.request->prompt_tokens;
    scheduled_.push_back({planned.request->request.id, planned.tokens, context, prefill});
  }
  IterationRecord record;
  record.start = step.start;
  record.scheduled_at = step.scheduled_at;
  record.duration = step.end - step.start;
  record.pool = setup_.pool;
  record.replica = setup_.replica;
  record.iteration = iterations_;
  record.scheduled = scheduled_;
  record.preempted = step.preempted;
  record.finished = finished_;
  record.kv_blocks_used = step.plan.kv_blocks_used;
  record.waiting = step.plan.waiting;
  record.running = step.plan.running;
  setup_.observer->on_iteration(record);
}

// --- running ahead ----------------------------------------------------------------------------

// How many ends from now on end no request and are followed by a plan like the one before: every
// running request must have tokens left to plan and, after each end, tokens left to deliver.
std::int32_t Replica::silent_ends_possible() const {
  const std::int32_t window = static_cast<std::int32_t>(setup_.step_time->window());
  std::int32_t ends = reach_;
  for (const EngineRequest* request : scheduler_.running()) {
    ends = std::min({ends, request->stop_after - request->generated - 1,
                     request->length_limit - request->generated - depth_});
    // The window term of the price grows evenly only until a sequence fills its window.
    const std::int32_t length = request->computed - depth_ + 1;
    if (window > 0 && length < window) ends = std::min(ends, window - length - depth_ + 1);
  }
  return ends;
}

void Replica::look_ahead() {
  for (int i = 0; i < depth_; ++i) {
    if (!in_flight(i).uniform) return;
  }
  const std::vector<EngineRequest*>& running = scheduler_.running();
  if (in_flight(0).plan.scheduled.size() != running.size()) return;
  const std::int32_t limit = silent_ends_possible();
  if (limit <= 0) return;

  const std::int32_t block_size = blocks_.block_size();
  const std::int32_t window = static_cast<std::int32_t>(setup_.step_time->window());
  std::fill(phases_.begin(), phases_.end(), 0);
  window_growth_ = window > 0 ? 0 : static_cast<std::int64_t>(running.size());
  for (const EngineRequest* request : running) {
    // Tokens in the last block, 0 when it is full: computed modulo the block size.
    const std::int32_t room = request->table.blocks() * block_size - request->computed;
    ++phases_[static_cast<std::size_t>(room == 0 ? 0 : block_size - room)];
    if (window > 0 && request->computed - depth_ + 1 < window) ++window_growth_;
  }
  ahead_.clear();
  base_shape_ = in_flight(0).shape;
  base_start_ = in_flight(0).start;
  for (int i = 0; i < depth_; ++i) {
    base_[static_cast<std::size_t>(i)] = {in_flight(i).scheduled_at, in_flight(i).plan.waiting,
                                          in_flight(i).context_shift};
    ahead_.push_back(
        {in_flight(i).end, in_flight(i).host_overhead, in_flight(i).plan.kv_blocks_used});
  }
  std::int32_t free = blocks_.free();
  std::int32_t used = blocks_.used();
  std::int32_t phase = 0;  // requests whose tokens fill whole blocks need a new one
  BatchShape shape = shape_at(depth_ - 1);
  std::int32_t silent = 0;
  for (; silent < limit; ++silent) {
    const std::int32_t need = phases_[static_cast<std::size_t>(phase)];
    if (need > free) break;
    free -= need;
    used += need;
    phase = phase == 0 ? block_size - 1 : phase - 1;
    shape.decode_context += shape.decode_requests;
    shape.decode_window_context += window_growth_;
    const Price price = setup_.step_time->price(shape);
    const SimTime duration = to_sim_time(price.total);
    CHECK(duration > 0, "an iteration must take time");
    ahead_.push_back({ahead_.back().end + duration, to_sim_time(price.host_overhead),
                      setup_.planted_fault ? used - 1 : used});
  }
  silent_ends_ = silent;
  committed_ = 0;
}

BatchShape Replica::shape_at(std::int32_t iteration) const {
  BatchShape shape = base_shape_;
  shape.decode_context += iteration * shape.decode_requests;
  shape.decode_window_context += iteration * window_growth_;
  return shape;
}

// Accounts for the ends up to the `silent_ends`-th of the stretch.
void Replica::commit(std::int32_t silent_ends) {
  if (silent_ends_ == 0 || silent_ends <= committed_) return;
  for (std::int32_t i = committed_; i < silent_ends; ++i) account_silent(i);
  move_requests(committed_, silent_ends);
  committed_ = silent_ends;
  refresh_in_flight(committed_);
}

void Replica::account_silent(std::int32_t iteration) {
  const std::size_t i = static_cast<std::size_t>(iteration);
  const SimTime start = iteration == 0 ? base_start_ : ahead_[i - 1].end;
  const SimTime end = ahead_[i].end;
  const BatchShape shape = shape_at(iteration);
  setup_.meter->on_iteration(setup_.replica, shape, start, end - start, ahead_[i].kv_used,
                             ahead_[i].host_overhead);
  setup_.meter->on_output_tokens(shape.decode_requests, end);
  ++iterations_;
  if (setup_.stream_interval == 1) {
    if (iteration > 0) {
      setup_.meter->on_gaps(end - start, shape.decode_requests, end);
    } else {
      // The tokens before the stretch need not have come with one iteration.
      for (const EngineRequest* request : scheduler_.running()) {
        add_gap(end - request->last_chunk, 1, end);
      }
      flush_gaps(end);
    }
  }
  if (setup_.observer == nullptr) return;
  refresh_in_flight(iteration);
  finished_.clear();
  observe(in_flight(0));
}

void Replica::move_requests(std::int32_t from, std::int32_t to) {
  const std::int32_t iterations = to - from;
  const std::int32_t block_size = blocks_.block_size();
  const SimTime end = ahead_[static_cast<std::size_t>(to - 1)].end;
  for (EngineRequest* request : scheduler_.running()) {
    if (setup_.stream_interval != 1) deliver_silent_chunks(*request, from, to);
    request->generated += iterations;
    request->computed += iterations;
    request->last_token = end;
    if (setup_.stream_interval == 1) request->last_chunk = end;
    while (request->computed > request->table.blocks() * block_size)
      blocks_.take(request->table, 1);
    scheduler_.note_tokens(*request, request->known_tokens());
  }
}

void Replica::deliver_silent_chunks(EngineRequest& request, std::int32_t from, std::int32_t to) {
  for (std::int32_t i = from; i < to; ++i) {
    if (++request.tokens_since_chunk < setup_.stream_interval) continue;
    const SimTime end = ahead_[static_cast<std::size_t>(i)].end;
    setup_.meter->on_gaps(end - request.last_chunk, 1, end);
    request.last_chunk = end;
    request.tokens_since_chunk = 0;
  }
}

// Sets the steps in flight to iterations committed, committed + 1, … of the stretch.
void Replica::refresh_in_flight(std::int32_t committed) {
  for (int step = 0; step < depth_; ++step) {
    const std::int32_t iteration = committed + step;
    const std::size_t i = static_cast<std::size_t>(iteration);
    InFlight& entry = in_flight(step);
    entry.shape = shape_at(iteration);
    entry.start = iteration == 0 ? base_start_ : ahead_[i - 1].end;
    entry.end = ahead_[i].end;
    entry.host_overhead = ahead_[i].host_overhead;
    const bool planned_before = iteration < depth_;
    entry.scheduled_at =
        planned_before ? base_[i].scheduled_at : ahead_[i - static_cast<std::size_t>(depth_)].end;
    entry.plan.kv_blocks_used = ahead_[i].kv_used;
    entry.plan.waiting =
        planned_before ? base_[i].waiting : static_cast<std::int32_t>(scheduler_.waiting_count());
    // Both plans hold the same requests in the same order, one token further for each end.
    entry.context_shift = base_[static_cast<std::size_t>(step)].context_shift + committed;
  }
}

}  // namespace fleetsim
