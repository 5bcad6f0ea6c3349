// Prices that a scenario leaves out come from the price file, and say so.

#include "sim/fleet/default_prices.h"

#include "hw_models/gpu_spec.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

Deployment two_pools() {
  Deployment deployment;
  for (const char* gpu : {"h100-sxm", "a10"}) {
    PoolDeployment pool;
    pool.gpu = find_gpu(gpu);
    deployment.pools.push_back(pool);
  }
  return deployment;
}

PriceList list_of(const std::string& prices) {
  Problems problems;
  PriceList list =
      read_prices("schema: fleetsim.prices/1\ndate: 2026-10-01\nusd_per_gpu_hour: " + prices,
                  "my.yaml", problems);
  REQUIRE(problems.text() == "");
  return list;
}

}  // namespace

TEST_CASE("a pool without a price takes the file's and its notes name file, day and range",
          "[unit]") {
  Deployment deployment = two_pools();
  price_by_list(deployment, list_of("{h100: {value: 3, low: 2, high: 6, source: quote}}"));
  CHECK(deployment.pools[0].priced);
  CHECK(deployment.pools[0].usd_per_gpu_hour == 3);
  CHECK(deployment.pools[0].notes ==
        std::vector<std::string>{"h100-sxm: $3 an hour, from my.yaml of 2026-10-01, lists from $2 "
                                 "to $6 (quote); the scenario states none "
                                 "(cost.usd_per_gpu_hour)"});
}

TEST_CASE("a GPU that the file does not price stays without a cost, and its notes say so",
          "[unit]") {
  Deployment deployment = two_pools();
  price_by_list(deployment, list_of("{h100: 3}"));
  CHECK_FALSE(deployment.pools[1].priced);
  REQUIRE(deployment.pools[1].notes.size() == 1);
  CHECK(deployment.pools[1].notes[0].find("a10: neither the scenario") == 0);
}

TEST_CASE("the scenario's own price wins over the file's", "[unit]") {
  Deployment deployment = two_pools();
  deployment.pools[0].priced = true;
  deployment.pools[0].usd_per_gpu_hour = 1.5;
  price_by_list(deployment, list_of("{h100: 3}"));
  CHECK(deployment.pools[0].usd_per_gpu_hour == 1.5);
  CHECK(deployment.pools[0].notes.empty());
}
