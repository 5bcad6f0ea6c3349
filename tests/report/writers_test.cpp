// The exact text of every writer on records and results made by hand.

#include <sstream>

#include "sim/report/decimal_text.h"
#include "sim/report/iterations_jsonl.h"
#include "sim/report/openmetrics.h"
#include "sim/report/perfetto_trace.h"
#include "sim/report/requests_csv.h"
#include "sim/report/summary_json.h"
#include "sim/report/terminal_summary.h"
#include "sim/report/timeseries_csv.h"
#include "tests/report/example_result.h"
#include "tests/report/scratch_folder.h"

#include "tests/catch.h"

using namespace fleetsim;
using Json = nlohmann::ordered_json;

namespace {

constexpr SimTime kMs = 1'000'000;

RecordNames names() {
  return {
      {"main", "spare, \"b\""}, {"default", "chat"}, {"A"}, {"qwen3-14b", "qwen3-14b"}, {99, 0}};
}

/// Arrived at 1 s, scheduled after 10 ms, first token after 50 ms, 5 tokens in 250 ms.
RequestRecord completed() {
  RequestRecord record;
  record.arrival = 1000 * kMs;
  record.first_scheduled = 1010 * kMs;
  record.first_token = 1050 * kMs;
  record.last_token = 1250 * kMs;
  record.id = 7;
  record.prompt_tokens = 100;
  record.output_tokens = 5;
  record.cached_tokens = 32;
  record.replica = 3;
  record.preemptions = 1;
  record.class_index = 1;
  record.pool = 0;
  record.status = RequestStatus::completed;
  return record;
}

std::string row(const RequestRecord& record) {
  fmt::memory_buffer out;
  append_request_row(out, record, names());
  return fmt::to_string(out);
}

std::string seconds(SimTime time) {
  fmt::memory_buffer out;
  append_seconds(out, time);
  return fmt::to_string(out);
}

std::vector<std::string> keys(const Json& json) {
  std::vector<std::string> list;
  for (const auto& [key, value] : json.items()) list.push_back(key);
  return list;
}

}  // namespace

TEST_CASE("clock times are written exactly to the nanosecond and without trailing zeros") {
  CHECK(seconds(0) == "0");
  CHECK(seconds(1) == "0.000000001");
  CHECK(seconds(1'500'000'000) == "1.5");
  CHECK(seconds(600 * kNanosecondsPerSecond) == "600");
  CHECK(seconds(-250 * kMs) == "-0.25");
  CHECK(seconds(123'456'789'012'345'678) == "123456789.012345678");
}

TEST_CASE("figures for people keep three digits and never round a meaning away") {
  CHECK(duration_text(2.9134) == "2.91 s");
  CHECK(duration_text(0.25) == "250 ms");
  CHECK(duration_text(12.4e-6) == "12.4 µs");
  CHECK(duration_text(0.9999) == "1 s");
  CHECK(duration_text(std::numeric_limits<double>::infinity()) == "not reached");
  CHECK(percent_text(0.973) == "97.3 %");
  CHECK(percent_text(1) == "100 %");
  CHECK(percent_text(0.99996) == "99.996 %");
  CHECK(percent_text(0.00002) == "0.002 %");
  CHECK(count_text(-1'234'567) == "-1,234,567");
  CHECK(number_text(1234.6) == "1,235");
  CHECK(money_text(0.0001304) == "$0.00013");
  CHECK(money_text(1750) == "$1,750");
  CHECK(bytes_text(1 << 30) == "1 GiB");
}

TEST_CASE("requests.csv has the contract's header and one row a request") {
  CHECK(std::string(kRequestsCsvHeader) ==
        "id,class,arrival_s,prompt_tokens,output_tokens,cached_tokens,pool,replica,queue_s,ttft_s,"
        "tpot_s,e2e_s,preemptions,status\n");
  CHECK(row(completed()) == "7,chat,1,100,5,32,main,3,0.01,0.05,0.05,0.25,1,completed\n");
}

TEST_CASE("a value that does not exist is an empty field in requests.csv") {
  RequestRecord hit;
  hit.arrival = 500 * kMs;
  hit.last_token = 520 * kMs;
  hit.status = RequestStatus::cache_hit;
  CHECK(row(hit) == "A,default,0.5,0,0,0,,,,,,0.02,0,cache_hit\n");
  RequestRecord one_token = completed();
  one_token.output_tokens = 1;
  one_token.last_token = one_token.first_token;
  CHECK(row(one_token) == "7,chat,1,100,1,32,main,3,0.01,0.05,,0.05,1,completed\n");
  RequestRecord timed_out = completed();
  timed_out.status = RequestStatus::timed_out;
  timed_out.pool = 1;
  CHECK(row(timed_out) == "7,chat,1,100,5,32,\"spare, \"\"b\"\"\",3,0.01,0.05,0.05,,1,timed_out\n");
}

TEST_CASE(
    "timeseries.csv gives rates per second, shares of the pool's KV blocks and power where known") {
  TimeseriesPoint point;
  point.start = 2 * kNanosecondsPerSecond;
  point.length = 2 * kNanosecondsPerSecond;
  point.arrivals = 10;
  point.completed = 8;
  point.output_tokens = 400;
  point.prompt_tokens = 1'000;
  point.iterations = 50;
  point.queue = 0.5;
  point.running = 3;
  point.kv_blocks_used = 49.5;
  point.busy = 0.75;
  point.replicas = 2;
  TimeseriesPoint unlimited = point;
  point.watts = 812.5;
  unlimited.pool = 1;
  CHECK(timeseries_csv({point, unlimited}, names()) ==
        std::string(kTimeseriesCsvHeader) +
            "2,2,main,10,8,0.5,3,49.5,0.5,0.75,500,200,50,2,812.5\n"
            "2,2,\"spare, \"\"b\"\"\",10,8,0.5,3,49.5,,0.75,500,200,50,2,\n");
}

TEST_CASE(
    "iterations.jsonl has the contract's keys in their order, and names where the scenario gives "
    "them") {
  const std::vector<ScheduledTokens> scheduled = {{0, 16, 0, true}, {5, 1, 20, false}};
  const std::vector<RequestId> preempted = {4}, finished = {0, 5};
  IterationRecord record;
  record.start = 25 * kMs;
  record.scheduled_at = 20 * kMs;
  record.duration = 10 * kMs;
  record.replica = 2;
  record.iteration = 9;
  record.scheduled = scheduled;
  record.preempted = preempted;
  record.finished = finished;
  record.kv_blocks_used = 12;
  record.waiting = 1;
  record.running = 2;
  fmt::memory_buffer out;
  append_iteration_line(out, record, names());
  const std::string line = fmt::to_string(out);
  CHECK(
      line ==
      R"({"t":0.025,"scheduled_at":0.02,"duration":0.01,"pool":"main","replica":2,"iteration":9,"scheduled":[)"
      R"({"id":"A","tokens":16,"context":0,"phase":"prefill"},{"id":5,"tokens":1,"context":20,"phase":"decode"}],)"
      R"("preempted":[4],"finished":["A",5],"kv_blocks_used":12,"waiting":1,"running":2})"
      "\n");
  const Json parsed = Json::parse(line);
  CHECK(parsed.at("scheduled").at(1).at("context") == 20);
  const Json header = Json::parse(iterations_header(example::scenario(), example::deployment()));
  CHECK(keys(header) ==
        std::vector<std::string>{"schema", "model", "precision", "block_size", "tp"});
  CHECK(header.at("schema") == "fleetsim.iterations/1");
}

TEST_CASE(
    "trace.json is valid JSON with a process a pool, a thread a replica and slices in "
    "microseconds") {
  ScratchFolder folder;
  const RecordNames all = names();
  OutputFile file(folder.path("trace.json"));
  PerfettoTrace trace(file, all);
  const std::vector<ScheduledTokens> scheduled = {{0, 16, 0, true}, {5, 1, 20, false}};
  IterationRecord iteration;
  iteration.start = 1'234'567;
  iteration.duration = 10 * kMs;
  iteration.replica = 2;
  iteration.scheduled = scheduled;
  trace.add(iteration);
  trace.add(completed());
  trace.finish();
  file.commit();
  const Json json = Json::parse(read_whole_file(folder.path("trace.json")));
  int slices = 0, begins = 0, ends = 0;
  for (const Json& event : json.at("traceEvents")) {
    if (event.at("ph") == "X") {
      ++slices;
      CHECK(event.at("name") == "mixed");
      CHECK(event.at("ts").get<double>() == Approx(1234.567));
      CHECK(event.at("dur").get<double>() == Approx(10'000));
      CHECK(event.at("tid") == 3);
    }
    begins += event.at("ph") == "b";
    ends += event.at("ph") == "e";
  }
  CHECK(slices == 1);
  CHECK(begins == 4);  // the request, its queue, prefill and decode
  CHECK(begins == ends);
}

TEST_CASE("metrics.prom counts what vLLM counts and every line is well formed") {
  const RecordNames all = names();
  OpenMetrics metrics(all);
  metrics.add(completed());
  RequestRecord late = completed();
  late.arrival += 20 * kNanosecondsPerSecond;
  late.first_scheduled += 20 * kNanosecondsPerSecond;
  late.first_token += 20 * kNanosecondsPerSecond;
  late.last_token += 20 * kNanosecondsPerSecond;
  metrics.add(late);
  TimeseriesPoint point;
  point.length = kNanosecondsPerSecond;
  point.running = 4;
  point.kv_blocks_used = 49.5;
  const std::string text = metrics.text({point});
  const auto has = [&](const std::string& line) {
    return text.find(line + "\n") != std::string::npos;
  };
  const std::string labels = "{model_name=\"qwen3-14b\",engine=\"main\"";
  CHECK(has("vllm:num_requests_running" + labels + "} 4 1"));
  CHECK(has("vllm:kv_cache_usage_perc" + labels + "} 0.5 1"));
  CHECK(has("vllm:prompt_tokens_total" + labels + "} 100 15"));
  CHECK(has("vllm:prompt_tokens_total" + labels + "} 200 30"));
  CHECK(has("vllm:prefix_cache_hits_total" + labels + "} 64 30"));
  CHECK(has("vllm:generation_tokens_total" + labels + "} 10 30"));
  CHECK(has("vllm:num_preemptions_total" + labels + "} 2 30"));
  CHECK(has("vllm:request_success_total" + labels + ",finished_reason=\"stop\"} 2 30"));
  CHECK(has("vllm:time_to_first_token_seconds_bucket" + labels + ",le=\"0.04\"} 0 30"));
  CHECK(has("vllm:time_to_first_token_seconds_bucket" + labels + ",le=\"0.06\"} 2 30"));
  CHECK(has("vllm:time_to_first_token_seconds_count" + labels + "} 2 30"));
  CHECK(has("vllm:inter_token_latency_seconds_bucket" + labels + ",le=\"+Inf\"} 8 30"));
  CHECK(has("vllm:e2e_request_latency_seconds_bucket" + labels + ",le=\"0.3\"} 1 15"));
  CHECK(text.substr(text.size() - 6) == "# EOF\n");
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    if (line[0] == '#') continue;
    const std::size_t brace = line.find('{'), close = line.find("} ");
    REQUIRE(brace != std::string::npos);
    REQUIRE(close != std::string::npos);
    CHECK(line.substr(0, brace).find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_:") ==
          std::string::npos);
    std::istringstream tail(line.substr(close + 2));
    double value = -1, time = -1;
    CHECK((tail >> value >> time));
    CHECK(tail.eof());
  }
}

TEST_CASE("a day of scrapes keeps its counts when their interval doubles") {
  const RecordNames all = names();
  OpenMetrics metrics(all);
  for (int second = 0; second < 86'400; second += 60) {
    RequestRecord record = completed();
    record.first_scheduled = record.first_token = record.last_token = record.arrival =
        second * kNanosecondsPerSecond;
    metrics.add(record);
  }
  const std::string text = metrics.text({});
  const std::string line =
      "vllm:request_success_total{model_name=\"qwen3-14b\",engine=\"main\",finished_reason="
      "\"stop\"} ";
  std::size_t count = 0, last = 0;
  for (std::size_t at = text.find(line); at != std::string::npos; at = text.find(line, at + 1)) {
    ++count;
    last = at;
  }
  CHECK(count <= OpenMetrics::kScrapesMax);
  CHECK(text.substr(last + line.size(), 5) == "1440 ");
}

TEST_CASE(
    "summary.json has the contract's sections in their order and reads back to the same text") {
  const Summary summary = example::result().summary;
  const RunIdentity identity{"chat", 1, "abc", "0.1.0"};
  const Json json = summary_json(summary, identity, WallSection{3.5, 280'000, 70'000'000});
  CHECK(keys(json) == std::vector<std::string>{"schema", "scenario", "requests", "tokens",
                                               "realised", "latency", "throughput", "slo", "fleet",
                                               "cost", "energy", "time_breakdown",
                                               "memory_breakdown", "pools", "saturated",
                                               "stopped_early", "latency_method", "wall"});
  CHECK(keys(json.at("time_breakdown")) ==
        std::vector<std::string>{"gemm", "attention", "communication", "elementwise",
                                 "host_overhead", "transfer", "idle"});
  CHECK(keys(json.at("energy")) == std::vector<std::string>{"joules_per_output_token",
                                                            "joules_per_request", "watts_per_gpu",
                                                            "joules"});
  CHECK(keys(json.at("slo")) == std::vector<std::string>{"attainment", "met", "window"});
  const std::string text = json_text(json);
  CHECK(json_text(Json::parse(text)) == text);
  CHECK(text.rfind("{\n  \"schema\": \"fleetsim.summary/1\",\n  \"scenario\": {\n    \"name\": "
                   "\"chat\",\n    \"seed\": 1,",
                   0) == 0);
  CHECK(json.at("latency").at("e2e").at("p50") == 1.31);
}

TEST_CASE(
    "a section that does not apply is absent from summary.json, and without wall it is the same "
    "every time") {
  Summary summary;
  const Json json = summary_json(summary, {"x", 1, "", "0.1.0"}, std::nullopt);
  for (const char* absent :
       {"slo", "cache", "cost", "energy", "time_breakdown", "memory_breakdown", "wall", "frontend"})
    CHECK_FALSE(json.contains(absent));
  CHECK(json.at("latency").empty());
}

TEST_CASE(
    "a percentile that misses reach is null in summary.json; several classes are all listed") {
  Summary summary = example::result().summary;
  summary.slo = {example::slo(2.5), example::slo(std::numeric_limits<double>::infinity())};
  summary.slo[1].class_name = "batch";
  const Json slo = summary_json(summary, {"x", 1, "", "0.1.0"}, std::nullopt).at("slo");
  CHECK(slo.at("met") == false);
  REQUIRE(slo.at("classes").size() == 2);
  CHECK(slo.at("classes").at(0).at("met") == true);
  CHECK(slo.at("classes").at(1).at("window").at("limits").at(0).at("worst_window_s").is_null());
}

TEST_CASE(
    "the terminal summary starts with the answer, fits a screen and has colour only when asked") {
  const auto data = example::document();
  const std::string plain = terminal_summary(data, {3.5, 280'000, 70'000'000}, false);
  CHECK(plain.rfind("300 × H100: SLO met in the worst minute", 0) == 0);
  CHECK(plain.find('\033') == std::string::npos);
  CHECK(std::count(plain.begin(), plain.end(), '\n') <= 30);
  CHECK(terminal_summary(data, {}, true).find("\033[1;32m") == 0);
}
