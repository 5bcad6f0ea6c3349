// The public traces, where they are at hand, give the published figures exactly; the synthetic ones
// that come with the project stand in everywhere.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_set>
#include <vector>

#include "sim/workload/stream_ids.h"
#include "sim/workload/workload.h"
#include "tests/workload/trace_files.h"

#include "tests/catch.h"

using namespace fleetsim;
using Format = Arrivals::TraceFormat;

namespace {

std::vector<Request> replay(const std::string& path, Format format, double rate_scale = 1) {
  Scenario scenario;
  Arrivals& arrivals = scenario.workload.arrivals.emplace();
  arrivals.process = Arrivals::Process::trace;
  arrivals.format = format;
  arrivals.path = path;
  arrivals.rate_scale = rate_scale;
  scenario.workload.classes.emplace_back();
  RequestSource source(scenario, 1);
  std::vector<Request> requests;
  while (source.next_arrival() != kNever) source.take(requests.emplace_back());
  REQUIRE(source.end_of_arrivals() == requests.back().arrival);
  return requests;
}

/// Percentile by linear interpolation.
double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double place = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const double above = values[std::min(below + 1, values.size() - 1)];
  return values[below] + (place - static_cast<double>(below)) * (above - values[below]);
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// One row of the table in the data set's own description.
std::string azure_row(const std::vector<Request>& requests, const char* generated_mean) {
  std::vector<double> prompt, output, gaps;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    prompt.push_back(requests[i].prompt_tokens);
    output.push_back(requests[i].output_tokens);
    if (i > 0) gaps.push_back(to_seconds(requests[i].arrival - requests[i - 1].arrival).value);
  }
  const double mean = mean_of(gaps);
  double squares = 0;
  for (const double gap : gaps) squares += (gap - mean) * (gap - mean);
  const double cv = std::sqrt(squares / static_cast<double>(gaps.size())) / mean;
  const double span = to_seconds(requests.back().arrival).value;
  return fmt::format(
      "{} | {:.0f} | {:.2f} | {:.0f} / {:.0f} / {:.0f} | {} / {:.0f} / {:.0f} | {:.3g}",
      requests.size(), span, static_cast<double>(requests.size()) / span, mean_of(prompt),
      percentile(prompt, 0.5), percentile(prompt, 0.99),
      fmt::format(fmt::runtime(generated_mean), mean_of(output)), percentile(output, 0.5),
      percentile(output, 0.99), cv);
}

struct BlockCount {
  std::int64_t hits = 0, blocks = 0, distinct = 0;
  std::string rate() const {
    return fmt::format("{:.1f} %", 100 * static_cast<double>(hits) / static_cast<double>(blocks));
  }
};

/// Leading 512-token blocks of each prompt already seen in an earlier one, from the requests'
/// streams.
BlockCount count_blocks(const std::vector<Request>& requests) {
  std::unordered_set<StreamId> seen;
  BlockCount count;
  for (const Request& request : requests) {
    bool leading = true;
    std::int32_t covered = 0;
    for (const Stretch& stretch : request.prompt) {
      REQUIRE(stream_kind(stretch.stream) == StreamKind::trace_block);
      REQUIRE(stretch.from == 0);
      covered += stretch.length();
      REQUIRE(stretch.length() ==
              (covered == request.prompt_tokens ? (covered - 1) % 512 + 1 : 512));
      leading = leading && seen.contains(stretch.stream);
      count.hits += leading ? 1 : 0;
      ++count.blocks;
    }
    REQUIRE(covered == request.prompt_tokens);
    for (const Stretch& stretch : request.prompt) seen.insert(stretch.stream);
  }
  count.distinct = static_cast<std::int64_t>(seen.size());
  return count;
}

double mean_output(const std::vector<Request>& requests) {
  double sum = 0;
  for (const Request& request : requests) sum += request.output_tokens;
  return sum / static_cast<double>(requests.size());
}
double mean_prompt(const std::vector<Request>& requests) {
  double sum = 0;
  for (const Request& request : requests) sum += request.prompt_tokens;
  return sum / static_cast<double>(requests.size());
}

}  // namespace

TEST_CASE("the Azure traces reproduce their published table", "[data]") {
  const auto code = test::public_file("azure_llm_2023/AzureLLMInferenceTrace_code.csv.gz");
  const auto conv = test::public_file("azure_llm_2023/AzureLLMInferenceTrace_conv.csv.gz");
  if (!code || !conv) {
    WARN("skipped: the Azure traces are not at hand");
    return;
  }
  REQUIRE(azure_row(replay(*code, Format::azure), "{:.1f}") ==
          "8819 | 3436 | 2.57 | 2048 / 1469 / 7436 | 27.9 / 13 / 251 | 13.2");
  REQUIRE(azure_row(replay(*conv, Format::azure), "{:.0f}") ==
          "19366 | 3502 | 5.53 | 1155 / 1020 / 4142 | 211 / 129 / 601 | 1.09");
}

TEST_CASE("the Mooncake traces reproduce their hit rates with an infinite cache", "[data]") {
  const auto conversation = test::public_file("mooncake/conversation_trace.jsonl.gz");
  const auto synthetic = test::public_file("mooncake/synthetic_trace.jsonl.gz");
  if (!conversation || !synthetic) {
    WARN("skipped: the Mooncake traces are not at hand");
    return;
  }
  const auto row = [](const std::vector<Request>& requests) {
    const BlockCount count = count_blocks(requests);
    return fmt::format("{} | {:.0f} s | {:.0f} | {:.0f} | {} | {}", requests.size(),
                       to_seconds(requests.back().arrival).value, mean_prompt(requests),
                       mean_output(requests), count.distinct, count.rate());
  };
  REQUIRE(row(replay(*conversation, Format::mooncake)) ==
          "12031 | 3537 s | 12035 | 343 | 182790 | 36.6 %");
  REQUIRE(row(replay(*synthetic, Format::mooncake)) ==
          "3993 | 1022 s | 15325 | 149 | 43924 | 64.0 %");
}

TEST_CASE("the synthetic Azure traces are shaped like the public ones", "[data]") {
  const auto code =
      replay(test::project_file("scenarios/traces/azure_code_synthetic.csv.gz"), Format::azure);
  const auto conv =
      replay(test::project_file("scenarios/traces/azure_conv_synthetic.csv.gz"), Format::azure);
  REQUIRE(azure_row(code, "{:.1f}") ==
          "1500 | 461 | 3.25 | 1687 / 1246 / 6890 | 25.9 / 16 / 151 | 5.33");
  REQUIRE(azure_row(conv, "{:.0f}") ==
          "2000 | 359 | 5.57 | 1136 / 762 / 5832 | 208 / 160 / 801 | 1.09");
}

TEST_CASE("the synthetic Mooncake trace repeats a third of its blocks", "[data]") {
  const auto requests =
      replay(test::project_file("scenarios/traces/mooncake_synthetic.jsonl.gz"), Format::mooncake);
  const BlockCount count = count_blocks(requests);
  REQUIRE(requests.size() == 432);
  REQUIRE(count.hits == 2749);
  REQUIRE(count.blocks == 8449);
  REQUIRE(count.distinct == 5700);
}

TEST_CASE("the synthetic BurstGPT and plain traces replay", "[data]") {
  const auto burst =
      replay(test::project_file("scenarios/traces/burstgpt_synthetic.csv.gz"), Format::burstgpt);
  REQUIRE(burst.size() == 1600 - 45);
  REQUIRE(burst.front().arrival == 0);
  Scenario scenario;
  Arrivals& arrivals = scenario.workload.arrivals.emplace();
  arrivals.process = Arrivals::Process::trace;
  arrivals.path = test::project_file("scenarios/traces/plain_synthetic.csv");
  for (const char* name : {"embed", "code", "chat"})
    scenario.workload.classes.emplace_back().name = name;
  RequestSource source(scenario, 1);
  int embeds = 0, chats = 0;
  Request request;
  while (source.next_arrival() != kNever) {
    source.take(request);
    std::int32_t covered = 0;
    for (const Stretch& stretch : request.prompt) covered += stretch.length();
    REQUIRE(covered == request.prompt_tokens);
    REQUIRE((request.class_index == 2) == (request.session != 0));
    REQUIRE((request.class_index == 0) == (request.output_tokens == 0));
    REQUIRE(request.priority == (request.class_index == 0 ? 5 : request.class_index == 1 ? -1 : 0));
    embeds += request.class_index == 0 ? 1 : 0;
    chats += request.class_index == 2 ? 1 : 0;
  }
  REQUIRE(embeds + chats < 400);
  REQUIRE(embeds > 20);
  REQUIRE(chats > 200);
}

TEST_CASE("rate_scale squeezes a trace without changing it", "[unit]") {
  const std::string path = test::project_file("scenarios/traces/azure_conv_synthetic.csv.gz");
  const auto plain = replay(path, Format::azure), fast = replay(path, Format::azure, 4);
  REQUIRE(plain.size() == fast.size());
  for (std::size_t i = 0; i < plain.size(); ++i) {
    REQUIRE(std::llabs(fast[i].arrival * 4 - plain[i].arrival) <= 2);
    REQUIRE(fast[i].prompt_tokens == plain[i].prompt_tokens);
  }
}
