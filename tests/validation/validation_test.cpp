// The whole command on a folder of made-up measurements: read, simulate, score, write, judge.

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "sim/validation/gates.h"
#include "sim/validation/service_validation.h"
#include "sim/validation/validation_json.h"
#include "sim/validation/validation_page.h"
#include "sim/validation/validation_text.h"
#include "tests/report/scratch_folder.h"

#include "tests/catch.h"

namespace fleetsim {
namespace {

constexpr const char* kHeader =
    "row_id,source,gpu,n_gpus,tp,pp,ep,dp_attn,engine,version,precision,kv_dtype,model,isl,osl,"
    "len_spread,load,concurrency,rate_rps,total_out_tok_s,out_tok_s_per_gpu,ttft_ms,ttft_stat,"
    "tpot_ms,tpot_stat,ttft_p99_ms,tpot_p99_ms,e2e_ms,spec_decode,measured_on,notes\n";
constexpr const char* kOpenHeader =
    "exp_id,set,gpu,tp,precision,model,workload,isl_mean,osl_mean,stage,rate_rps,"
    "max_num_batched_tokens,gpu_mem_util,cpu_offload,ttft_mean_ms,ttft_p90_ms,ttft_p99_ms,"
    "itl_mean_ms,e2e_mean_ms,e2e_p90_ms,e2e_p99_ms\n";

void write(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

/// Three rows of one class, one of another engine, one of a model that nobody knows.
void write_data(const std::string& folder, const std::string& extra = "") {
  std::string rows = kHeader;
  for (const int clients : {2, 4, 8})
    rows += fmt::format(
        "r{0},inferencex,h100,2,2,1,1,0,vllm,0.10.2,fp8,fp8,llama-3.3-70b,256,64,uniform 0.8-1.0 "
        "of isl/osl,closed,{0},,,,100,unstated,20,unstated,,,,off,2025-10-29,\n",
        clients);
  rows +=
      "s1,inferencex,h100,2,2,1,1,0,sglang,0.5,fp8,fp8,llama-3.3-70b,256,64,fixed,closed,2,,,,"
      "100,unstated,20,unstated,,,,off,2025-10-29,\"a note, with a comma\"\n";
  rows +=
      "u1,inferencex,h100,2,2,1,1,0,vllm,0.10.2,fp8,fp8,no-such-model,256,64,fixed,closed,2,,,,"
      "100,unstated,20,unstated,,,,off,2025-10-29,\n";
  write(folder + "/e2e/e2e.csv", rows + extra);
  write(folder + "/e2e/vllm_openloop.csv", kOpenHeader);
}

Validation validated(const std::string& folder) {
  Problems problems;
  Validation validation;
  validation.services = validate_services(folder, {}, 2, problems);
  REQUIRE(problems.text() == "");
  return validation;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("rows are scored by class, refused ones and other engines are counted") {
  const ScratchFolder folder;
  const std::string scratch = folder.path("data");
  write_data(scratch);
  const Validation validation = validated(scratch);
  const ServiceValidation& services = *validation.services;
  REQUIRE(services.classes.size() == 2);
  const ClassScores& known = services.classes[0];
  CHECK(known.name() == "inferencex llama-3.3-70b fp8 h100 vllm 0.10.2");
  CHECK(known.rows == 3);
  CHECK(known.predicted == 3);
  REQUIRE(known.of(ServiceMetric::tpot).has_value());
  CHECK(known.of(ServiceMetric::tpot)->count == 3);
  CHECK(services.classes[1].predicted == 0);
  REQUIRE(services.refused.size() == 1);
  CHECK(has(services.refused[0].reason, "no-such-model"));
  REQUIRE(services.other.size() == 1);
  CHECK(services.other[0].scope == "engine not simulated yet");
  REQUIRE(services.ranks.size() == 1);
  CHECK(services.ranks[0].rows == 3);
}

TEST_CASE(
    "end-to-end time and throughput that nobody published follow from TTFT and TPOT on both "
    "sides") {
  const ScratchFolder folder;
  const std::string scratch = folder.path("data");
  write_data(scratch);
  const Validation validation = validated(scratch);
  const ValidatedRow& row = validation.services->rows.front();
  const double tokens = 0.9 * 64;
  const auto& ttft = row.pair(ServiceMetric::ttft);
  const auto& tpot = row.pair(ServiceMetric::tpot);
  const auto& e2e = row.pair(ServiceMetric::e2e);
  const auto& throughput = row.pair(ServiceMetric::throughput);
  REQUIRE((ttft && tpot && e2e && throughput));
  CHECK(ttft->measured == Approx(0.1));
  CHECK(e2e->measured == Approx(0.1 + 0.02 * (tokens - 1)));
  CHECK(e2e->predicted == Approx(ttft->predicted + tpot->predicted * (tokens - 1)));
  CHECK(throughput->predicted == Approx(2 * tokens / e2e->predicted));
}

TEST_CASE("every output names every class and is the same on every run") {
  const ScratchFolder folder;
  const std::string scratch = folder.path("data");
  write_data(scratch);
  const Validation once = validated(scratch), again = validated(scratch);
  for (const auto& text : {validation_text(once), validation_markdown(once), validation_json(once),
                           validation_html(once)}) {
    CHECK(has(text, "llama-3.3-70b fp8 h100 vllm 0.10.2"));
    CHECK(has(text, "no-such-model"));
  }
  CHECK(validation_json(once) == validation_json(again));
  CHECK(validation_html(once) == validation_html(again));
  CHECK(validation_markdown(once) == validation_markdown(again));
  CHECK(rows_csv(*once.services) == rows_csv(*again.services));
}

TEST_CASE("an error beyond its gate, a class that is gone and too few rows are told; others hold") {
  const ScratchFolder folder;
  const std::string scratch = folder.path("data");
  write_data(scratch);
  const Validation validation = validated(scratch);
  const ErrorScores scores = *validation.services->classes[0].of(ServiceMetric::tpot);
  const std::string known = "inferencex llama-3.3-70b fp8 h100 vllm 0.10.2";
  Gate gate{known, "tpot", scores.median * 1.01, scores.p90 * 1.01, 3};
  CHECK(broken_gates({gate}, validation).empty());
  gate.median = scores.median * 0.99;
  CHECK(broken_gates({gate}, validation).size() == 1);
  gate.rows = 4;
  CHECK(broken_gates({gate}, validation).size() == 2);
  gate.of = "another class";
  REQUIRE(broken_gates({gate}, validation).size() == 1);
  CHECK(has(broken_gates({gate}, validation)[0], "no tpot was predicted"));
}

TEST_CASE("faults of gates and of measurements are placed") {
  const ScratchFolder folder;
  const std::string scratch = folder.path("data");
  const std::string path = scratch + "/gates.yaml";
  write(path, "gates:\n  - {of: a, metric: speed, median: x, other: 1}\n");
  Problems problems;
  read_gates(path, problems);
  CHECK(problems.size() == 3);
  CHECK(has(problems.text(), "gates.yaml:2:"));

  write_data(scratch, "t1,too,few,cells\n");
  Problems of_rows;
  read_service_rows(scratch, of_rows);
  CHECK(has(of_rows.text(), "e2e.csv:7"));
  CHECK(has(of_rows.text(), "4 cells where the header has 31"));
  Problems of_nothing;
  read_service_rows(scratch + "/nowhere", of_nothing);
  CHECK(has(of_nothing.text(), "no such file"));
}

TEST_CASE("a filter that fits nothing is a fault with a suggestion") {
  const ScratchFolder folder;
  const std::string scratch = folder.path("data");
  write_data(scratch);
  Problems problems;
  validate_services(scratch, {{"llama-3.3-70"}}, 1, problems);
  CHECK(has(problems.text(), "did you mean 'llama-3.3-70b'?"));
}

}  // namespace
}  // namespace fleetsim
