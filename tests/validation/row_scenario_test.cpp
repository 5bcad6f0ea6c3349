// What becomes of a row: its scope, and the scenario that a user could have written.

#include "sim/validation/row_scenario.h"

#include <string>

#include "sim/validation/service_prediction.h"

#include "tests/catch.h"

namespace fleetsim {
namespace {

ServiceRow closed_row() {
  ServiceRow row;
  row.row_id = "made-up";
  row.source = "inferencex";
  row.gpu = "h100";
  row.engine = "vllm";
  row.version = "0.10.2";
  row.precision = "fp8";
  row.kv_format = "fp8";
  row.model = "llama-3.3-70b";
  row.length_spread = "uniform 0.8-1.0 of isl/osl";
  row.load = "closed";
  row.speculation = "off";
  row.gpus = 2;
  row.tp = row.ep = row.pp = 2;
  row.pp = row.ep = 1;
  row.prompt_tokens = 1024;
  row.output_tokens = 1024;
  row.clients = 16;
  return row;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("a closed loop asks ten requests a client, with lengths from 0.8 L to L") {
  const RowScenario scenario = row_scenario(closed_row(), false);
  CHECK(scenario.scope == RowScope::simulated);
  INFO(scenario.yaml);
  CHECK(has(scenario.yaml, "{process: closed, clients: 16, requests: 160}"));
  CHECK(has(scenario.yaml, "{distribution: uniform, min: 819, max: 1024}"));
  CHECK(has(scenario.yaml, "max_num_seqs: 16"));
  CHECK(has(scenario.yaml, "max_num_batched_tokens: 8192"));
  CHECK(has(scenario.yaml, "kv_cache: fp8"));
  CHECK(has(scenario.yaml, "enable_prefix_caching: false"));
}

TEST_CASE("the scenario of a row runs as it stands") {
  ServiceRow row = closed_row();
  row.clients = 2;
  row.output_tokens = 20;
  const ServicePrediction prediction = predict_service(row_scenario(row, false).yaml, "made-up");
  CHECK(prediction.refused == "");
  CHECK(prediction.ttft_mean_s > 0);
  CHECK(prediction.tpot_mean_s > 0);
  CHECK(prediction.iteration_s > 0);
}

TEST_CASE("a row that no engine here can run is named, not simulated") {
  ServiceRow row = closed_row();
  row.engine = "sglang";
  CHECK(row_scenario(row, false).scope == RowScope::other_engine);
  CHECK(row_scenario(row, false).yaml == "");
  row = closed_row();
  row.speculation = "mtp";
  CHECK(row_scenario(row, false).scope == RowScope::other_engine);
  row = closed_row();
  row.data_parallel_attention = true;
  CHECK(row_scenario(row, false).scope == RowScope::other_engine);
  row = closed_row();
  row.gpus = 16;
  CHECK(row_scenario(row, false).scope == RowScope::not_one_node);
}

TEST_CASE(
    "a row without a version is simulated under the newest rules of its day, and scored apart") {
  ServiceRow row = closed_row();
  row.version = "";
  row.measured_on = "2025-11-02";
  const RowScenario scenario = row_scenario(row, false);
  CHECK(scenario.scope == RowScope::assumed);
  CHECK(scenario.reason != "");
  CHECK(has(scenario.yaml, "version: \"2025-11-02\""));
  CHECK_FALSE(scenario.assumptions.empty());
}

TEST_CASE("an open loop takes its stage's rate, and the whole run both stages") {
  ServiceRow row = closed_row();
  row.source = "vllm-openloop";
  row.version = "0.15.1";
  row.load = "poisson";
  row.length_spread = "";
  row.precision = "FP16";
  row.model = "meta-llama/Llama-3.1-8B-Instruct";
  row.workload = "general";
  row.clients.reset();
  row.stage = "1";
  CHECK(has(row_scenario(row, false).yaml, "{process: constant, rate: 20/s}"));
  row.stage = "all";
  CHECK(has(row_scenario(row, false).yaml, "{from: 600s, rate: 20/s}"));
  CHECK(has(row_scenario(row, false).yaml, "model: llama-3.1-8b\n"));
  CHECK(row_scenario(row, true).scope == RowScope::repeat);
}

TEST_CASE("a scenario that cannot be priced is refused with a reason") {
  ServiceRow row = closed_row();
  row.model = "no-such-model";
  const ServicePrediction prediction = predict_service(row_scenario(row, false).yaml, "made-up");
  CHECK(has(prediction.refused, "no-such-model"));
}

TEST_CASE("predictions do not depend on the number of threads") {
  std::vector<NamedScenario> scenarios;
  for (const std::int64_t clients : {1, 3, 5, 7}) {
    ServiceRow row = closed_row();
    row.clients = clients;
    row.output_tokens = 30;
    scenarios.push_back({"made-up", row_scenario(row, false).yaml});
  }
  const auto one = predict_services(scenarios, 1);
  const auto four = predict_services(scenarios, 4);
  REQUIRE(one.size() == four.size());
  for (std::size_t i = 0; i < one.size(); ++i) {
    CHECK(one[i].ttft_mean_s == four[i].ttft_mean_s);
    CHECK(one[i].tpot_mean_s == four[i].tpot_mean_s);
    CHECK(one[i].ttft_mean_s != one[(i + 1) % one.size()].ttft_mean_s);
  }
}

}  // namespace
}  // namespace fleetsim
