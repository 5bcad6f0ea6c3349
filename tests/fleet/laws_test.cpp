// Laws that hold whatever the policy and the workload: nothing is lost or made twice, nobody is
// served before he came, limits hold in every iteration, blocks return, a seed decides everything.

#include <algorithm>
#include <map>
#include <set>

#include "sim/core/random.h"
#include "sim/engine/replica.h"
#include "sim/fleet/router.h"
#include "tests/fleet/random_scenario.h"
#include "tests/fleet/scenario_run.h"

#include "tests/catch.h"

using namespace fleetsim;
using namespace fleetsim::test;

namespace {

// Output tokens that a request gets when nobody stops it (engine-semantics §1.2): its own end, its
// declared limit, or prompt + outputs = max_model_len, of which one token is always delivered.
std::int32_t tokens_due(const Request& request, const EngineRules& rules) {
  const std::int64_t room = std::max<std::int64_t>(rules.max_model_len - request.prompt_tokens, 1);
  return static_cast<std::int32_t>(std::min({static_cast<std::int64_t>(request.output_tokens),
                                             static_cast<std::int64_t>(request.max_tokens), room}));
}

// Requests that depend on no answer, asked from the workload itself.
std::map<RequestId, Request> open_requests(const Scenario& scenario) {
  RequestSource source(scenario, scenario.seed);
  std::map<RequestId, Request> requests;
  while (source.next_arrival() != kNever) {
    Request request;
    source.take(request);
    requests[request.id] = request;
  }
  return requests;
}

bool answers_matter(const Scenario& scenario) {
  const auto closed = [](const std::optional<Arrivals>& arrivals) {
    return arrivals && arrivals->process == Arrivals::Process::closed;
  };
  bool matter = closed(scenario.workload.arrivals);
  for (const WorkloadClass& entry : scenario.workload.classes) {
    matter = matter || closed(entry.arrivals) || entry.sessions.turns.has_value();
  }
  return matter;
}

void check_requests(const ReadyScenario& scenario, const WholeRun& run) {
  std::set<RequestId> seen;
  std::map<RequestStatus, std::int64_t> ends;
  for (const RequestRecord& record : run.requests) {
    if (!seen.insert(record.id).second) FAIL("request " << record.id << " ended twice");
    ++ends[record.status];
    SimTime before = record.arrival;
    for (const SimTime at : {record.first_scheduled, record.first_token, record.last_token}) {
      if (at < 0) continue;
      if (at < before) FAIL("request " << record.id << " goes back in time");
      before = at;
    }
    if (record.status == RequestStatus::completed) {
      const bool times = record.first_scheduled >= 0 && record.last_token > record.arrival &&
                         (record.first_token >= 0) == (record.output_tokens > 0);
      if (!times) FAIL("request " << record.id << " completed without its times");
    }
    if (record.cached_tokens >= std::max(record.prompt_tokens, 1)) {
      FAIL("request " << record.id << " has its last prompt token from the cache");
    }
  }
  const RequestCounts& counts = run.result.summary.requests;
  CHECK(counts.arrived == static_cast<std::int64_t>(run.requests.size()));
  CHECK(counts.arrived == counts.completed + counts.cache_hits + counts.rejected +
                              counts.timed_out + counts.lost + counts.unfinished);
  CHECK(counts.completed == ends[RequestStatus::completed]);
  CHECK(counts.timed_out == ends[RequestStatus::timed_out]);
  if (answers_matter(scenario.scenario)) return;

  const std::map<RequestId, Request> asked = open_requests(scenario.scenario);
  CHECK(asked.size() == run.requests.size());
  for (const RequestRecord& record : run.requests) {
    const Request& request = asked.at(record.id);
    if (record.arrival != request.arrival) FAIL("request " << record.id << " changed its arrival");
    if ((record.status == RequestStatus::cache_hit) != request.response_cache_hit) {
      FAIL("request " << record.id << ": the response cache answered another one");
    }
    if (record.pool < 0) continue;
    const EngineRules& rules =
        scenario.deployment.pools[static_cast<std::size_t>(record.pool)].rules;
    const std::int32_t due = tokens_due(request, rules);
    const bool rejected = record.status == RequestStatus::rejected;
    if (rejected != (record.prompt_tokens > rules.max_model_len)) {
      FAIL("request " << record.id << " of " << record.prompt_tokens << " tokens");
    }
    if (record.output_tokens > due ||
        (record.status == RequestStatus::completed && record.output_tokens != due)) {
      FAIL("request " << record.id << " got " << record.output_tokens << " of " << due);
    }
  }
}

struct ReplicaState {
  std::int64_t iterations = 0;
  SimTime end = 0, scheduled_at = 0;
};

void check_iteration(const KeptIteration& kept, const EngineRules& rules, ReplicaState& state) {
  const IterationRecord& record = kept.record;
  std::int64_t tokens = 0;
  std::set<RequestId> ids;
  for (const ScheduledTokens& entry : kept.scheduled) {
    tokens += entry.tokens;
    if (entry.tokens < 1 || entry.context < 0 || !ids.insert(entry.id).second) {
      FAIL("request " << entry.id << " is scheduled twice or for nothing");
    }
  }
  const bool within = tokens >= 1 && tokens <= rules.max_num_batched_tokens &&
                      record.running <= rules.max_num_seqs && record.waiting >= 0 &&
                      record.kv_blocks_used >= 1 && record.kv_blocks_used < rules.num_gpu_blocks;
  const bool in_order = record.iteration == state.iterations + 1 && record.duration > 0 &&
                        record.start >= state.end && record.scheduled_at <= record.start &&
                        record.scheduled_at >= state.scheduled_at;
  // v0.10 keeps a victim in the batch it was scheduled for; everywhere else the batch runs.
  const bool seated = !rules.preempted_victim_is_unscheduled ||
                      static_cast<std::int64_t>(kept.scheduled.size()) <= record.running;
  if (!within || !in_order || !seated) {
    FAIL("iteration " << record.iteration << " of replica " << record.replica << " of pool "
                      << record.pool << " at " << record.start << " ns: " << tokens << " tokens, "
                      << record.running << " running, " << record.kv_blocks_used << " blocks");
  }
  state = {record.iteration, record.start + record.duration, record.scheduled_at};
}

void check_iterations(const ReadyScenario& scenario, const WholeRun& run) {
  std::map<std::pair<std::int32_t, std::int32_t>, ReplicaState> replicas;
  SimTime clock = 0;
  std::map<RequestId, std::int64_t> finished;
  for (const KeptIteration& kept : run.iterations) {
    const SimTime end = kept.record.start + kept.record.duration;
    if (end < clock) FAIL("iterations are not in the order of their ends");
    clock = end;
    check_iteration(kept,
                    scenario.deployment.pools[static_cast<std::size_t>(kept.record.pool)].rules,
                    replicas[{kept.record.pool, kept.record.replica}]);
    for (const RequestId id : kept.finished) ++finished[id];
  }
  std::int64_t completed = 0;
  for (const RequestRecord& record : run.requests) {
    if (record.status != RequestStatus::completed) continue;
    ++completed;
    if (finished[record.id] != 1) FAIL("request " << record.id << " did not finish once");
  }
  CHECK(completed == static_cast<std::int64_t>(finished.size()));
}

ReadyScenario with_router(std::uint64_t seed, const std::string& policy) {
  return ready(random_scenario(seed), {"router.policy=" + policy});
}

}  // namespace

TEST_CASE("under every router nothing is lost, nobody is served early, every limit holds",
          "[invariant]") {
  const SeedRange seeds = test_seeds(12);
  for (const RouterRow& row : router_table()) {
    for (std::uint64_t seed = seeds.first; seed <= seeds.last; ++seed) {
      INFO(row.name << "\n" << random_scenario(seed));
      INFO(repeat_command(seed, "under every router*"));
      const ReadyScenario scenario = with_router(seed, row.name);
      const WholeRun run = run_whole(scenario);
      CHECK(!run.requests.empty());
      check_requests(scenario, run);
      check_iterations(scenario, run);
    }
  }
}

TEST_CASE("under every router one seed gives one result, another seed another", "[invariant]") {
  for (const RouterRow& row : router_table()) {
    INFO(row.name);
    ReadyScenario scenario = ready(R"(
seed: 5
duration: 2s
workload:
  arrivals: {process: poisson, rate: 100/s}
  prompt_tokens: {distribution: uniform, min: 5, max: 100}
  output_tokens: {distribution: geometric, mean: 20}
model: qwen3-0.6b
fleet: {pools: [{gpu: h100-sxm, replicas: 3, engine: {max_model_len: 1024}}]}
cost_model: roofline
)",
                                   {"router.policy=" + row.name});
    const std::string once = bytes_of(scenario, run_whole(scenario));
    CHECK(once == bytes_of(scenario, run_whole(scenario)));
    scenario.scenario.seed = 6;
    CHECK(once != bytes_of(scenario, run_whole(scenario)));
  }
}

TEST_CASE("a policy shifts nobody's draws: all routers see the same requests", "[invariant]") {
  std::vector<std::string> asked;
  for (const RouterRow& row : router_table()) {
    const WholeRun run = run_whole(ready(R"(
duration: 3s
workload:
  arrivals: {process: gamma, rate: 60/s, cv: 2}
  classes:
    - {name: a, share: 1, prompt_tokens: {distribution: geometric, mean: 60}, output_tokens: {distribution: geometric, mean: 9}}
    - {name: b, share: 3, prompt_tokens: {distribution: fixed, value: 9}, output_tokens: {distribution: fixed, value: 2}}
model: qwen3-0.6b
fleet: {pools: [{gpu: h100-sxm, replicas: 4, engine: {max_model_len: 2048}}]}
cost_model: roofline
)",
                                         {"router.policy=" + row.name}));
    std::map<RequestId, std::string> requests;
    for (const RequestRecord& record : run.requests) {
      requests[record.id] =
          fmt::format("{} {} {}; ", record.arrival, record.prompt_tokens, record.class_index);
    }
    std::string text;
    for (const auto& [id, line] : requests) text += line;
    asked.push_back(text);
  }
  CHECK(asked.front().size() > 100);
  for (const std::string& text : asked) CHECK(text == asked.front());
}

namespace {

SimTime makespan(const std::string& policy, int replicas) {
  const WholeRun run = run_whole(ready(fmt::format(R"(
workload:
  arrivals: {{process: batch, requests: 60}}
  prompt_tokens: {{distribution: fixed, value: 50}}
  output_tokens: {{distribution: fixed, value: 20}}
model: qwen3-0.6b
fleet: {{pools: [{{gpu: h100-sxm, replicas: {}, engine: {{max_num_seqs: 4, max_model_len: 256}}}}]}}
router: {{policy: {}}}
cost_model: {{fixed: {{iteration: 10ms}}}}
)",
                                                   replicas, policy)));
  SimTime last = 0;
  for (const RequestRecord& record : run.requests) {
    CHECK(record.status == RequestStatus::completed);
    last = std::max(last, record.last_token);
  }
  CHECK(run.requests.size() == 60);
  return last;
}

}  // namespace

TEST_CASE("more replicas never lower the drained throughput of equal requests", "[invariant]") {
  // Policies that share a batch of equal requests evenly: the fullest replica can only lose work.
  for (const std::string policy : {"round-robin", "least-outstanding", "least-kv"}) {
    INFO(policy);
    SimTime before = kNever;
    for (int replicas = 1; replicas <= 9; ++replicas) {
      const SimTime now = makespan(policy, replicas);
      CHECK(now <= before);
      before = now;
    }
    CHECK(before * 5 < makespan(policy, 1));
  }
  // Any policy: a replica gets a part of what a single one would get.
  for (const RouterRow& row : router_table()) {
    INFO(row.name);
    CHECK(makespan(row.name, 8) <= makespan(row.name, 1));
  }
}

TEST_CASE("time in the system adds up to what the meters saw, on every drained run",
          "[invariant]") {
  int drained = 0;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    INFO(repeat_command(seed, "time in the system*"));
    ReadyScenario scenario = ready(random_scenario(seed), {"drain=100s"});
    scenario.scenario.frontend = {};
    for (WorkloadClass& entry : scenario.scenario.workload.classes) entry.timeout.reset();
    const WholeRun run = run_whole(scenario, {}, false);
    double requests_s = 0, meters_s = 0;
    bool all_ended = true;
    for (const RequestRecord& record : run.requests) {
      all_ended = all_ended && record.status != RequestStatus::unfinished;
      if (record.status != RequestStatus::completed) continue;
      requests_s += to_seconds(record.last_token - record.arrival).value;
    }
    if (!all_ended) continue;  // a pool whose window reserve leaves too little for one sequence
    ++drained;
    for (const TimeseriesPoint& point : run.result.timeseries) {
      meters_s += (point.queue + point.running) * to_seconds(point.length).value;
    }
    CHECK(meters_s == Approx(requests_s).epsilon(1e-9));
  }
  CHECK(drained >= 20);
}

// --- one replica, driven here -----------------------------------------------------------------

namespace {

// A replica with a pool that runs dry, fed at random, its clients leaving at random; after every
// call the pool is consistent and, as nothing is shared without a cache, owned blocks are those of
// the running requests.
void drive(std::uint64_t seed, bool caching, bool async, bool run_ahead) {
  EngineRules rules;
  rules.block_size = 4;
  rules.num_gpu_blocks = 31;
  rules.max_num_seqs = 5;
  rules.max_num_batched_tokens = 24;
  rules.max_model_len = 100;
  rules.enable_prefix_caching = caching;
  rules.async_scheduling = async;
  const StepTime step_time = StepTime::linear({0.01}, {1e-5}, {1e-7});
  PoolMeter meter({0, kNever, kNanosecondsPerSecond}, 1, 24);
  ReplicaSetup setup;
  setup.rules = &rules;
  setup.step_time = &step_time;
  setup.meter = &meter;
  setup.run_ahead = run_ahead;
  Replica replica(setup);
  const RandomStream dice(seed, "replica law", 0);
  std::uint64_t draw = 0;
  std::deque<EngineRequest> requests;
  SimTime next_arrival = 0;
  std::size_t ended = 0;
  std::int64_t most_used = 0;
  const auto consistent = [&] {
    replica.blocks().check_consistency();
    std::int64_t owned = 0;
    for (const EngineRequest* request : replica.scheduler().running()) {
      owned += request->table.blocks();
    }
    const std::int64_t used = replica.blocks().used();
    if (caching ? used > owned : used != owned) FAIL("blocks used " << used << ", owned " << owned);
    most_used = std::max(most_used, used);
  };
  const auto come = [&](SimTime now) {
    EngineRequest& request = requests.emplace_back();
    const auto prompt = static_cast<std::int32_t>(1 + dice.index(40, draw++));
    const std::int32_t shared = std::min<std::int32_t>(prompt, 12);
    request.request.prompt = {{1 + dice.index(3, draw++), 0, shared}};
    if (prompt > shared)
      request.request.prompt.push_back({100 + requests.size(), 0, prompt - shared});
    request.request.prompt_tokens = prompt;
    request.request.output_tokens = static_cast<std::int32_t>(dice.index(60, draw++));
    request.request.max_tokens = request.request.output_tokens;
    request.request.output_stream = 100000 + requests.size();
    replica.submit(request, now);
  };
  Departures departures;
  while (ended < 150) {
    const bool arrival_first = requests.size() < 150 && next_arrival < replica.next_event();
    const SimTime now = arrival_first ? next_arrival : replica.next_event();
    if (now == kNever) FAIL("the replica stands still with work left");
    departures.clear();
    if (arrival_first) {
      replica.interrupt(now);
      if (replica.next_event() == now) replica.finish(now, departures);
      come(now);
      next_arrival = now + static_cast<SimTime>(dice.index(60, draw++)) * 1'000'000;
      if (dice.uniform(draw++) < 0.1) {
        EngineRequest& leaver = requests[dice.index(requests.size(), draw++)];
        if (leaver.state != EngineState::ended) {
          replica.abort(leaver, now);
          ++ended;
        }
      }
    } else {
      replica.finish(now, departures);
    }
    ended += departures.ended.size();
    consistent();
    if (replica.needs_plan()) replica.plan(now);
    consistent();
  }
  CHECK(most_used >= 28);  // the pool did run dry
  CHECK(meter.totals().preemptions > 0);
  // What was planned and not yet executed for requests that have ended drains; then nothing is
  // owned.
  while (replica.next_event() != kNever) {
    const SimTime now = replica.next_event();
    departures.clear();
    replica.finish(now, departures);
    if (replica.needs_plan()) replica.plan(now);
  }
  consistent();
  CHECK(replica.blocks().used() == 0);
  CHECK(replica.blocks().free() == 30);
  CHECK(!replica.scheduler().has_requests());
  for (const EngineRequest& request : requests) CHECK(request.table.blocks() == 0);
}

}  // namespace

TEST_CASE("no block is lost: a drained replica owns none, whoever left in between", "[invariant]") {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    for (const bool caching : {false, true}) {
      for (const bool async : {false, true}) {
        for (const bool run_ahead : {false, true}) {
          INFO("seed " << seed << ", caching " << caching << ", async " << async << ", run ahead "
                       << run_ahead);
          drive(seed, caching, async, run_ahead);
        }
      }
    }
  }
}
