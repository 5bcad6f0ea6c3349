// A request's way: source -> (response cache) -> front end -> router -> replica -> record. Replicas
// run on their own between events; the queue holds about one event a replica, the next end that
// somebody could notice. Simultaneous events are ordered by what they are and then by replica or
// request number, never by the order in which they were posted: running ahead posts fewer of them.

#include "sim/fleet/fleet.h"

#include <algorithm>

#include "hw_models/check.h"

namespace fleetsim {

namespace {

constexpr std::int64_t kProgressEvery = 1 << 14;  // requests
constexpr std::size_t kIterationsHeld = std::size_t{1} << 15;

}  // namespace

Fleet::Fleet(const Scenario& scenario, const Deployment& deployment, std::uint64_t seed,
             RequestSource& source, Collector& collector, Sink& sink,
             const SimulationOptions& options)
    : scenario_(scenario),
      deployment_(deployment),
      source_(source),
      collector_(collector),
      sink_(sink),
      iteration_order_(sink) {
  build_stations(options);
  build_groups(seed);
  deadlines_.resize(source.classes().size());
}

void Fleet::build_stations(const SimulationOptions& options) {
  const bool observed = sink_.wants_iterations();
  for (std::size_t pool = 0; pool < deployment_.pools.size(); ++pool) {
    const PoolDeployment& deployed = deployment_.pools[pool];
    for (std::int64_t number = 0; number < deployed.replicas; ++number) {
      ReplicaSetup setup;
      setup.rules = &deployed.rules;
      setup.step_time = deployed.step_time.get();
      setup.meter = &collector_.meter(static_cast<std::int32_t>(pool));
      setup.observer = observed ? &iteration_order_ : nullptr;
      setup.pool = static_cast<std::int32_t>(pool);
      setup.replica = static_cast<std::int32_t>(number);
      setup.stream_interval = scenario_.frontend.stream_interval;
      setup.run_ahead = options.run_ahead.enabled;
      setup.planted_fault = options.run_ahead.planted_fault;
      Station station;
      station.replica = std::make_unique<Replica>(setup);
      station.pool = setup.pool;
      station.number = setup.replica;
      stations_.push_back(std::move(station));
    }
  }
}

// One router for each model that is served; it sees all replicas of the pools that serve it.
void Fleet::build_groups(std::uint64_t seed) {
  const RouterRow* row = find_router(scenario_.router.policy);
  CHECK(row != nullptr, scenario_.router.policy);
  for (std::size_t i = 0; i < stations_.size(); ++i) {
    const std::string& model =
        deployment_.pools[static_cast<std::size_t>(stations_[i].pool)].model.name;
    std::int32_t group = group_of(model);
    if (group < 0) {
      group = static_cast<std::int32_t>(groups_.size());
      groups_.emplace_back().model = model;
    }
    Group& joined = groups_[static_cast<std::size_t>(group)];
    stations_[i].group = group;
    stations_[i].position = static_cast<std::int32_t>(joined.stations.size());
    joined.stations.push_back(static_cast<std::int32_t>(i));
  }
  for (Group& group : groups_) {
    RouterConfig config;
    config.replicas = static_cast<std::int32_t>(group.stations.size());
    config.seed = seed;
    config.load_bound = scenario_.router.load_bound;
    group.outstanding = std::make_unique<OutstandingCounts>(config.replicas);
    group.router = row->make(config);
  }
  for (const ClassInfo& info : source_.classes()) {
    const std::int32_t group = group_of(info.model.empty() ? scenario_.model.name : info.model);
    group_of_class_.push_back(group);
  }
}

std::int32_t Fleet::group_of(const std::string& model) const {
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    if (groups_[i].model == model) return static_cast<std::int32_t>(i);
  }
  return -1;
}

// --- the loop ---------------------------------------------------------------------------------

bool Fleet::source_is_next() const {
  const SimTime next = source_.next_arrival();
  if (next == kNever) return false;
  if (events_.empty() || next < events_.next_time()) return true;
  return next == events_.next_time() && events_.top().order() > Phase::arrival;
}

SimTime Fleet::run(SimTime horizon) {
  while (true) {
    const bool from_source = source_is_next();
    if (!from_source && events_.empty()) break;
    if (!from_source && drop_stale()) continue;
    const SimTime time = from_source ? source_.next_arrival() : events_.next_time();
    if (time > horizon) {
      now_ = horizon;
      break;
    }
    now_ = time;
    if (from_source) {
      EngineRequest& request = live_.acquire();
      source_.take(request.request);
      reach_front_end(request);
    } else {
      const Event event = events_.pop().payload;
      prefetch_next();
      handle(event);
    }
    if (iteration_order_.held() >= kIterationsHeld) {
      for (Station& station : stations_) station.replica->catch_up(now_);
      iteration_order_.flush(now_);
    }
    if (stopped_early_) break;
  }
  close(now_);
  return now_;
}

// Drops the next event if it means nothing any more: the replica was interrupted since, the request
// gave up on its way, nobody waits for the deadline. It must not move the clock: a run ends with
// the last thing that happens, and the two ways of advancing leave different stale events.
bool Fleet::drop_stale() {
  const Event event = events_.top().payload;
  switch (event.kind) {
    case Event::Kind::iteration_end:
      if (stations_[static_cast<std::size_t>(event.index)].epoch == event.epoch) return false;
      break;
    case Event::Kind::plan:
      return false;
    case Event::Kind::timeout: {
      std::deque<Deadline>& queue = deadlines_[static_cast<std::size_t>(event.index)];
      while (!queue.empty() && is_over(queue.front())) queue.pop_front();
      if (!queue.empty() && queue.front().at <= events_.next_time()) return false;
      events_.pop();
      if (!queue.empty()) await_deadline(event.index);
      return true;
    }
    case Event::Kind::reach_front_end:
    case Event::Kind::reach_router:
      if (live_[event.index].generation == event.epoch) return false;
      break;
  }
  events_.pop();
  return true;
}

void Fleet::prefetch_next() const {
  if (events_.empty()) return;
  const Event& next = events_.top().payload;
  if (next.kind == Event::Kind::iteration_end) {
    stations_[static_cast<std::size_t>(next.index)].replica->prefetch();
  }
}

void Fleet::handle(const Event& event) {
  switch (event.kind) {
    case Event::Kind::iteration_end: {
      stations_[static_cast<std::size_t>(event.index)].announced = kNever;
      deliver_end(event.index);
      return post(event.index);
    }
    case Event::Kind::plan: {
      stations_[static_cast<std::size_t>(event.index)].plan_posted = false;
      plan(event.index);
      return;
    }
    case Event::Kind::timeout:
      return expire(event.index);
    case Event::Kind::reach_front_end:
    case Event::Kind::reach_router: {
      EngineRequest& request = live_[event.index];
      if (event.kind == Event::Kind::reach_front_end) return reach_front_end(request);
      return reach_router(request);
    }
  }
}

void Fleet::report_progress() {
  sink_.on_progress(now_, source_.end_of_arrivals(), arrived_);
  if (sink_.stop_requested()) stopped_early_ = true;
}

// --- the way in -------------------------------------------------------------------------------

void Fleet::reach_front_end(EngineRequest& request) {
  if (request.attempt == 0 && ++arrived_ % kProgressEvery == 0) report_progress();
  const Frontend& frontend = scenario_.frontend;
  request.response_delay = frontend.network;
  if (request.request.response_cache_hit) {
    const SimTime answered =
        now_ + scenario_.workload.response_cache.latency + 2 * frontend.network;
    record(request, RequestStatus::cache_hit, answered);
    follow(request.request, answered);
    live_.release(request);
    return;
  }
  watch_deadline(request);
  const SimTime received = now_ + frontend.network;
  const SimTime work =
      frontend.tokenize_base + frontend.tokenize_per_token * request.request.prompt_tokens;
  const SimTime ready = frontend.tokenize_at_once ? tokenized(received, work) : received + work;
  if (ready == now_) return reach_router(request);
  events_.schedule(ready, Phase::arrival,
                   {Event::Kind::reach_router, request.slot, request.generation},
                   request.request.id);
}

SimTime Fleet::tokenized(SimTime received, SimTime work) {
  const auto places = static_cast<std::size_t>(*scenario_.frontend.tokenize_at_once);
  SimTime begin = received;
  if (tokenizers_.size() == places) {  // all are taken, now or until before `received`
    begin = std::max(received, tokenizers_.top());
    tokenizers_.pop();
  }
  tokenizers_.push(begin + work);
  return begin + work;
}

void Fleet::reach_router(EngineRequest& request) {
  const std::int32_t group_index = group_of_class_[request.request.class_index];
  CHECK(group_index >= 0, "a class asks for a model that no pool serves");
  Group& group = groups_[static_cast<std::size_t>(group_index)];
  const RouterView view{
      *group.outstanding, [&](std::int32_t position) {
        const Replica& replica =
            *stations_[static_cast<std::size_t>(group.stations[static_cast<std::size_t>(position)])]
                 .replica;
        return static_cast<double>(replica.kv_blocks_used_at(now_)) /
               static_cast<double>(replica.kv_blocks_usable());
      }};
  const std::int32_t position = group.router->pick(request.request, view);
  const std::int32_t index = group.stations[static_cast<std::size_t>(position)];
  Station& station = stations_[static_cast<std::size_t>(index)];
  request.pool = static_cast<std::int16_t>(station.pool);
  const EngineRules& rules = deployment_.pools[static_cast<std::size_t>(station.pool)].rules;
  if (request.request.prompt_tokens > rules.max_model_len) {
    record(request, RequestStatus::rejected, -1);
    follow(request.request, now_ + request.response_delay);
    live_.release(request);
    return;
  }
  request.replica = index;
  group.outstanding->add(position, 1);
  make_ready(index);
  station.replica->submit(request, now_);
  post(index);
}

// --- replicas ---------------------------------------------------------------------------------

void Fleet::deliver_end(std::int32_t index) {
  Station& station = stations_[static_cast<std::size_t>(index)];
  departures_.clear();
  station.replica->finish(now_, departures_);
  for (EngineRequest* request : departures_.ended) {
    leave_router(*request);
    const SimTime delivered = request->last_token + request->response_delay;
    record(*request, RequestStatus::completed, delivered);
    collector_.meter(station.pool).on_completed(now_);
    follow(request->request, delivered);
    if (request->steps_in_flight == 0) live_.release(*request);
  }
  for (EngineRequest* request : departures_.drained) live_.release(*request);
}

// Brings a replica that runs ahead to this instant, so that something may change there.
void Fleet::make_ready(std::int32_t index) {
  Replica& replica = *stations_[static_cast<std::size_t>(index)].replica;
  replica.interrupt(now_);
  if (replica.next_event() == now_) deliver_end(index);
}

// Plans wait until everything of this instant has happened; mostly that is already so.
void Fleet::post(std::int32_t index) {
  Station& station = stations_[static_cast<std::size_t>(index)];
  if (station.replica->needs_plan()) {
    const bool instant_is_over = events_.next_time() > now_ && source_.next_arrival() > now_;
    if (instant_is_over && !station.plan_posted) {
      station.replica->plan(now_);
    } else if (!station.plan_posted) {
      station.plan_posted = true;
      events_.schedule(now_, Phase::plan, {Event::Kind::plan, index, 0},
                       static_cast<std::uint64_t>(index));
    }
  }
  const SimTime next = station.replica->next_event();
  if (next == station.announced) return;
  ++station.epoch;
  station.announced = next;
  if (next == kNever) return;
  events_.schedule(next, Phase::end, {Event::Kind::iteration_end, index, station.epoch},
                   static_cast<std::uint64_t>(index));
}

void Fleet::plan(std::int32_t index) {
  Station& station = stations_[static_cast<std::size_t>(index)];
  if (station.replica->needs_plan()) station.replica->plan(now_);
  post(index);
}

// --- clients that give up ---------------------------------------------------------------------

void Fleet::watch_deadline(EngineRequest& request) {
  const std::size_t class_index = request.request.class_index;
  const ClassInfo& info = source_.classes()[class_index];
  if (!info.timeout) return;
  std::deque<Deadline>& queue = deadlines_[class_index];
  queue.push_back({now_ + *info.timeout, request.slot, request.generation});
  if (queue.size() == 1) await_deadline(static_cast<std::int32_t>(class_index));
}

// Posts the event of the class's first deadline.
void Fleet::await_deadline(std::int32_t class_index) {
  events_.schedule(deadlines_[static_cast<std::size_t>(class_index)].front().at, Phase::timeout,
                   {Event::Kind::timeout, class_index, 0}, static_cast<std::uint64_t>(class_index));
}

bool Fleet::is_over(const Deadline& deadline) {
  const EngineRequest& request = live_[deadline.slot];
  return request.generation != deadline.generation || request.state == EngineState::ended;
}

// One time-out is constant within a class, so deadlines stand in order and only the first needs an
// event. Replicas may plan only when all have given up whose deadline is this instant, and their
// retries stand in the queue.
void Fleet::expire(std::int32_t class_index) {
  abandoned_.clear();
  std::deque<Deadline>& queue = deadlines_[static_cast<std::size_t>(class_index)];
  while (!queue.empty()) {
    const Deadline first = queue.front();
    if (!is_over(first)) {
      if (first.at > now_) break;
      give_up(live_[first.slot]);
    }
    queue.pop_front();
  }
  if (!queue.empty()) await_deadline(class_index);
  for (const std::int32_t station : abandoned_) post(station);
}

void Fleet::give_up(EngineRequest& request) {
  if (request.replica >= 0) {
    const std::int32_t index = request.replica;
    Station& station = stations_[static_cast<std::size_t>(index)];
    make_ready(index);
    CHECK(request.state != EngineState::ended, "an end within run-ahead ended a request");
    station.replica->abort(request, now_);
    leave_router(request);
    abandoned_.push_back(index);
  }
  const Retry& rule = source_.classes()[request.request.class_index].retry;
  if (request.attempt < rule.max) {
    retry(request);
  } else {
    record(request, RequestStatus::timed_out, -1);
    follow(request.request, now_);
  }
  request.state = EngineState::ended;
  if (request.steps_in_flight == 0) live_.release(request);
}

// The client tries again after its pause: the same request, a fresh slot, its first arrival kept.
void Fleet::retry(EngineRequest& request) {
  EngineRequest& again = live_.acquire();
  again.request = request.request;
  again.attempt = request.attempt + 1;
  const Retry& rule = source_.classes()[request.request.class_index].retry;
  events_.schedule(now_ + rule.backoff, Phase::arrival,
                   {Event::Kind::reach_front_end, again.slot, again.generation}, again.request.id);
}

// --- the way out ------------------------------------------------------------------------------

void Fleet::leave_router(const EngineRequest& request) {
  const Station& station = stations_[static_cast<std::size_t>(request.replica)];
  groups_[static_cast<std::size_t>(station.group)].outstanding->add(station.position, -1);
}

void Fleet::record(const EngineRequest& request, RequestStatus status, SimTime last_token) {
  RequestRecord record;
  record.arrival = request.request.arrival;
  record.first_scheduled = request.first_scheduled;
  if (request.first_token >= 0) record.first_token = request.first_token + request.response_delay;
  record.last_token = last_token;
  record.id = request.request.id;
  record.prompt_tokens = request.request.prompt_tokens;
  record.output_tokens =
      status == RequestStatus::cache_hit ? request.request.output_tokens : request.generated;
  record.cached_tokens = std::max(request.cached_tokens, 0);
  record.preemptions = request.preemptions;
  record.class_index = request.request.class_index;
  record.pool = request.pool;
  record.replica =
      request.replica >= 0 ? stations_[static_cast<std::size_t>(request.replica)].number : -1;
  record.status = status;
  collector_.on_request(record);
  sink_.on_request(record);
}

// An answer may make its client send the next request.
void Fleet::follow(const Request& ended, SimTime time) {
  if (!source_.follow_up(ended, time, next_)) return;
  EngineRequest& request = live_.acquire();
  std::swap(request.request, next_);
  events_.schedule(request.request.arrival, Phase::arrival,
                   {Event::Kind::reach_front_end, request.slot, request.generation},
                   request.request.id);
}

// What is still somewhere in the fleet counts as unfinished, in the order of its numbers.
void Fleet::close(SimTime end) {
  for (Station& station : stations_) station.replica->close(end);
  iteration_order_.flush(kNever);
  std::vector<EngineRequest*> left;
  live_.for_each([&](EngineRequest& request) {
    if (request.state != EngineState::ended && request.request.arrival <= end)
      left.push_back(&request);
  });
  std::sort(left.begin(), left.end(), [](const EngineRequest* a, const EngineRequest* b) {
    return a->request.id < b->request.id;
  });
  for (const EngineRequest* request : left) {
    if (request->replica >= 0) {
      PoolMeter& meter = collector_.meter(request->pool);
      if (request->state == EngineState::running) {
        meter.on_ran(request->running_since, end);
      } else {
        meter.on_waited(request->queued_since, end);
      }
    }
    record(*request, RequestStatus::unfinished, -1);
  }
}

}  // namespace fleetsim
