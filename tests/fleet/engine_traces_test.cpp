// Recorded runs of the real vLLM scheduler (shared data, not part of a clone): every step, every
// token, every block count, in both ways of advancing.

#include <zlib.h>

#include <cstdlib>
#include <filesystem>

#include "tests/fleet/engine_run.h"

#include "tests/catch.h"

using namespace fleetsim;
using namespace fleetsim::test;
using nlohmann::json;

namespace {

std::filesystem::path data_folder() {
  if (const char* folder = std::getenv("FLEETSIM_DATA")) return folder;
  return std::filesystem::path(FLEETSIM_SOURCE_DIR) / "../shared/data";
}

std::vector<json> read_cases(const std::filesystem::path& path) {
  std::vector<json> cases;
  gzFile file = gzopen(path.c_str(), "rb");
  REQUIRE(file != nullptr);
  std::string text;
  std::vector<char> buffer(1 << 20);
  for (int got; (got = gzread(file, buffer.data(), static_cast<unsigned>(buffer.size()))) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  gzclose(file);
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    if (end > start) cases.push_back(json::parse(text.substr(start, end - start)));
    start = end + 1;
  }
  return cases;
}

EngineCase engine_case_of(const json& record) {
  EngineCase engine_case;
  const json& config = record["config"];
  EngineSettings& engine = engine_case.engine;
  engine.version = record["version"];
  engine.block_size = config["block_size"];
  engine.num_gpu_blocks_override = config["num_gpu_blocks_override"];
  engine.max_num_batched_tokens = config["max_num_batched_tokens"];
  engine.max_num_seqs = config["max_num_seqs"];
  engine.max_model_len = config["max_model_len"];
  engine.enable_prefix_caching = config["enable_prefix_caching"].get<bool>();
  engine.async_scheduling = config.value("async_scheduling", false);
  engine.long_prefill_token_threshold = config.value("long_prefill_token_threshold", 0);
  if (config.contains("watermark")) engine.watermark = config["watermark"].get<double>();
  if (config.contains("scheduler_reserve_full_isl")) {
    engine.scheduler_reserve_full_isl = config["scheduler_reserve_full_isl"].get<bool>();
  }
  if (config.value("scheduling_policy", "fcfs") == "priority") {
    engine.scheduling_policy = EngineSettings::SchedulingPolicy::priority;
  }
  for (const json& entry : record["requests"]) {
    WrittenRequest request;
    request.id = entry["id"];
    request.arrival = entry["arrival_ms"].get<std::int64_t>() * kMillisecond;
    request.prompt_tokens = entry.value("prompt_tokens", 0);
    if (entry.contains("prompt")) request.prompt = stretches(entry["prompt"]);
    request.output_tokens = entry["output_tokens"];
    if (entry.contains("max_tokens")) request.max_tokens = entry["max_tokens"].get<std::int64_t>();
    request.priority = entry.value("priority", 0);
    engine_case.requests.push_back(request);
  }
  return engine_case;
}

json ids_and_tokens(const json& line) {
  json list = json::array();
  for (const json& entry : line["scheduled"]) list.push_back({entry["id"], entry["tokens"]});
  return list;
}

std::int64_t milliseconds(const json& seconds) { return std::llround(seconds.get<double>() * 1e3); }

// The first difference between a record and what we did, or "".
std::string difference(const json& record, const EngineRun& run) {
  const json& steps = record["steps"];
  for (std::size_t i = 0; i < std::max(steps.size(), run.lines.size()); ++i) {
    const std::string where = "step " + std::to_string(i + 1) + ": ";
    if (i >= run.lines.size()) return where + "missing; recorded " + steps[i].dump();
    if (i >= steps.size()) return where + "not recorded; ours " + run.lines[i].dump();
    const json& step = steps[i];
    const json& line = run.lines[i];
    json preempted = step.value("preempted_before", json::array());
    for (const json& id : step["preempted"]) preempted.push_back(id);
    const std::int64_t scheduled_at = step.value("t_sched_ms", step["t_ms"].get<std::int64_t>());
    bool cached_right = true;
    for (const auto& [id, cached] : step["cached"].items()) {
      for (const json& entry : line["scheduled"]) {
        if (entry["id"] == id) cached_right = cached_right && entry["context"] == cached;
      }
    }
    const bool same = step["scheduled"] == ids_and_tokens(line) && preempted == line["preempted"] &&
                      step["finished"] == line["finished"] &&
                      step["kv_blocks_used"] == line["kv_blocks_used"] &&
                      step["waiting"] == line["waiting"] && step["running"] == line["running"] &&
                      step["t_ms"] == milliseconds(line["t"]) &&
                      scheduled_at == milliseconds(line["scheduled_at"]) && cached_right;
    if (!same) return where + "recorded " + step.dump() + "\n    ours " + line.dump();
  }
  for (const RequestRecord& request : run.requests) {
    const json& expected =
        record["result"][record["requests"][request.id]["id"].get<std::string>()];
    if (expected["outputs"] != request.output_tokens ||
        expected["cached_tokens"] != request.cached_tokens ||
        expected["preemptions"] != request.preemptions) {
      return "request " + std::to_string(request.id) + ": recorded " + expected.dump();
    }
  }
  return run.requests.size() == record["requests"].size() ? "" : "requests are missing";
}

void replay(const std::string& file, std::size_t expected_cases) {
  const std::filesystem::path path = data_folder() / "engine_traces" / file;
  if (!std::filesystem::exists(path)) {
    WARN("skipped: " << path << " is not here");
    return;
  }
  std::size_t replayed = 0, wrong = 0;
  std::int64_t stepped_events = 0, ahead_events = 0;
  for (const json& record : read_cases(path)) {
    if (record["config"].contains("speculative")) continue;
    ++replayed;
    const EngineCase engine_case = engine_case_of(record);
    const EngineRun stepped = run_engine(engine_case, {.enabled = false});
    const EngineRun ahead = run_engine(engine_case, {.enabled = true});
    stepped_events += stepped.result.events_popped;
    ahead_events += ahead.result.events_popped;
    for (const EngineRun* run : {&stepped, &ahead}) {
      const std::string found = difference(record, *run);
      if (found.empty()) continue;
      ++wrong;
      UNSCOPED_INFO(record["case"] << (run == &ahead ? " (run ahead)" : "") << ": " << found);
      if (wrong > 5) FAIL("more than five runs differ");
    }
  }
  CHECK(wrong == 0);
  CHECK(replayed == expected_cases);
  CHECK(ahead_events < stepped_events);
}

}  // namespace

TEST_CASE("every recorded step of vLLM's scheduler of 2026-08 is reproduced", "[fleet][trace]") {
  replay("vllm_v1_2026-08.jsonl.gz", 477);
}

TEST_CASE("every recorded step of vLLM's scheduler of v0.10 is reproduced", "[fleet][trace]") {
  replay("vllm_v1_0.10.jsonl.gz", 97);
}
