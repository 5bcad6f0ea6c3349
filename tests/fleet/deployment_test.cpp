// What a scenario becomes before it runs: what fits, what the engine's version means, and the words
// for what does not.

#include "sim/fleet/deployment.h"

#include <filesystem>

#include "sim/fleet/router.h"
#include "sim/scenario/scenario_reader.h"
#include "tests/fleet/scenario_run.h"

#include "tests/catch.h"

using namespace fleetsim;
using namespace fleetsim::test;

namespace {

std::string one_pool(const std::string& model, const std::string& pool) {
  return "workload:\n  requests:\n    - {id: A, arrival: 0s, prompt_tokens: 4, output_tokens: 2}\n"
         "model: " +
         model + "\nfleet:\n  pools:\n    - " + pool + "\n";
}

// The problems of reading and deploying, and nothing else.
std::string faults(const std::string& yaml) {
  ReadOptions options;
  options.known_router_policies = router_names();
  Problems problems;
  const auto scenario = read_scenario_text(yaml, "test.yaml", "", options, problems);
  REQUIRE(problems.text() == "");
  deploy(*scenario, problems);
  return problems.text();
}

EngineRules rules_of(const std::string& gpu, const std::string& engine = "") {
  const ReadyScenario made =
      ready(one_pool("qwen3-0.6b", "{gpu: " + gpu + ", engine: {" + engine + "}}"));
  return made.deployment.pools.at(0).rules;
}

}  // namespace

TEST_CASE("a model that does not fit says how many bytes are missing and what would fit",
          "[deployment]") {
  const std::string yaml = one_pool("llama-3.1-70b", "{gpu: h100-sxm}");
  CHECK(faults(yaml) ==
        "test.yaml:7:13: error: llama-3.1-70b does not fit: 69306207806 bytes are missing on each "
        "h100-sxm; "
        "weights 141.14 GB, activations 5.12 GB, CUDA graphs 1.24 GB and others 0.02 GB leave no "
        "room for KV "
        "blocks in 78.23 GB (0.92 of 85.03 GB); would fit: tp: 2, or precision.weights: int4, or "
        "gpu: b200-sxm\n");
  // What is said to fit does fit.
  CHECK(faults(one_pool("llama-3.1-70b",
                        "{gpu: h100-sxm, parallelism: {tp: 4}, engine: {max_model_len: 8192}}")) ==
        "");
  CHECK(faults(one_pool("llama-3.1-70b", "{gpu: b200-sxm, engine: {max_model_len: 8192}}")) == "");
}

TEST_CASE("a pool of overridden blocks beyond the memory says how many fit", "[deployment]") {
  const auto text = [](const std::string& blocks) {
    return faults(one_pool("qwen3-14b",
                           "{gpu: h100-sxm, engine: {num_gpu_blocks_override: " + blocks + "}}"));
  };
  CHECK(text("900000") ==
        "test.yaml:7:13: error: num_gpu_blocks_override 900000 needs 2310449101968 bytes more than "
        "each "
        "h100-sxm has; 18633 blocks fit; nothing in the catalogue would fit\n");
  CHECK(text("18633") == "");
  CHECK(text("18634") != "");
}

TEST_CASE("a sequence of max_model_len beyond the pool is refused with the longest that fits",
          "[deployment]") {
  const auto text = [](const std::string& longest) {
    return faults(one_pool("llama-3.1-8b", "{gpu: a10, engine: {max_model_len: " + longest + "}}"));
  };
  CHECK(text("131072") ==
        "test.yaml:7:42: error: one sequence of max_model_len 131072 tokens needs 8192 KV blocks "
        "and the pool "
        "has 2004; set max_model_len to at most 32064\n");
  CHECK(text("32064") == "");
  CHECK(text("32065") != "");
}

TEST_CASE("versions: unknown, outside what is known, and options that came later", "[deployment]") {
  const auto text = [](const std::string& engine) {
    return faults(one_pool("qwen3-0.6b", "{gpu: h100-sxm, engine: {" + engine + "}}"));
  };
  CHECK(text("version: \"0.9.5\"") ==
        "test.yaml:7:41: error: unknown version '0.9.5'; give a release from 0.10 to 0.19.0 or a "
        "date such as \"2026-08\"\n");
  CHECK(text("version: \"2027-01\"") ==
        "test.yaml:7:41: error: version '2027-01' lies outside the rules that are known, 0.10 "
        "(2025-07-24) to 2026-08\n");
  CHECK(text("version: \"0.10\", scheduler_reserve_full_isl: true") ==
        "test.yaml:7:77: error: scheduler_reserve_full_isl came on 2026-03-24; version '0.10' is "
        "older\n");
  CHECK(text("version: \"0.10\", scheduler_reserve_full_isl: false") == "");
  CHECK(text("version: \"2026-06-10\", watermark: 0.01") ==
        "test.yaml:7:66: error: watermark came on 2026-06-11; version '2026-06-10' is older\n");
  CHECK(text("version: \"2026-06-11\", watermark: 0.01") == "");
  CHECK(text("max_num_seqs: 64, max_num_batched_tokens: 32") ==
        "test.yaml:7:46: error: max_num_seqs (64) is larger than max_num_batched_tokens (32)\n");
  CHECK(text("enable_chunked_prefill: false, max_num_batched_tokens: 512") ==
        "test.yaml:7:87: error: without chunked prefill max_num_batched_tokens (512) must be at "
        "least max_model_len (40960)\n");
}

TEST_CASE("defaults follow the GPU's memory class and the version", "[deployment]") {
  // engine-semantics 1.1: seats and token budget of a server.
  struct Row {
    const char* gpu;
    std::int64_t seats, tokens;
  };
  for (const Row& row :
       {Row{"b200-sxm", 1024, 16384}, Row{"h100-sxm", 1024, 8192}, Row{"h200-sxm", 1024, 8192},
        Row{"a100-80gb-sxm", 256, 2048}, Row{"l40s", 256, 2048}, Row{"a10", 256, 2048},
        Row{"rtx4090", 256, 2048}}) {
    INFO(row.gpu);
    const EngineRules rules = rules_of(row.gpu, "max_model_len: 8192");
    CHECK(rules.max_num_seqs == row.seats);
    CHECK(rules.max_num_batched_tokens == row.tokens);
  }
  const EngineRules now = rules_of("h100-sxm");
  CHECK(now.version == "2026-08");
  CHECK(now.block_size == 16);
  CHECK(now.gpu_memory_utilization == 0.92);
  CHECK(now.enable_prefix_caching);
  CHECK(now.enable_chunked_prefill);
  CHECK(now.async_scheduling);
  CHECK(now.reserve_full_isl);
  CHECK(now.unhashed_blocks_first);
  CHECK(now.graphs_inside_budget);
  CHECK(now.preempted_victim_is_unscheduled);
  CHECK_FALSE(now.priority_policy);
  CHECK(now.watermark == 0);
  CHECK(now.long_prefill_token_threshold == 0);
  CHECK(now.max_model_len == 40960);

  const EngineRules then = rules_of("h100-sxm", "version: \"0.10\"");
  CHECK(then.gpu_memory_utilization == 0.9);
  CHECK_FALSE(then.async_scheduling);
  CHECK_FALSE(then.reserve_full_isl);
  CHECK_FALSE(then.unhashed_blocks_first);
  CHECK_FALSE(then.graphs_inside_budget);
  CHECK_FALSE(then.preempted_victim_is_unscheduled);
}

TEST_CASE("each dated rule begins on its day", "[deployment]") {
  const auto on = [](const std::string& day) {
    return rules_of("h100-sxm", "version: \"" + day + "\"");
  };
  CHECK_FALSE(on("2025-12-28").async_scheduling);
  CHECK(on("2025-12-29").async_scheduling);
  CHECK_FALSE(on("2026-03-23").reserve_full_isl);
  CHECK(on("2026-03-24").reserve_full_isl);
  CHECK(on("2026-03-31").gpu_memory_utilization == 0.9);
  CHECK(on("2026-04-01").gpu_memory_utilization == 0.92);
  CHECK_FALSE(on("2026-05").unhashed_blocks_first);
  CHECK(on("2026-06").unhashed_blocks_first);
}

TEST_CASE("defaults are bounded by each other as in the engine", "[deployment]") {
  // min(8192, max_num_seqs * max_model_len) tokens, then no more seats than tokens.
  CHECK(rules_of("h100-sxm", "max_num_seqs: 4, max_model_len: 512").max_num_batched_tokens == 2048);
  CHECK(rules_of("h100-sxm", "max_num_batched_tokens: 300").max_num_seqs == 300);
  // Without chunked prefill the budget holds a whole prompt.
  CHECK(rules_of("a10", "enable_chunked_prefill: false, max_model_len: 9000")
            .max_num_batched_tokens == 9000);
}

TEST_CASE("CUDA graphs are captured for the sizes of each version", "[deployment]") {
  const auto sum_up = [](const std::vector<std::int64_t>& sizes) {
    std::string text;
    for (const std::int64_t size : sizes) text += (text.empty() ? "" : " ") + std::to_string(size);
    return text;
  };
  // 2026-08: 1, 2, 4, steps of 8 below 256, steps of 16 from there; min(2 seats, 512, budget).
  CHECK(sum_up(capture_sizes(20260831, 16, 8192, false)) == "1 2 4 8 16 24 32");
  CHECK(sum_up(capture_sizes(20260831, 4, 8192, false)) == "1 2 4 8");
  CHECK(sum_up(capture_sizes(20260831, 1, 8192, false)) == "1 2");
  const auto now = capture_sizes(20260831, 1024, 8192, false);
  CHECK(now.size() == 3 + 31 + 17);  // 51, as vLLM logs it
  CHECK(now.back() == 512);
  CHECK(std::vector<std::int64_t>(now.begin() + 32, now.begin() + 37) ==
        std::vector<std::int64_t>{240, 248, 256, 272, 288});
  const auto blackwell = capture_sizes(20260831, 1024, 8192, true);
  CHECK(blackwell.back() == 1024);
  CHECK(blackwell.size() == 3 + 31 + 49);
  // The budget is captured itself where it is the bound.
  CHECK(sum_up(capture_sizes(20260831, 256, 30, false)) == "1 2 4 8 16 24 30");
  // v0.10: steps of 8 up to min(2 seats, 512).
  const auto then = capture_sizes(20250724, 1024, 8192, true);
  CHECK(then.size() == 3 + 64);
  CHECK(then.back() == 512);
  CHECK(std::vector<std::int64_t>(then.end() - 3, then.end()) ==
        std::vector<std::int64_t>{496, 504, 512});
  CHECK(rules_of("h100-sxm", "enforce_eager: true").capture_sizes.empty());
  CHECK(rules_of("b200-sxm").capture_sizes.back() == 1024);
  CHECK(rules_of("rtx5090").capture_sizes.back() == 512);
}

TEST_CASE("the headline scenario deploys: 300 replicas whose pool follows from the memory",
          "[deployment]") {
  const std::string path = std::string(FLEETSIM_SOURCE_DIR) + "/scenarios/chat-2k-rps.yaml";
  ReadOptions options;
  options.known_router_policies = router_names();
  Problems problems;
  const auto scenario = read_scenario(path, options, problems);
  REQUIRE(problems.text() == "");
  const Deployment deployment = deploy(*scenario, problems);
  REQUIRE(problems.text() == "");
  REQUIRE(deployment.pools.size() == 1);
  const PoolDeployment& pool = deployment.pools.front();
  CHECK(pool.replicas == 300);
  CHECK(pool.gpus_per_replica == 1);
  CHECK(pool.rules.max_num_seqs == 256);
  CHECK_FALSE(pool.rules.enable_prefix_caching);
  CHECK(pool.rules.num_gpu_blocks == pool.memory.blocks);
  CHECK(pool.memory.blocks == pool.memory.kv_cache.value / pool.memory.block_bytes.value);
  // Qwen3-14B in bf16: 2 x 40 layers x 8 heads x 128 x 2 bytes a token; weights 29.5 GB of 90 % of
  // 80 GiB.
  CHECK(pool.memory.block_bytes.value == 2 * 40 * 8 * 128 * 2 * 16);
  CHECK(pool.memory.weights.value == Approx(29.5e9).epsilon(0.01));
  CHECK(pool.memory.missing.value == 0);
  CHECK(pool.priced);
  CHECK(pool.usd_per_gpu_hour == 2.5);
  CHECK(pool.step_time->kind() == "calibrated");
}

TEST_CASE("pipeline stages can be taken apart, not simulated", "[deployment]") {
  const std::string two = one_pool("llama-3.1-70b",
                                   "{gpu: h100-sxm, parallelism: {tp: 2, pp: 4}, engine: "
                                   "{max_model_len: 8192}}");
  CHECK(faults(two) ==
        "test.yaml:7:48: error: 'pp' above 1 is not simulated yet; fleetsim breakdown prices a "
        "stage\n");
  Problems problems;
  const auto scenario = read_scenario_text(two, "test.yaml", "", ReadOptions{}, problems);
  const Deployment staged = deploy(*scenario, problems, DeployFor::breakdown);
  REQUIRE(problems.text() == "");
  const PoolDeployment& pool = staged.pools.front();
  CHECK(pool.model.layers == 20);
  CHECK(pool.gpus_per_replica == 8);
  // A quarter of the layers' weights on two GPUs, with embedding, head and rotary table.
  const ModelSpec& whole = *find_model("llama-3.1-70b");
  const double layers = static_cast<double>(whole.parameters()) - 2.0 * 128256 * 8192;
  CHECK(static_cast<double>(pool.memory.weights.value) ==
        Approx((layers / 4 + 2.0 * 128256 * 8192) * 2 / 2).epsilon(0.003));
  BatchShape decode;
  decode.tokens = decode.sampled_rows = decode.decode_requests = 16;
  decode.decode_context = decode.decode_window_context = 16 * 1000;
  const StepTime one(whole, *pool.gpu, {}, 2, LaunchRules{}, 64, find_fitted("h100-sxm"));
  const StepTime stage(pool.model, *pool.gpu, {}, {2, 1, 4}, LaunchRules{}, 64,
                       find_fitted("h100-sxm"));
  const double share =
      stage.group_time(CostGroup::gemm, 16, 0).value / one.group_time(CostGroup::gemm, 16, 0).value;
  CHECK(share == Approx(0.25));
  CHECK(stage.explain(decode).size() == one.explain(decode).size() + 1);  // the send
}

TEST_CASE("every scenario that comes with the project deploys", "[deployment]") {
  int deployed = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(FLEETSIM_SOURCE_DIR) + "/scenarios")) {
    if (entry.path().extension() != ".yaml") continue;
    INFO(entry.path().string());
    ReadOptions options;
    options.known_router_policies = router_names();
    options.data_dir = std::string(FLEETSIM_SOURCE_DIR) + "/scenarios/traces";
    Problems problems;
    const auto scenario = read_scenario(entry.path().string(), options, problems);
    CHECK(problems.text() == "");
    if (!scenario) continue;
    CHECK(deploy(*scenario, problems).pools.size() == scenario->pools.size());
    CHECK(problems.text() == "");
    ++deployed;
  }
  CHECK(deployed >= 10);
}

TEST_CASE("a class whose model no pool serves is refused", "[deployment]") {
  ReadyScenario made = ready(one_pool("qwen3-0.6b", "{gpu: h100-sxm}"));
  WorkloadClass other;
  other.name = "other";
  other.model = "qwen3-8b";
  made.scenario.workload.classes = {other};
  Problems problems;
  deploy(made.scenario, problems);
  CHECK(problems.text().find("class 'other' asks for model 'qwen3-8b', which no pool serves") !=
        std::string::npos);
}
