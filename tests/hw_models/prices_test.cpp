// The price file: what comes with the program, and the user's faults in an own one.

#include "hw_models/prices.h"

#include "hw_models/gpu_spec.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

std::string faults_of(const std::string& text) {
  Problems problems;
  read_prices(text, "my.yaml", problems);
  return problems.text();  // every line ends
}

const std::string kHead = "schema: fleetsim.prices/1\ndate: 2026-10-01\nusd_per_gpu_hour:\n";

}  // namespace

TEST_CASE("the built-in prices are dated, sourced, and inside the range of their lists", "[unit]") {
  const PriceList& list = built_in_prices();
  CHECK(list.date.size() == 10);
  CHECK(list.by_gpu.size() >= 5);
  for (const auto& [gpu, price] : list.by_gpu) {
    INFO(gpu);
    CHECK(find_gpu(gpu) != nullptr);
    CHECK(price.usd_per_hour > 0.1);
    CHECK(price.source.size() > 5);
  }
  REQUIRE(list.find("h100-sxm") != nullptr);
  CHECK(list.find("h100-sxm")->usd_per_hour == 2.95);
  CHECK(list.find("a10") == nullptr);
}

TEST_CASE("the printed price file reads back as the built-in one", "[unit]") {
  Problems problems;
  const PriceList again = read_prices(built_in_prices_yaml(), "copy.yaml", problems);
  CHECK(problems.empty());
  CHECK(again.date == built_in_prices().date);
  CHECK(again.by_gpu.size() == built_in_prices().by_gpu.size());
}

TEST_CASE("an own price file may give bare numbers and short names of GPUs", "[unit]") {
  Problems problems;
  const PriceList list = read_prices(kHead + "  h200: 3.1\n  4090: {value: 0.4}\n", "x", problems);
  REQUIRE(problems.empty());
  CHECK(list.find("h200-sxm")->usd_per_hour == 3.1);
  CHECK(list.find("rtx4090")->usd_per_hour == 0.4);
  CHECK(list.date == "2026-10-01");
}

TEST_CASE("faults of a price file are all named with their place", "[unit]") {
  CHECK(faults_of(kHead + "  h201: 3\n  h100: cheap\n") ==
        "my.yaml:4:3: error: unknown GPU 'h201'\n"
        "my.yaml:5:9: error: a price is a number of US dollars, 0 or more\n");
  CHECK(faults_of(kHead + "  h100: 3\n  h100-sxm: 4\n") ==
        "my.yaml:5:3: error: h100-sxm has two prices\n");
  CHECK(faults_of(kHead + "  h100: {value: 3, low: 4}\n") ==
        "my.yaml:4:9: error: a price lies between its low and its high\n");
  CHECK(faults_of(kHead + "  h100: {value: 3, hihg: 4}\n") ==
        "my.yaml:4:20: error: unknown key 'hihg'; did you mean 'high'?\n");
  CHECK(faults_of(kHead + "  h100: -1\n") ==
        "my.yaml:4:9: error: a price is a number of US dollars, 0 or more\n");
  CHECK(faults_of("schema: fleetsim.prices/2\ndate: May\nusd_per_gpu_hour: {}\n") ==
        "my.yaml:1:9: error: schema must be fleetsim.prices/1\n"
        "my.yaml:2:7: error: date is a day such as 2026-05-31\n");
  CHECK(faults_of("date: 2026-05-31\nusd_per_gpu_hour: {}\n") ==
        "my.yaml:1:1: error: 'schema' is missing\n");
  CHECK(faults_of("").find("a price file is a map") != std::string::npos);
}
