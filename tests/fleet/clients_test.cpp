// What clients see and do, worked out by hand: one replica, sync scheduling, every iteration 10 ms.

#include <algorithm>

#include "tests/fleet/scenario_run.h"

#include "tests/catch.h"

using namespace fleetsim;
using namespace fleetsim::test;

namespace {

constexpr SimTime ms = kMillisecond;

// Written-out requests, then what else the workload and the scenario say.
std::string scenario_of_requests(const std::string& requests, const std::string& workload = "",
                                 const std::string& rest = "", const std::string& engine = "") {
  return fmt::format(R"(
name: by-hand
workload:
  requests:
{}
{}
model: qwen3-0.6b
fleet: {{pools: [{{gpu: h100-sxm, engine: {{block_size: 4, max_model_len: 4000, async_scheduling: false{}}}}}]}}
cost_model: {{fixed: {{iteration: 10ms}}}}
{}
)",
                     requests, workload, engine, rest);
}

ReadyScenario by_hand(const std::string& requests, const std::string& workload = "",
                      const std::string& rest = "", const std::string& engine = "") {
  return ready(scenario_of_requests(requests, workload, rest, engine));
}

std::int64_t most_blocks_from(const WholeRun& run, SimTime from) {
  std::int64_t most = 0;
  for (const KeptIteration& kept : run.iterations) {
    if (kept.record.start >= from) most = std::max<std::int64_t>(most, kept.record.kv_blocks_used);
  }
  return most;
}

SimulationOptions stepping() {
  SimulationOptions options;
  options.run_ahead.enabled = false;
  return options;
}

// The same scenario in both ways of advancing, equal to the byte.
WholeRun both_ways(const ReadyScenario& scenario) {
  WholeRun ahead = run_whole(scenario);
  CHECK(first_difference(bytes_of(scenario, run_whole(scenario, stepping())),
                         bytes_of(scenario, ahead)) == "");
  return ahead;
}

}  // namespace

TEST_CASE("a time-out frees the blocks, counts, and its wasted step delivers nothing",
          "[clients]") {
  // A: prompt 8, wants 100 tokens, gives up at 35 ms. Its tokens came at 10, 20, 30 ms; the
  // iteration from 30 to 40 ms runs on for nobody. B comes at 36 ms, first scheduled at 40 ms.
  const WholeRun run = both_ways(by_hand(R"(
    - {id: A, arrival: 0s, prompt_tokens: 8, output_tokens: 100}
    - {id: B, arrival: 36ms, prompt_tokens: 4, output_tokens: 2}
)",
                                         "  timeout: 35ms"));
  const RequestRecord& a = run.of(0);
  CHECK(a.status == RequestStatus::timed_out);
  CHECK(a.output_tokens == 3);
  CHECK(a.first_token == 10 * ms);
  CHECK(a.last_token == -1);
  const RequestRecord& b = run.of(1);
  CHECK(b.status == RequestStatus::completed);
  CHECK(b.first_scheduled == 40 * ms);
  CHECK(b.last_token == 60 * ms);
  CHECK(most_blocks_from(run, 0) == 3);        // A's 11 tokens
  CHECK(most_blocks_from(run, 40 * ms) == 2);  // B's 5 alone
  CHECK(run.result.summary.requests.timed_out == 1);
  CHECK(run.result.summary.requests.completed == 1);
}

TEST_CASE("a time-out at the instant of the last token comes too late", "[clients]") {
  const WholeRun run = both_ways(
      by_hand("    - {id: A, arrival: 0s, prompt_tokens: 8, output_tokens: 3}", "  timeout: 30ms"));
  CHECK(run.of(0).status == RequestStatus::completed);
  CHECK(run.of(0).last_token == 30 * ms);
}

TEST_CASE("a run ends with the last thing that happens, not at a deadline of one who was served",
          "[clients]") {
  const ReadyScenario scenario =
      by_hand("    - {id: A, arrival: 0s, prompt_tokens: 8, output_tokens: 3}", "  timeout: 60s");
  const WholeRun run = both_ways(scenario);
  REQUIRE(run.result.timeseries.size() == 1);
  CHECK(run.result.timeseries.front().length == 30 * ms);
  CHECK(run.result.summary.fleet.busy == Approx(1));
}

TEST_CASE("a retry comes after its pause, keeps the first arrival and has a deadline of its own",
          "[clients]") {
  // One seat. A patient B waits until A has finished at 120 ms.
  const WholeRun run = both_ways(by_hand(R"(
    - {id: A, arrival: 0s, prompt_tokens: 4, output_tokens: 12}
    - {id: B, arrival: 5ms, prompt_tokens: 4, output_tokens: 2}
)",
                                         "  timeout: 200ms", "", ", max_num_seqs: 1"));
  CHECK(run.of(1).first_scheduled == 120 * ms);
  const WholeRun hasty = both_ways(by_hand(R"(
    - {id: A, arrival: 0s, prompt_tokens: 4, output_tokens: 5}
    - {id: B, arrival: 5ms, prompt_tokens: 4, output_tokens: 2}
)",
                                           "  timeout: 50ms\n  retry: {max: 2, backoff: 20ms}", "",
                                           ", max_num_seqs: 1"));
  // A finishes at 50 ms, at its deadline. B is first scheduled at 50 ms, before its deadline of 55
  // ms; its first token comes at 60 ms, too late. Attempt two comes at 75 ms, is served from 75 to
  // 95 ms.
  const RequestRecord& b = hasty.of(1);
  CHECK(hasty.requests.size() == 2);
  CHECK(b.status == RequestStatus::completed);
  CHECK(b.arrival == 5 * ms);
  CHECK(b.first_scheduled == 75 * ms);
  CHECK(b.first_token == 85 * ms);
  CHECK(b.last_token == 95 * ms);
  CHECK(b.output_tokens == 2);
  CHECK(hasty.result.summary.requests.arrived == 2);
  CHECK(hasty.result.summary.requests.timed_out == 0);
}

TEST_CASE("retries end: the last attempt that runs out counts once", "[clients]") {
  const WholeRun run = both_ways(by_hand(R"(
    - {id: A, arrival: 0s, prompt_tokens: 4, output_tokens: 100}
)",
                                         "  timeout: 25ms\n  retry: {max: 2, backoff: 10ms}"));
  REQUIRE(run.requests.size() == 1);
  CHECK(run.of(0).status == RequestStatus::timed_out);
  CHECK(run.of(0).output_tokens == 2);  // of the last attempt: it ran from 70 to 95 ms
  CHECK(run.of(0).first_token == 80 * ms);
  // Attempts from 0, 35 and 70 ms: each starts three iterations, the third for nobody.
  CHECK(run.iterations.size() == 9);
  CHECK(run.iterations.back().record.start == 90 * ms);
}

TEST_CASE("clients that give up at one instant all go before the engine plans", "[clients]") {
  // Found by random scenarios. One seat, three requests, all with their deadline at 50 ms: the plan
  // of 50 ms must see neither B nor C of the first attempt, and all three retries, A's first.
  const WholeRun run = both_ways(by_hand(R"(
    - {id: A, arrival: 0s, prompt_tokens: 4, output_tokens: 100}
    - {id: B, arrival: 0s, prompt_tokens: 5, output_tokens: 1}
    - {id: C, arrival: 0s, prompt_tokens: 6, output_tokens: 1}
)",
                                         "  timeout: 50ms\n  retry: {max: 1, backoff: 0s}", "",
                                         ", max_num_seqs: 1"));
  // All three come again at 50 ms, A first in order of number; it runs into its second deadline at
  // 100 ms, as B and C do.
  for (RequestId id = 0; id < 3; ++id) CHECK(run.of(id).status == RequestStatus::timed_out);
  CHECK(run.of(0).first_token == 60 * ms);
  CHECK(run.of(1).first_scheduled == -1);
  CHECK(run.of(2).first_scheduled == -1);
  for (const KeptIteration& kept : run.iterations) {
    CHECK(kept.scheduled.size() == 1);
    CHECK(kept.scheduled.front().id == 0);
  }
}

TEST_CASE("a hit of the response cache is answered before any GPU", "[clients]") {
  const WholeRun run = both_ways(ready(R"(
workload:
  arrivals: {process: constant, rate: 10/s}
  prompt_tokens: {distribution: fixed, value: 20}
  output_tokens: {distribution: fixed, value: 7}
  response_cache: {hit_rate: 1, latency: 20ms}
duration: 1s
model: qwen3-0.6b
fleet: {pools: [{gpu: h100-sxm, engine: {max_model_len: 4000}}]}
frontend: {network: 3ms, tokenize: {base: 5ms, per_token: 1ms}}
cost_model: {fixed: {iteration: 10ms}}
)"));
  CHECK(run.iterations.empty());
  CHECK(run.result.summary.requests.cache_hits == 10);
  CHECK(run.result.summary.fleet.iterations == 0);
  CHECK_FALSE(run.result.summary.latency.e2e.has_value());
  for (const RequestRecord& record : run.requests) {
    CHECK(record.status == RequestStatus::cache_hit);
    CHECK(record.last_token - record.arrival == 26 * ms);  // 3 + 20 + 3: nothing is tokenised
    CHECK(record.output_tokens == 7);
    CHECK(record.pool == -1);
    CHECK(record.replica == -1);
    CHECK(record.first_scheduled == -1);
  }
}

TEST_CASE("a prompt above max_model_len is rejected, one that just fits is served", "[clients]") {
  const WholeRun run = both_ways(by_hand(R"(
    - {id: long, arrival: 0s, prompt_tokens: 4001, output_tokens: 5}
    - {id: fits, arrival: 0s, prompt_tokens: 4000, output_tokens: 5}
    - {id: nearly, arrival: 0s, prompt_tokens: 3998, output_tokens: 5}
)"));
  CHECK(run.of(0).status == RequestStatus::rejected);
  CHECK(run.of(0).first_scheduled == -1);
  CHECK(run.of(1).status == RequestStatus::completed);
  CHECK(run.of(1).output_tokens == 1);  // the sequence is full, its one token is delivered
  CHECK(run.of(2).output_tokens == 2);  // 3998 + 2 = 4000 ends it by length
  CHECK(run.result.summary.requests.rejected == 1);
}

TEST_CASE("a prefill-only request has no first token and ends with its prefill", "[clients]") {
  // 20 tokens at a budget of 8: 8, 8, 4.
  const WholeRun run =
      both_ways(by_hand("    - {id: A, arrival: 0s, prompt_tokens: 20, output_tokens: 0}", "", "",
                        ", max_num_batched_tokens: 8, max_num_seqs: 8"));
  const RequestRecord& a = run.of(0);
  CHECK(a.status == RequestStatus::completed);
  CHECK(a.first_token == -1);
  CHECK(a.last_token == 30 * ms);
  CHECK(a.output_tokens == 0);
  CHECK(run.iterations.size() == 3);
  CHECK(run.result.summary.tokens.output == 0);
  CHECK_FALSE(run.result.summary.latency.ttft.has_value());
  CHECK(run.result.summary.latency.e2e->mean == Approx(0.030));
}

TEST_CASE("the front end's time is part of every latency", "[clients]") {
  // In: 3 ms network, 5 ms + 10 tokens x 200 us = 7 ms of tokenising; out: 3 ms network.
  const WholeRun run =
      both_ways(by_hand("    - {id: A, arrival: 1ms, prompt_tokens: 10, output_tokens: 3}", "",
                        "frontend: {network: 3ms, tokenize: {base: 5ms, per_token: 200us}}"));
  const RequestRecord& a = run.of(0);
  CHECK(a.arrival == 1 * ms);
  CHECK(a.first_scheduled == 11 * ms);
  CHECK(a.first_token == 24 * ms);  // 11 + 10 + 3
  CHECK(a.last_token == 44 * ms);
  CHECK(run.result.summary.latency.e2e->mean == Approx(0.043));
  CHECK(run.result.summary.latency.queue->mean == Approx(0.010));
  CHECK(run.result.summary.frontend_share == Approx(13.0 / 43));
}

TEST_CASE("a front end that works on a few prompts at a time lets the others wait in order",
          "[clients]") {
  const auto first_scheduled = [](const char* at_once) {
    const WholeRun run =
        both_ways(by_hand("    - {id: A, arrival: 0s, prompt_tokens: 10, output_tokens: 1}\n"
                          "    - {id: B, arrival: 0s, prompt_tokens: 20, output_tokens: 1}\n"
                          "    - {id: C, arrival: 1ms, prompt_tokens: 10, output_tokens: 1}\n"
                          "    - {id: D, arrival: 90ms, prompt_tokens: 10, output_tokens: 1}",
                          "",
                          "frontend: {network: 3ms, tokenize: {base: 10ms, per_token: 1ms" +
                              std::string(at_once) + "}}"));
    std::vector<SimTime> times;
    for (const RequestId id : {0U, 1U, 2U, 3U}) times.push_back(run.of(id).first_scheduled / ms);
    return times;
  };
  // each is through at 3 ms + its wait + 10 ms + 1 ms a token; iterations take 10 ms
  CHECK(first_scheduled("") == std::vector<SimTime>{23, 33, 33, 113});
  CHECK(first_scheduled(", at_once: 1") == std::vector<SimTime>{23, 53, 73, 113});
  CHECK(first_scheduled(", at_once: 2") == std::vector<SimTime>{23, 33, 43, 113});
  CHECK(first_scheduled(", at_once: 3") == first_scheduled(""));
}

TEST_CASE("chunks of stream_interval tokens: the gaps between them are the ITL", "[clients]") {
  // 8 tokens at 10, 20, ... 80 ms. Chunks: token 1 alone, then 2-4 at 40, 5-7 at 70, the rest (8)
  // at 80.
  const WholeRun run =
      both_ways(by_hand("    - {id: A, arrival: 0s, prompt_tokens: 4, output_tokens: 8}", "",
                        "frontend: {stream_interval: 3}"));
  const LatencySummary itl = run.result.summary.latency.itl.value();
  CHECK(itl.count == 3);
  CHECK(itl.mean == Approx((0.030 + 0.030 + 0.010) / 3));
  CHECK(itl.max == Approx(0.030));
  CHECK(itl.p50 == Approx(0.030));
  CHECK(run.of(0).first_token == 10 * ms);
  CHECK(run.of(0).last_token == 80 * ms);
  CHECK(run.result.summary.latency.tpot->mean == Approx(0.010));
  const WholeRun single =
      both_ways(by_hand("    - {id: A, arrival: 0s, prompt_tokens: 4, output_tokens: 8}"));
  CHECK(single.result.summary.latency.itl->count == 7);
  CHECK(single.result.summary.latency.itl->max == Approx(0.010));
}

TEST_CASE("the second turn of a conversation finds the first in the prefix cache", "[clients]") {
  // Turn 1: prompt 10, output 6. In KV: 10 + 6 - 1 = 15 tokens, 3 full blocks of 4.
  // Turn 2: prompt 10 + 6 + 10 = 26, of which 12 are cached. In KV then: 31, 7 full blocks.
  // Turn 3: prompt 26 + 6 + 10 = 42, of which 28 are cached.
  const WholeRun run = both_ways(ready(R"(
workload:
  arrivals: {process: batch, requests: 1}
  prompt_tokens: {distribution: fixed, value: 10}
  output_tokens: {distribution: fixed, value: 6}
  sessions: {turns: {distribution: fixed, value: 3}, think_time: 40ms}
model: qwen3-0.6b
fleet: {pools: [{gpu: h100-sxm, engine: {block_size: 4, max_model_len: 4000, async_scheduling: false}}]}
cost_model: {fixed: {iteration: 10ms}}
)"));
  REQUIRE(run.requests.size() == 3);
  const std::vector<std::int32_t> prompts = {10, 26, 42}, cached = {0, 12, 28};
  for (RequestId turn = 0; turn < 3; ++turn) {
    const RequestRecord& record = run.of(turn);
    CHECK(record.arrival == turn * 100 * ms);  // 60 ms of answer, 40 ms of thought
    CHECK(record.prompt_tokens == prompts[turn]);
    CHECK(record.cached_tokens == cached[turn]);
  }
  CHECK(run.result.summary.cache->prefix_hit_rate == Approx(40.0 / 78));
}

TEST_CASE("a closed loop keeps as many requests in flight as it has clients", "[clients]") {
  const WholeRun run = both_ways(ready(R"(
workload:
  arrivals: {process: closed, clients: 3, requests: 12, think_time: 0s}
  prompt_tokens: {distribution: fixed, value: 4}
  output_tokens: {distribution: fixed, value: 5}
model: qwen3-0.6b
fleet: {pools: [{gpu: h100-sxm, engine: {max_model_len: 4000, async_scheduling: false}}]}
cost_model: {fixed: {iteration: 10ms}}
)"));
  // Rounds of 50 ms: an answer at 50 ms makes the next request arrive then and be planned at once.
  CHECK(run.requests.size() == 12);
  CHECK(run.iterations.size() == 20);
  for (const KeptIteration& kept : run.iterations) CHECK(kept.scheduled.size() == 3);
  for (const RequestRecord& record : run.requests) {
    CHECK(record.arrival % (50 * ms) == 0);
    CHECK(record.first_scheduled == record.arrival);
    CHECK(record.last_token - record.arrival == 50 * ms);
  }
  CHECK(run.result.timeseries.front().running == Approx(3));
}

TEST_CASE("a closed loop thinks before it asks again", "[clients]") {
  const WholeRun run = both_ways(ready(R"(
workload:
  arrivals: {process: closed, clients: 1, think_time: 30ms}
  prompt_tokens: {distribution: fixed, value: 4}
  output_tokens: {distribution: fixed, value: 2}
duration: 200ms
model: qwen3-0.6b
fleet: {pools: [{gpu: h100-sxm, engine: {max_model_len: 4000, async_scheduling: false}}]}
cost_model: {fixed: {iteration: 10ms}}
)"));
  // Every 50 ms: 0, 50, 100, 150; the next would arrive at 200 ms, when arrivals have stopped.
  REQUIRE(run.requests.size() == 4);
  for (RequestId id = 0; id < 4; ++id) CHECK(run.of(id).arrival == id * 50 * ms);
}

TEST_CASE("an arrival at exactly a planning instant is seen by that plan", "[clients]") {
  const WholeRun run = both_ways(by_hand(R"(
    - {id: A, arrival: 0s, prompt_tokens: 4, output_tokens: 4}
    - {id: B, arrival: 20ms, prompt_tokens: 4, output_tokens: 1}
    - {id: C, arrival: 30000001ns, prompt_tokens: 4, output_tokens: 1}
)"));
  CHECK(run.of(1).first_scheduled == 20 * ms);
  CHECK(run.of(2).first_scheduled == 40 * ms);  // a nanosecond late: one iteration later
  CHECK(run.iterations.at(2).scheduled.size() == 2);
}

TEST_CASE("what the drain does not finish is unfinished, an end at its last instant counts",
          "[clients]") {
  const std::string text = scenario_of_requests(R"(
    - {id: A, arrival: 0s, prompt_tokens: 4, output_tokens: 40}
    - {id: B, arrival: 90ms, prompt_tokens: 4, output_tokens: 10}
    - {id: C, arrival: 100ms, prompt_tokens: 4, output_tokens: 10}
)",
                                                "", "duration: 100ms\ndrain: 90ms");
  const WholeRun run = both_ways(ready(text));
  // C would arrive when arrivals have stopped. B's tenth token comes at 190 ms, the end of the
  // drain.
  CHECK(run.requests.size() == 2);
  CHECK(run.of(0).status == RequestStatus::unfinished);
  CHECK(run.of(0).output_tokens == 19);
  CHECK(run.of(0).last_token == -1);
  CHECK(run.of(1).status == RequestStatus::completed);
  CHECK(run.of(1).last_token == 190 * ms);
  CHECK(run.result.summary.requests.unfinished == 1);
  const WholeRun shorter = both_ways(ready(text, {"drain=89ms"}));
  CHECK(shorter.of(1).status == RequestStatus::unfinished);
  CHECK(shorter.of(1).output_tokens == 9);
}
