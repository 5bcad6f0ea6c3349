// Running ahead is invisible: random scenarios simulated both ways give the same bytes in every
// output, and the run-ahead run popped fewer events. A planted fault must show, or this comparison
// proves nothing.

#include <thread>

#include "tests/fleet/random_scenario.h"
#include "tests/fleet/scenario_run.h"

#include "tests/catch.h"

using namespace fleetsim;
using namespace fleetsim::test;

namespace {

SimulationOptions stepping() {
  SimulationOptions options;
  options.run_ahead.enabled = false;
  return options;
}

SimulationOptions with_planted_fault() {
  SimulationOptions options;
  options.run_ahead.planted_fault = true;
  return options;
}

}  // namespace

TEST_CASE("running ahead and stepping give the same bytes", "[invariant]") {
  const SeedRange seeds = test_seeds(60);
  std::int64_t stepped_events = 0, ahead_events = 0, preemptions = 0, timed_out = 0, cached = 0,
               unfinished = 0, rejected = 0;
  for (std::uint64_t seed = seeds.first; seed <= seeds.last; ++seed) {
    const std::string text = random_scenario(seed);
    INFO(text);
    INFO(repeat_command(seed, "running ahead and stepping give the same bytes"));
    const ReadyScenario scenario = ready(text);
    const WholeRun stepped = run_whole(scenario, stepping());
    const WholeRun ahead = run_whole(scenario);
    CHECK(first_difference(bytes_of(scenario, stepped), bytes_of(scenario, ahead)) == "");
    // Iteration records change what is kept while running, so the plain way is compared as well.
    const WholeRun unobserved = run_whole(scenario, {}, false);
    const WholeRun unobserved_stepped = run_whole(scenario, stepping(), false);
    CHECK(first_difference(bytes_of(scenario, unobserved_stepped),
                           bytes_of(scenario, unobserved)) == "");
    stepped_events += stepped.result.events_popped;
    ahead_events += ahead.result.events_popped;
    const Summary& summary = stepped.result.summary;
    preemptions += summary.fleet.preemptions;
    timed_out += summary.requests.timed_out;
    cached += summary.tokens.prompt_cached;
    unfinished += summary.requests.unfinished;
    rejected += summary.requests.rejected;
  }
  if (seeds.first == seeds.last) return;
  // The scenarios reach what could go wrong.
  CHECK(preemptions > 100);
  CHECK(timed_out > 100);
  CHECK(cached > 1000);
  CHECK(unfinished > 50);
  CHECK(rejected > 50);
  CHECK(ahead_events < stepped_events * 9 / 10);
}

TEST_CASE("a fault planted in running ahead fails the comparison", "[invariant]") {
  const ReadyScenario scenario = ready(R"(
name: planted
workload:
  requests:
    - {id: A, arrival: 0s, prompt_tokens: 10, output_tokens: 40}
    - {id: B, arrival: 25ms, prompt_tokens: 12, output_tokens: 30}
model: qwen3-0.6b
fleet: {pools: [{gpu: h100-sxm, engine: {max_model_len: 1024}}]}
cost_model: {fixed: {iteration: 10ms}}
)");
  const std::string stepped = bytes_of(scenario, run_whole(scenario, stepping()));
  CHECK(stepped == bytes_of(scenario, run_whole(scenario)));
  CHECK(stepped != bytes_of(scenario, run_whole(scenario, with_planted_fault())));
  // Also without iteration records, from the summary and the time series alone.
  CHECK(bytes_of(scenario, run_whole(scenario, stepping(), false)) !=
        bytes_of(scenario, run_whole(scenario, with_planted_fault(), false)));
}

TEST_CASE("a planted fault shows in nearly every random scenario that runs ahead", "[invariant]") {
  std::int64_t ran_ahead = 0, shown = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    const ReadyScenario scenario = ready(random_scenario(seed));
    const WholeRun stepped = run_whole(scenario, stepping());
    const WholeRun faulty = run_whole(scenario, with_planted_fault());
    if (faulty.result.events_popped == stepped.result.events_popped) continue;
    ++ran_ahead;
    shown += bytes_of(scenario, stepped) != bytes_of(scenario, faulty) ? 1 : 0;
  }
  CHECK(ran_ahead >= 8);
  CHECK(shown == ran_ahead);
}

TEST_CASE("two simulations side by side give the bytes of one", "[invariant]") {
  const ReadyScenario first = ready(random_scenario(7)), second = ready(random_scenario(8));
  const std::string alone_first = bytes_of(first, run_whole(first));
  const std::string alone_second = bytes_of(second, run_whole(second));
  REQUIRE(alone_first != alone_second);
  for (int round = 0; round < 3; ++round) {
    std::string beside_first, beside_second;
    std::thread other([&] { beside_second = bytes_of(second, run_whole(second)); });
    beside_first = bytes_of(first, run_whole(first));
    other.join();
    CHECK(beside_first == alone_first);
    CHECK(beside_second == alone_second);
  }
}
