// The page, the JSON and the terminal say the same figures; the page needs nothing from outside.

#include "sim/breakdown/breakdown_page.h"

#include <nlohmann/json.hpp>

#include "sim/breakdown/breakdown_charts.h"
#include "sim/breakdown/breakdown_json.h"
#include "sim/breakdown/breakdown_text.h"
#include "sim/breakdown/headline.h"
#include "sim/report/chart_spec.h"
#include "tests/breakdown/taken_apart.h"

#include "tests/catch.h"

using namespace fleetsim;
using example::take_apart;
using example::TakenApart;

namespace {

std::size_t count_of(const std::string& text, const std::string& word) {
  std::size_t count = 0;
  for (std::size_t at = text.find(word); at != std::string::npos;
       at = text.find(word, at + word.size()))
    ++count;
  return count;
}

const std::vector<std::string> kTwoGpus = {"fleet.pools.main.parallelism.tp=2"};

}  // namespace

TEST_CASE("the page is one file without any outside reference, the same on every run",
          "[breakdown]") {
  const TakenApart apart = take_apart({16, 1024, 1024}, kTwoGpus);
  REQUIRE(apart.faults.empty());
  const std::string page = breakdown_html(apart.breakdown);
  const std::string libraries =
      plot_file("vega.min.js") + plot_file("vega-lite.min.js") + plot_file("vega-embed.min.js");
  for (const char* outside : {" src=", "<link rel=\"stylesheet\"", "@import", "url(", "{{"})
    CHECK(count_of(page, outside) == count_of(libraries, outside));
  const auto charts = breakdown_charts(apart.breakdown);
  CHECK(charts.size() == 7);
  for (const BreakdownChart& chart : charts)
    CHECK(count_of(page, "data-chart=\"" + chart.name + "\"") == 1);
  CHECK(page.find("16,060,522,496") == std::string::npos);  // of two GPUs each has its half
  CHECK(page == breakdown_html(take_apart({16, 1024, 1024}, kTwoGpus).breakdown));
}

TEST_CASE("every point of the roofline plot lies under its roof", "[breakdown]") {
  const TakenApart apart = take_apart({16, 1024, 8192});
  REQUIRE(apart.faults.empty());
  std::size_t points = 0;
  for (const BreakdownChart& chart : breakdown_charts(apart.breakdown)) {
    if (chart.name != "roofline") continue;
    for (const auto& point : chart.spec.at("datasets").at("points")) {
      ++points;
      const double intensity = point.at("intensity").get<double>();
      CHECK(point.at("rate").get<double>() <= std::min(989e12, 3350e9 * intensity) * 1.0001);
    }
  }
  CHECK(points >= 10);
}

TEST_CASE("the JSON holds the whole answer in bytes, seconds and FLOPs", "[breakdown]") {
  const TakenApart apart = take_apart({16, 1024, 1024});
  REQUIRE(apart.faults.empty());
  const auto json = breakdown_json(apart.breakdown);
  CHECK(json.at("schema") == "fleetsim.breakdown/1");
  const auto& memory = json.at("memory_per_gpu");
  std::int64_t sum = 0;
  for (const char* part :
       {"weights", "kv_cache", "activations", "cuda_graphs", "non_torch", "free"})
    sum += memory.at(part).get<std::int64_t>();
  CHECK(sum == memory.at("total").get<std::int64_t>());
  for (const char* phase : {"prefill", "decode"}) {
    double seconds = 0;
    for (const auto& one : json.at(phase).at("operators")) {
      seconds += one.at("time_s").get<double>();
      CHECK_FALSE(one.at("source").get<std::string>().empty());
    }
    CHECK(std::abs(seconds / json.at(phase).at("time_s").get<double>() - 1) < 1e-9);
  }
  CHECK(json.at("request").at("kv_bytes_per_gpu") == 1024 * 131'072);
  CHECK(json.dump() == breakdown_json(take_apart({16, 1024, 1024}).breakdown).dump());
}

TEST_CASE("the terminal shows one screen, and every operator when asked", "[breakdown]") {
  const TakenApart apart = take_apart({16, 1024, 1024});
  REQUIRE(apart.faults.empty());
  const std::string overview = breakdown_text(apart.breakdown, {});
  CHECK(count_of(overview, "\n") <= 55);
  CHECK(overview.find("1,610,612,736") != std::string::npos);  // qkv projection
  CHECK(overview.find("\033[") == std::string::npos);
  const std::string all = breakdown_text(apart.breakdown, {true, false});
  for (const OperatorShare& one : apart.breakdown.decode.operators)
    CHECK(all.find("  " + one.cost.name + " ") != std::string::npos);
  CHECK(all.find("compute-bound") != std::string::npos);
}

TEST_CASE("sizes and counts are short for people", "[breakdown]") {
  CHECK(size_text(0) == "0 B");
  CHECK(size_text(4096) == "4 KiB");
  CHECK(size_text(131072) == "128 KiB");
  CHECK(size_text(1.5 * 1024 * 1024 * 1024) == "1.5 GiB");
  CHECK(si_text(13.96e9) == "14 G");
  CHECK(si_text(1.02e15) == "1.02 P");
  CHECK(si_text(12) == "12 ");
}
