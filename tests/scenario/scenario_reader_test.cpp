// Good scenarios: what each spelling means, what is filled in, and that the echo says it all.

#include "sim/scenario/scenario_reader.h"

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "hw_models/sha256.h"

#include "tests/catch.h"

namespace fleetsim {
namespace {

const char* const kSmall = R"(
workload:
  arrivals: {process: poisson, rate: 10/s}
  prompt_tokens: {distribution: fixed, value: 100}
  output_tokens: {distribution: fixed, value: 10}
duration: 1min
model: qwen3-0.6b
fleet:
  pools:
    - gpu: h100
)";

// Every key that can stand beside the others, none at its default.
const char* const kFull = R"(
name: full
seed: 7
duration: 90s
warmup: 1500ms
drain: 2min
workload:
  arrivals: {process: gamma, rate: 120/min, peak_to_mean: 1.5, period: 1h, cv: 2.5}
  prompt_tokens: {distribution: uniform, min: 3, max: 9}
  output_tokens: {distribution: zipf, exponent: 1.1, max: 50}
  max_tokens: {distribution: geometric, mean: 60, max: 200}
  prefixes: {system_prompts: 3, tokens: 20, popularity: zipf, exponent: 0.7}
  sessions: {turns: {distribution: gamma, mean: 4, cv: 0.5}, think_time: 2s}
  timeout: 30s
  retry: {max: 2, backoff: 250ms}
  priority: 3
  response_cache: {hit_rate: 0.25, latency: 20ms}
  classes:
    - {name: chat, share: 2}
    - name: code
      model: qwen3-8b
      priority: -1
      timeout: 3s
      slo: {itl: 40ms, percentile: 99, window: 10s, include_cache_hits: true}
    - name: "steps, own"
      arrivals: {process: piecewise, steps: [{from: 0s, rate: 1/s}, {from: 1h, rate: 0/s}]}
    - name: states
      arrivals: {process: mmpp, states: [{rate: 1/s, mean_duration: 5s}, {rate: 0/s, mean_duration: 1us}]}
    - {name: burst, arrivals: {process: batch, requests: 10}}
    - {name: loop, arrivals: {process: closed, clients: 3, requests: 9, think_time: 1s}}
slo: {ttft: 500ms, tpot: 50ms, e2e: 3s}
model: qwen3-0.6b
precision: {weights: int4, activations: fp16, kv_cache: fp8}
fleet:
  pools:
    - name: small
      gpu: h200
      replicas: 4
      parallelism: {tp: 2}
      engine:
        version: "0.10"
        max_num_seqs: 12
        max_num_batched_tokens: 1024
        block_size: 32
        max_model_len: 4096
        num_gpu_blocks_override: 99
        kv_cache_memory_bytes: 1.5GiB
        gpu_memory_utilization: 0.85
        watermark: 0.01
        long_prefill_token_threshold: 64
        enable_prefix_caching: false
        async_scheduling: false
        scheduler_reserve_full_isl: false
        enable_chunked_prefill: false
        enforce_eager: true
        scheduling_policy: priority
    - {name: large, gpu: h100-sxm, model: qwen3-8b}
frontend: {network: 1ms, tokenize: {base: 2ms, per_token: 3us}, stream_interval: 4}
router: {policy: prefix-affinity, load_bound: 1.5}
cost: {usd_per_gpu_hour: {h200: 3.5, h100: 2.5}}
cost_model: {linear: {base: 5ms, per_token: 20us, per_context_token: 30ns}}
outputs: {requests: false, timeseries: false, iterations: true, perfetto: true, metrics: true, timeseries_interval: 2s}
)";

Scenario read(const std::string& text, const std::vector<std::string>& sets = {},
              const std::string& folder = "") {
  Problems problems;
  ReadOptions options;
  options.sets = sets;
  const auto scenario = read_scenario_text(text, "good.yaml", folder, options, problems);
  INFO(problems.text());
  REQUIRE(scenario.has_value());
  return *scenario;
}

std::string with(std::string text, const std::string& old, const std::string& by) {
  const std::size_t at = text.find(old);
  REQUIRE(at != std::string::npos);
  return text.replace(at, old.size(), by);
}

std::string file_text(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// A folder of its own for a test, gone afterwards.
struct Folder {
  std::filesystem::path path;
  explicit Folder(const std::string& name)
      : path(std::filesystem::temp_directory_path() / ("fleetsim_scenario_" + name)) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path / "data");
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

}  // namespace

TEST_CASE("what a scenario leaves out has the struct's defaults", "[unit]") {
  const Scenario s = read(kSmall);
  CHECK(s.name == "good");  // from the file
  CHECK(s.seed == 1);
  CHECK(s.warmup == 0);
  CHECK_FALSE(s.drain.has_value());
  CHECK_FALSE(s.slo.has_value());
  REQUIRE(s.pools.size() == 1);
  CHECK(s.pools[0].name == "main");
  CHECK(s.pools[0].replicas == 1);
  CHECK(s.pools[0].gpu == "h100-sxm");  // the short form, made canonical
  CHECK(s.pools[0].parallelism.tp == 1);
  CHECK_FALSE(s.pools[0].engine.max_num_seqs.has_value());
  CHECK(s.pools[0].engine.scheduler == "vllm-v1");
  REQUIRE(s.workload.classes.size() == 1);
  CHECK(s.workload.classes[0].name == "default");
  CHECK(s.workload.classes[0].retry.backoff == kNanosecondsPerSecond);
  CHECK(s.precision.weights == NumberFormat::bf16);
  CHECK(s.cost_model.kind == CostModel::Kind::automatic);
  CHECK(s.outputs.requests);
  CHECK_FALSE(s.usd_per_gpu_hour.has_value());
}

TEST_CASE("every key fills its value", "[unit]") {
  const Scenario s = read(kFull);
  CHECK(s.name == "full");
  CHECK(s.seed == 7);
  CHECK(*s.duration == 90 * kNanosecondsPerSecond);
  CHECK(s.warmup == 1'500'000'000);
  CHECK(*s.drain == 120 * kNanosecondsPerSecond);
  const Arrivals& a = *s.workload.arrivals;
  CHECK(a.process == Arrivals::Process::gamma);
  CHECK(a.rate_per_s == 2);
  CHECK(a.peak_to_mean == 1.5);
  CHECK(a.period == 3600 * kNanosecondsPerSecond);
  CHECK(a.cv == 2.5);
  CHECK(s.workload.response_cache.hit_rate == 0.25);
  CHECK(s.workload.response_cache.latency == 20'000'000);
  REQUIRE(s.workload.classes.size() == 6);
  const WorkloadClass& steps = s.workload.classes[2];
  CHECK(steps.name == "steps, own");
  REQUIRE(steps.arrivals->steps.size() == 2);
  CHECK(steps.arrivals->steps[1].from == 3600 * kNanosecondsPerSecond);
  REQUIRE(s.workload.classes[3].arrivals->states.size() == 2);
  CHECK(s.workload.classes[3].arrivals->states[1].mean_duration == 1000);
  CHECK(s.workload.classes[4].arrivals->requests == 10);
  CHECK(s.workload.classes[5].arrivals->clients == 3);
  CHECK(*s.slo->ttft == 500'000'000);
  CHECK_FALSE(s.slo->itl.has_value());
  CHECK(s.precision.weights == NumberFormat::int4);
  CHECK(s.precision.kv_cache == NumberFormat::fp8);
  REQUIRE(s.pools.size() == 2);
  const EngineSettings& e = s.pools[0].engine;
  CHECK(e.version == "0.10");
  CHECK(*e.max_num_seqs == 12);
  CHECK(*e.max_num_batched_tokens == 1024);
  CHECK(*e.block_size == 32);
  CHECK(*e.max_model_len == 4096);
  CHECK(*e.num_gpu_blocks_override == 99);
  CHECK(e.kv_cache_memory_bytes->value == 1610612736);
  CHECK(*e.gpu_memory_utilization == 0.85);
  CHECK(*e.watermark == 0.01);
  CHECK(*e.long_prefill_token_threshold == 64);
  CHECK_FALSE(*e.enable_prefix_caching);
  CHECK_FALSE(*e.async_scheduling);
  CHECK_FALSE(*e.scheduler_reserve_full_isl);
  CHECK_FALSE(*e.enable_chunked_prefill);
  CHECK(*e.enforce_eager);
  CHECK(e.scheduling_policy == EngineSettings::SchedulingPolicy::priority);
  CHECK(s.pools[1].model == "qwen3-8b");
  CHECK(s.frontend.network == 1'000'000);
  CHECK(s.frontend.tokenize_base == 2'000'000);
  CHECK(s.frontend.tokenize_per_token == 3'000);
  CHECK(s.frontend.stream_interval == 4);
  CHECK(s.router.policy == "prefix-affinity");
  CHECK(s.router.load_bound == 1.5);
  CHECK(s.usd_per_gpu_hour_by_gpu.at("h200-sxm") == 3.5);
  CHECK(s.usd_per_gpu_hour_by_gpu.at("h100-sxm") == 2.5);
  CHECK(s.cost_model.kind == CostModel::Kind::linear);
  CHECK(s.cost_model.linear_base == 5'000'000);
  CHECK(s.cost_model.linear_per_token.value == 0.00002);
  CHECK(s.cost_model.linear_per_context_token.value == 0.00000003);
  CHECK(s.outputs.iterations);
  CHECK_FALSE(s.outputs.requests);
  CHECK(s.outputs.timeseries_interval == 2 * kNanosecondsPerSecond);
}

TEST_CASE("a class inherits exactly the workload's keys that it does not give", "[unit]") {
  const Scenario s = read(kFull);
  const WorkloadClass& chat = s.workload.classes[0];
  const WorkloadClass& code = s.workload.classes[1];
  CHECK(chat.share == 2);
  CHECK(chat.priority == 3);
  CHECK(*chat.timeout == 30 * kNanosecondsPerSecond);
  CHECK(chat.prompt_tokens.kind == LengthDistribution::Kind::uniform);
  CHECK(*chat.prompt_tokens.max == 9);
  CHECK(chat.prefixes.tokens == 20);
  CHECK(chat.sessions.turns->mean == 4);
  CHECK(chat.retry.max == 2);
  CHECK(code.priority == -1);
  CHECK(*code.timeout == 3 * kNanosecondsPerSecond);
  CHECK(code.model == "qwen3-8b");
  CHECK(*code.slo->itl == 40'000'000);
  CHECK(code.slo->percentile == 99);
  CHECK(code.max_tokens->mean == 60);
  // A section that is given replaces the inherited one, it does not mix with it.
  const Scenario t =
      read(with(kFull, "{name: chat, share: 2}",
                "{name: chat, prefixes: {system_prompts: 1, tokens: 5}, retry: {max: 9}}"));
  CHECK(t.workload.classes[0].prefixes.popularity == Prefixes::Popularity::uniform);
  CHECK(t.workload.classes[0].prefixes.exponent == 1);
  CHECK(t.workload.classes[0].retry.backoff == kNanosecondsPerSecond);
  CHECK(t.workload.classes[1].prefixes.tokens == 20);
}

TEST_CASE("reading the echo gives the same scenario", "[unit]") {
  const char* const requests = R"(
workload:
  requests:
    - {id: A, arrival: 0s, prompt_tokens: 10, output_tokens: 4}
    - {id: "B b", arrival: 25ms, prompt: "S[0:8]  T[0:3]", output_tokens: 3, max_tokens: 10, priority: 1, accepted_drafts: []}
  timeout: 4s
model: qwen3-0.6b
fleet: {pools: [{gpu: h100}]}
cost_model: {fixed: {iteration: 10ms}}
cost: {usd_per_gpu_hour: 2}
)";
  for (const std::string& text : {std::string(kSmall), std::string(kFull), std::string(requests)}) {
    const Scenario first = read(text);
    const std::string echo = resolved_scenario_yaml(first);
    const Scenario second = read(echo);
    CHECK(resolved_scenario_yaml(second) == echo);
    CHECK(second.sha256 == first.sha256);
    CHECK(first.sha256 == sha256_hex(echo));
  }
  const Scenario full = read(resolved_scenario_yaml(read(kFull)));
  CHECK(full.workload.classes[2].name == "steps, own");
  CHECK(full.cost_model.linear_per_token.value == 0.00002);
  const Scenario written = read(resolved_scenario_yaml(read(requests)));
  REQUIRE(written.workload.requests.size() == 2);
  CHECK(written.workload.requests[1].id == "B b");
  REQUIRE(written.workload.requests[1].prompt.size() == 2);
  CHECK(written.workload.requests[1].prompt[1].stream == "T");
  CHECK(written.workload.requests[1].prompt[1].to == 3);
  CHECK(*written.workload.requests[1].max_tokens == 10);
  CHECK(written.workload.requests[1].arrival == 25'000'000);
  CHECK(*written.workload.classes[0].timeout == 4 * kNanosecondsPerSecond);
}

TEST_CASE("what a scenario means decides its hash, not how it is spelt", "[unit]") {
  const Scenario plain = read(kSmall);
  CHECK(read(with(kSmall, "10/s", "600/min")).sha256 == plain.sha256);
  CHECK(read(with(kSmall, "h100", "h100-sxm")).sha256 == plain.sha256);
  CHECK(read(std::string("# a comment\n") + kSmall).sha256 == plain.sha256);
  CHECK(read(with(kSmall, "10/s", "11/s")).sha256 != plain.sha256);
  CHECK(read(kSmall, {"seed=2"}).sha256 != plain.sha256);
}

TEST_CASE("--set overrides any key and finds list items by name or index", "[unit]") {
  const Scenario s = read(kFull, {"fleet.pools.large.replicas=200", "fleet.pools.0.replicas=7",
                                  "workload.classes.chat.timeout=3s", "duration=2h", "drain=1s",
                                  "router={policy: random}", "workload.classes.code.retry.max=5",
                                  "fleet.pools.large.engine.max_num_seqs=9", "duration=3h"});
  CHECK(s.pools[1].replicas == 200);
  CHECK(s.pools[0].replicas == 7);
  CHECK(*s.workload.classes[0].timeout == 3 * kNanosecondsPerSecond);
  CHECK(*s.duration == 3 * 3600 * kNanosecondsPerSecond);  // the last one wins
  CHECK(s.router.policy == "random");
  CHECK(s.router.load_bound == 1.25);
  CHECK(s.workload.classes[1].retry.max == 5);
  CHECK(*s.pools[1].engine.max_num_seqs == 9);
  CHECK(read(kSmall, {"fleet.pools.main.replicas=3"}).pools[0].replicas ==
        3);  // an unnamed pool is main
}

TEST_CASE("an engine's own flags stand for vLLM's names", "[unit]") {
  const Scenario s =
      read(with(kSmall, "- gpu: h100",
                "- gpu: h100\n      engine: {page_size: 8, chunked_prefill_size: 512, "
                "schedule_policy: priority, mem_fraction_static: 0.8, max_running_requests: 3, "
                "context_length: 99}"));
  const EngineSettings& e = s.pools[0].engine;
  CHECK(*e.block_size == 8);
  CHECK(*e.max_num_batched_tokens == 512);
  CHECK(e.scheduling_policy == EngineSettings::SchedulingPolicy::priority);
  CHECK(*e.gpu_memory_utilization == 0.8);
  CHECK(*e.max_num_seqs == 3);
  CHECK(*e.max_model_len == 99);
}

TEST_CASE("a law may stand just inside its limits", "[unit]") {
  const char* const law = "prompt_tokens: {distribution: fixed, value: 100}";
  CHECK(read(with(kSmall, law, "prompt_tokens: {distribution: lognormal, mean: 100, p95: 386}"))
            .workload.classes[0]
            .prompt_tokens.p95 == 386);
  CHECK(read(with(kSmall, law, "prompt_tokens: {distribution: lognormal, mean: 100, p95: 100}"))
            .workload.classes[0]
            .prompt_tokens.p95 == 100);
  CHECK(*read(with(kSmall, law, "prompt_tokens: {distribution: uniform, min: 3, max: 3}"))
             .workload.classes[0]
             .prompt_tokens.max == 3);
}

TEST_CASE("files are looked up beside the scenario, then in the data folder", "[unit]") {
  const Folder folder("lookup");
  const std::string data = (folder.path / "data").string();
  std::ofstream(folder.path / "here.csv") << "arrival_s,prompt_tokens,output_tokens\n";
  std::ofstream(folder.path / "data" / "there.csv") << "arrival_s,prompt_tokens,output_tokens\n";
  std::ofstream(folder.path / "data" / "here.csv") << "not this one\n";
  const std::string text = with(with(with(kSmall, "{process: poisson, rate: 10/s}",
                                          "{process: trace, format: csv, path: NAME}"),
                                     "  prompt_tokens: {distribution: fixed, value: 100}\n", ""),
                                "  output_tokens: {distribution: fixed, value: 10}\n", "");
  std::ofstream(folder.path / "s.yaml") << with(text, "NAME", "here.csv");
  ReadOptions options;
  options.data_dir = data;
  Problems problems;
  const auto beside = read_scenario((folder.path / "s.yaml").string(), options, problems);
  INFO(problems.text());
  REQUIRE(beside.has_value());
  CHECK(beside->workload.arrivals->path == (folder.path / "here.csv").string());
  const std::string there = with(text, "NAME", "there.csv");
  const auto second = read_scenario_text(there, "s.yaml", folder.path.string(), options, problems);
  REQUIRE(second.has_value());
  CHECK(second->workload.arrivals->path == data + "/there.csv");
  // The hash speaks of the path as written: it is the same on every machine.
  CHECK(resolved_scenario_yaml(*second).find("path: there.csv") != std::string::npos);
  CHECK(resolved_scenario_yaml(*second).find(data) == std::string::npos);
  CHECK_FALSE(read_scenario_text(with(text, "NAME", "gone.csv"), "s.yaml", folder.path.string(),
                                 options, problems)
                  .has_value());
  CHECK(problems.text() == "s.yaml:3:49: error: file 'gone.csv' not found; looked for " +
                               (folder.path / "gone.csv").string() + " and " + data +
                               "/gone.csv\n");
}

TEST_CASE("a scenario file that cannot be read is one problem", "[unit]") {
  const Folder folder("unreadable");
  Problems missing, directory;
  CHECK_FALSE(read_scenario("no/such.yaml", {}, missing).has_value());
  CHECK(missing.text() == "no/such.yaml: error: no such file\n");
  CHECK_FALSE(read_scenario(folder.path.string(), {}, directory).has_value());
  CHECK(directory.text() == folder.path.string() + ": error: not a readable file\n");
}

TEST_CASE("later faults find their key's place or the nearest parent's", "[unit]") {
  const Scenario s = read(kFull, {"fleet.pools.large.replicas=5"});
  Problems problems;
  s.source.report(problems, "fleet.pools.0.engine.block_size", "a");
  s.source.report(problems, "fleet.pools.1.engine.block_size", "b");
  s.source.report(problems, "fleet.pools.1.replicas", "c");
  s.source.report(problems, "nowhere.at.all", "d");
  CHECK(problems.text() ==
        "good.yaml: error: d\n"
        "good.yaml:44:21: error: a\n"
        "good.yaml:57:7: error: b\n"
        "--set fleet.pools.large.replicas=5: error: c\n");
}

TEST_CASE("the scenarios that come with the project are good and say what they ask", "[unit]") {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(FLEETSIM_SOURCE_DIR "/scenarios")) {
    if (entry.path().extension() != ".yaml") continue;
    ++count;
    INFO(entry.path().string());
    Problems problems;
    const auto scenario = read_scenario(entry.path().string(), {}, problems);
    CHECK(problems.text() == "");
    REQUIRE(scenario.has_value());
    CHECK(scenario->name == entry.path().stem().string());
    const std::string text = file_text(entry.path());
    CHECK(text.front() == '#');
    CHECK(text.substr(0, text.find("\nname:")).find('?') != std::string::npos);
  }
  CHECK(count >= 11);
}

TEST_CASE("the pinned scenario holds product.md's values, and its variant differs in one",
          "[unit]") {
  Problems problems;
  const std::string folder = FLEETSIM_SOURCE_DIR "/scenarios/";
  auto plain = read_scenario(folder + "chat-2k-rps.yaml", {}, problems);
  auto cached = read_scenario(folder + "chat-2k-rps-prefix-cache.yaml", {}, problems);
  REQUIRE(plain.has_value());
  REQUIRE(cached.has_value());
  CHECK(plain->sha256 == "728d0046f192ce7f1833175d16e9551fd74fad75baf86f2bdcc140e5eede2cf4");
  CHECK(*cached->pools[0].engine.enable_prefix_caching);
  cached->pools[0].engine.enable_prefix_caching = false;
  cached->name = plain->name;
  CHECK(resolved_scenario_yaml(*cached) == resolved_scenario_yaml(*plain));
}

TEST_CASE("mutated bytes of a scenario give a scenario or problems, never a crash", "[unit]") {
  const std::string original = file_text(FLEETSIM_SOURCE_DIR "/scenarios/chat-2k-rps.yaml");
  REQUIRE(original.size() > 1000);
  std::mt19937_64 random(20260801);
  const std::string alphabet = "{}[]:,-#&*!|>'\"%@`\n\t 0123456789.eE/smhGiBx\xff\x00\xc3";
  int good = 0, bad = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string text = original;
    const int changes = 1 + static_cast<int>(random() % 4);
    for (int c = 0; c < changes; ++c) {
      const std::size_t at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = alphabet[random() % alphabet.size()];
          break;
        case 1:
          text.insert(at, 1, alphabet[random() % alphabet.size()]);
          break;
        case 2:
          text.erase(at, 1 + random() % 20);
          break;
        default:
          text.insert(at, text.substr(random() % text.size(), random() % 40));
          break;
      }
    }
    Problems problems;
    const auto scenario = read_scenario_text(text, "m.yaml", "", {}, problems);
    INFO("mutation " << i << "\n" << text);
    REQUIRE(scenario.has_value() == problems.empty());
    for (const Problem& problem : problems.sorted())
      REQUIRE(problem.message.find('\n') == std::string::npos);
    ++(scenario ? good : bad);
  }
  // Both must happen, or the mutations test nothing.
  CHECK(good > 100);
  CHECK(bad > 1000);
}

}  // namespace fleetsim
