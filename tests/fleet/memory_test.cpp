// Memory stays in step with what is alive: a pool's tree of cached content is bounded by its blocks
// however many requests have passed, and far smaller in a service whose prompts come in a few long
// stretches.

#include <algorithm>

#include "sim/core/random.h"
#include "sim/engine/replica.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

struct Growth {
  std::size_t early = 0, late = 0;  // most nodes alive in the first and in the last quarter
  std::int64_t completed = 0;
};

// One replica of a chat service: 16 system prompts of 800 tokens, prompts of 801 to 4800, answers
// of 1 to 100 tokens, `requests` of them with a new one whenever one ends (64 in flight).
Growth serve(std::int32_t blocks, std::int64_t requests) {
  EngineRules rules;
  rules.num_gpu_blocks = blocks + 1;
  rules.max_num_seqs = 64;
  rules.max_num_batched_tokens = 8192;
  rules.max_model_len = 8192;
  const StepTime step_time = StepTime::linear({0.01}, {0}, {0});
  PoolMeter meter({0, kNever, 1000 * kNanosecondsPerSecond}, 1, 8192);
  ReplicaSetup setup;
  setup.rules = &rules;
  setup.step_time = &step_time;
  setup.meter = &meter;
  Replica replica(setup);
  const RandomStream dice(1, "memory", 0);
  std::uint64_t draw = 0, streams = 100;
  std::deque<EngineRequest> slots(64);
  std::vector<EngineRequest*> free;
  for (EngineRequest& slot : slots) free.push_back(&slot);
  std::int64_t submitted = 0;
  Growth growth;
  Departures departures;
  const auto feed = [&](SimTime now) {
    while (!free.empty() && submitted < requests) {
      EngineRequest& request = *free.back();
      free.pop_back();
      BlockTable table = std::move(request.table);
      request = EngineRequest{};
      request.table = std::move(table);
      const auto own = static_cast<std::int32_t>(1 + dice.index(4000, draw++));
      request.request.prompt = {{1 + dice.index(16, draw++), 0, 800}, {streams++, 0, own}};
      request.request.prompt_tokens = 800 + own;
      request.request.output_tokens = static_cast<std::int32_t>(1 + dice.index(100, draw++));
      request.request.max_tokens = request.request.output_tokens;
      request.request.output_stream = streams++;
      ++submitted;
      replica.submit(request, now);
    }
  };
  feed(0);
  replica.plan(0);
  while (growth.completed < requests) {
    const SimTime now = replica.next_event();
    REQUIRE(now != kNever);
    departures.clear();
    replica.finish(now, departures);
    growth.completed += static_cast<std::int64_t>(departures.ended.size());
    for (EngineRequest* request : departures.ended) {
      if (request->steps_in_flight == 0) free.push_back(request);
    }
    for (EngineRequest* request : departures.drained) free.push_back(request);
    feed(now);
    if (replica.needs_plan()) replica.plan(now);
    const std::size_t nodes = replica.blocks().node_count();
    if (growth.completed < requests / 4) growth.early = std::max(growth.early, nodes);
    if (growth.completed > requests * 3 / 4) growth.late = std::max(growth.late, nodes);
  }
  replica.blocks().check_consistency();
  return growth;
}

}  // namespace

TEST_CASE("the prefix tree does not grow with the requests that have passed", "[memory]") {
  const std::int32_t blocks = 12000;  // several times less than the 20,000 prompts' own content
  const Growth growth = serve(blocks, 20000);
  CHECK(growth.completed == 20000);
  CHECK(growth.early > 64);
  CHECK(growth.late < growth.early * 5 / 4);
  // Two stretches of content a request: nodes by the request, not by the block.
  CHECK(growth.late < static_cast<std::size_t>(blocks) / 10);
}
