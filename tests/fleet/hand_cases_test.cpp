// The hand-checked cases of vLLM's scheduler (engine-semantics §9, produced there by running the
// real scheduler class): every iteration as one row of text, both ways of advancing. Iterations
// take 10 ms, so that iteration k of a table starts at (k - 1) x 10 ms. Blocks hold 4 tokens;
// scheduling is sync.

#include <map>

#include "tests/fleet/engine_run.h"

#include "tests/catch.h"

using namespace fleetsim;
using namespace fleetsim::test;
using nlohmann::json;

namespace {

WrittenRequest fresh(const std::string& id, std::int64_t iteration, std::int64_t prompt,
                     std::int64_t output) {
  WrittenRequest request;
  request.id = id;
  request.arrival = (iteration - 1) * 10 * kMillisecond;
  request.prompt_tokens = prompt;
  request.output_tokens = output;
  return request;
}

WrittenRequest named(const std::string& id, std::int64_t iteration, const std::string& prompt,
                     std::int64_t output) {
  WrittenRequest request = fresh(id, iteration, 0, output);
  request.prompt = stretches(prompt);
  return request;
}

EngineCase small_case(std::int64_t blocks, std::int64_t budget, std::int64_t seats,
                      std::vector<WrittenRequest> requests) {
  EngineCase engine_case;
  engine_case.engine.block_size = 4;
  engine_case.engine.num_gpu_blocks_override = blocks;
  engine_case.engine.max_num_batched_tokens = budget;
  engine_case.engine.max_num_seqs = seats;
  engine_case.engine.max_model_len = 4096;
  engine_case.engine.async_scheduling = false;
  engine_case.requests = std::move(requests);
  return engine_case;
}

std::string words(const json& ids) {
  std::string text;
  for (const json& id : ids) text += (text.empty() ? "" : " ") + id.get<std::string>();
  return text.empty() ? "-" : text;
}

std::int64_t prompt_length(const WrittenRequest& request) {
  std::int64_t tokens = request.prompt_tokens;
  for (const NamedStretch& part : request.prompt) tokens += part.to - part.from;
  return tokens;
}

// "it | scheduled, with cached tokens where a request enters | used | emits | finishes |
// preempted". A request emits where its tokens in KV, this step's included, reach its prompt and
// what it has emitted.
std::vector<std::string> table(const EngineCase& engine_case, const EngineRun& run) {
  std::map<std::string, std::int64_t> known;
  for (const WrittenRequest& request : engine_case.requests) {
    known[request.id] = prompt_length(request);
  }
  std::vector<std::string> rows;
  for (const json& line : run.lines) {
    std::string emits;
    for (const json& entry : line["scheduled"]) {
      const std::string id = entry["id"];
      if (entry["context"].get<std::int64_t>() + entry["tokens"].get<std::int64_t>() < known[id]) {
        continue;
      }
      ++known[id];
      emits += (emits.empty() ? "" : " ") + id;
    }
    const std::int64_t iteration = std::llround(line["t"].get<double>() * 100) + 1;
    rows.push_back(std::to_string(iteration) + " | " + scheduled_text(line) + " | " +
                   std::to_string(line["kv_blocks_used"].get<int>()) + " | " +
                   (emits.empty() ? "-" : emits) + " | " + words(line["finished"]) + " | " +
                   words(line["preempted"]));
  }
  return rows;
}

void check_table(const EngineCase& engine_case, const std::vector<std::string>& expected) {
  for (const bool ahead : {false, true}) {
    const EngineRun run = run_engine(engine_case, {.enabled = ahead});
    INFO((ahead ? "running ahead" : "step by step"));
    const std::vector<std::string> rows = table(engine_case, run);
    for (std::size_t i = 0; i < std::min(rows.size(), expected.size()); ++i) {
      CHECK(rows[i] == expected[i]);
    }
    CHECK(rows.size() == expected.size());
    CHECK(run.requests.size() == engine_case.requests.size());
    for (const RequestRecord& request : run.requests) {
      CHECK(request.status == RequestStatus::completed);
      CHECK(request.output_tokens == engine_case.requests[request.id].output_tokens);
    }
  }
}

std::int32_t cached_tokens(const EngineRun& run, RequestId id) {
  for (const RequestRecord& request : run.requests) {
    if (request.id == id) return request.cached_tokens;
  }
  return -1;
}

// Tokens of each request's first step, in order of request.
std::string first_steps(const EngineCase& engine_case) {
  const EngineRun run = run_engine(engine_case);
  std::map<std::string, int> first;
  for (const json& line : run.lines) {
    for (const json& entry : line["scheduled"]) first.try_emplace(entry["id"], entry["tokens"]);
  }
  std::string text;
  for (const WrittenRequest& request : engine_case.requests) {
    text += (text.empty() ? "" : " ") + std::to_string(first.at(request.id));
  }
  return text;
}

}  // namespace

TEST_CASE("case 1: chunked prefill and decode share the budget in order of admission", "[engine]") {
  check_table(
      small_case(11, 16, 4, {fresh("A", 1, 10, 4), fresh("B", 1, 13, 4), fresh("C", 1, 5, 3)}),
      {"1 | A:10 B:6 | 5 | A | - | -", "2 | A:1 B:7 C:5 | 9 | A B C | - | -",
       "3 | A:1 B:1 C:1 | 9 | A B C | - | -", "4 | A:1 B:1 C:1 | 10 | A B C | A C | -",
       "5 | B:1 | 4 | B | B | -"});
}

TEST_CASE("case 2: a long prompt takes the whole budget, then seats limit", "[engine]") {
  check_table(
      small_case(21, 8, 2, {fresh("A", 1, 20, 3), fresh("B", 1, 6, 3), fresh("C", 1, 2, 2)}),
      {"1 | A:8 | 2 | - | - | -", "2 | A:8 | 4 | - | - | -", "3 | A:4 B:4 | 6 | A | - | -",
       "4 | A:1 B:2 | 8 | A B | - | -", "5 | A:1 B:1 | 8 | A B | A | -",
       "6 | B:1 C:2 | 3 | B C | B | -", "7 | C:1 | 1 | C | C | -"});
}

TEST_CASE("case 3: an exact repeat computes its last whole block again", "[engine]") {
  const EngineCase repeats = small_case(
      21, 64, 4,
      {named("A", 1, "S[0:8]", 2), named("B", 4, "S[0:8]", 2), named("C", 7, "S[0:9]", 2)});
  check_table(repeats,
              {"1 | A:8 | 2 | A | - | -", "2 | A:1 | 3 | A | A | -", "4 | B:4 | 2 | B | - | -",
               "5 | B:1 | 3 | B | B | -", "7 | C:1 | 3 | C | - | -", "8 | C:1 | 3 | C | C | -"});
  const EngineRun run = run_engine(repeats);
  CHECK(cached_tokens(run, 0) == 0);
  CHECK(cached_tokens(run, 1) == 4);
  CHECK(cached_tokens(run, 2) == 8);
}

TEST_CASE("case 4: the last admitted is preempted and recomputes what nobody overwrote",
          "[engine]") {
  EngineCase engine_case = small_case(9, 32, 4, {fresh("A", 1, 11, 8), fresh("B", 1, 11, 8)});
  std::vector<std::string> rows = {
      "1 | A:11 B:11 | 6 | A B | - | -", "2 | A:1 B:1 | 6 | A B | - | -",
      "3 | A:1 B:1 | 8 | A B | - | -",   "4 | A:1 B:1 | 8 | A B | - | -",
      "5 | A:1 B:1 | 8 | A B | - | -",   "6 | A:1 B:1 | 8 | A B | - | -",
      "7 | A:1 | 5 | A | - | B",         "8 | A:1 | 5 | A | A | -",
      "9 | B:5 | 5 | B | - | -",         "10 | B:1 | 5 | B | B | -"};
  SECTION("prefix cache on: 12 of 17 tokens are still cached") { check_table(engine_case, rows); }
  SECTION("prefix cache off: all 17 tokens are computed again") {
    engine_case.engine.enable_prefix_caching = false;
    rows[8] = "9 | B:17 | 5 | B | - | -";
    check_table(engine_case, rows);
  }
  const EngineRun run = run_engine(engine_case);
  CHECK(run.result.summary.fleet.preemptions == 1);
  CHECK(run.lines.at(7)["waiting"] == 1);  // blocked at the head of the queue in iteration 8
  CHECK(run.requests.at(1).preemptions == 1);
  CHECK(run.requests.at(1).cached_tokens == 0);  // counted at first admission only
}

TEST_CASE("case 5: blocks are shared within a step and with an unfinished prefill", "[engine]") {
  SECTION("(a) two prompts admitted in one step") {
    const EngineCase together =
        small_case(21, 64, 4, {named("A", 1, "T[0:12]", 2), named("B", 1, "T[0:8] X[0:3]", 2)});
    check_table(together, {"1 | A:12 B:3 | 4 | A B | - | -", "2 | A:1 B:1 | 5 | A B | A B | -"});
    CHECK(cached_tokens(run_engine(together), 1) == 8);
  }
  SECTION("(b) a prompt whose owner is still prefilling") {
    const EngineCase behind =
        small_case(21, 10, 4, {named("A", 1, "U[0:16]", 2), named("B", 2, "U[0:16] X[0:1]", 2)});
    check_table(behind, {"1 | A:10 | 3 | - | - | -", "2 | A:6 B:1 | 5 | A B | - | -",
                         "3 | A:1 B:1 | 6 | A B | A B | -"});
    CHECK(cached_tokens(run_engine(behind), 1) == 16);
  }
}

TEST_CASE("case 7: which blocks survive depends on the release order of the version", "[engine]") {
  EngineCase engine_case = small_case(
      9, 64, 4,
      {named("A", 1, "A[0:10]", 2), named("B", 4, "B[0:9]", 2), named("C", 7, "C[0:17]", 2),
       named("A2", 10, "A[0:10]", 2), named("B2", 13, "B[0:9]", 2)});
  SECTION("since 2026-06 blocks without a hash are reused first") {
    CHECK(first_steps(engine_case) == "10 9 17 6 5");
    check_table(engine_case,
                {"1 | A:10 | 3 | A | - | -", "2 | A:1 | 3 | A | A | -", "4 | B:9 | 3 | B | - | -",
                 "5 | B:1 | 3 | B | B | -", "7 | C:17 | 5 | C | - | -", "8 | C:1 | 5 | C | C | -",
                 "10 | A2:6 | 3 | A2 | - | -", "11 | A2:1 | 3 | A2 | A2 | -",
                 "13 | B2:5 | 3 | B2 | - | -", "14 | B2:1 | 3 | B2 | B2 | -"});
  }
  SECTION("v0.10 appends every block to the free list") {
    engine_case.engine.version = "0.10";
    CHECK(first_steps(engine_case) == "10 9 17 10 9");
  }
}

TEST_CASE("case 8: the admission gate keeps out what does not fit whole", "[engine]") {
  EngineCase engine_case = small_case(9, 8, 4, {fresh("A", 1, 12, 3), fresh("B", 1, 24, 2)});
  SECTION("on") {
    check_table(engine_case,
                {"1 | A:8 | 2 | - | - | -", "2 | A:4 | 3 | A | - | -", "3 | A:1 | 4 | A | - | -",
                 "4 | A:1 | 4 | A | A | -", "5 | B:8 | 2 | - | - | -", "6 | B:8 | 4 | - | - | -",
                 "7 | B:8 | 6 | B | - | -", "8 | B:1 | 7 | B | B | -"});
  }
  SECTION("off: the younger prefill preempts itself and finds 8 tokens cached") {
    engine_case.engine.scheduler_reserve_full_isl = false;
    check_table(engine_case,
                {"1 | A:8 | 2 | - | - | -", "2 | A:4 B:4 | 4 | A | - | -",
                 "3 | A:1 B:7 | 7 | A | - | -", "4 | A:1 | 4 | A | A | B",
                 "5 | B:8 | 4 | - | - | -", "6 | B:8 | 6 | B | - | -", "7 | B:1 | 7 | B | B | -"});
  }
}
