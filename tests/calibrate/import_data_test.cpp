// The public tables themselves (shared data, not part of a clone): what is in them is known, and
// their traps are found.

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "calibrate/import.h"
#include "calibrate/shape_columns.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

std::filesystem::path data_folder() {
  if (const char* folder = std::getenv("FLEETSIM_DATA")) return folder;
  return std::filesystem::path(FLEETSIM_SOURCE_DIR) / "../shared/data";
}

/// Rows by kind of operator and flag; empty where the data are not here.
std::map<std::pair<std::string, RowFlag>, int> import_counts(TableOwner owner,
                                                             const std::string& gpu,
                                                             MeasuredTable* table = nullptr) {
  const std::filesystem::path folder = data_folder() / name_of(owner);
  if (!std::filesystem::is_directory(folder)) {
    WARN("skipped: " << folder << " is not here");
    return {};
  }
  Problems problems;
  Import import = import_tables(owner, {folder.string()}, *find_gpu(gpu), problems);
  INFO(problems.text());
  CHECK(problems.empty());
  std::map<std::pair<std::string, RowFlag>, int> counts;
  for (const MeasuredOperator& row : import.table.rows)
    ++counts[{kind_of(row.shape).name, row.flag}];
  if (table != nullptr) *table = std::move(import.table);
  return counts;
}

}  // namespace

TEST_CASE(
    "AIConfigurator's H200: no plain kernel is faster than the GPU, vLLM's fp8-block is eager") {
  MeasuredTable table;
  auto counts = import_counts(TableOwner::aiconfigurator, "h200", &table);
  if (counts.empty()) return;
  CHECK(counts[{"gemm", RowFlag::under_floor}] == 0);
  CHECK(counts[{"decode_attention", RowFlag::under_floor}] == 0);
  CHECK(counts[{"prefill_attention", RowFlag::under_floor}] == 0);
  CHECK(counts[{"latent_decode", RowFlag::under_floor}] == 0);
  CHECK(counts[{"collective", RowFlag::under_floor}] == 0);
  CHECK(counts[{"gemm", RowFlag::warm_l2}] == 6);
  CHECK(counts[{"gemm", RowFlag::none}] + counts[{"gemm", RowFlag::launch_bound}] == 207893 - 6);
  for (const MeasuredOperator& row : table.rows) {
    const auto* gemm = std::get_if<GemmShape>(&row.shape);
    if (gemm == nullptr) continue;
    const bool eager = row.engine == "vllm" && gemm->format == GemmFormat::fp8_block;
    if (row.flag == RowFlag::launch_bound) {
      CHECK(eager);
    } else if (eager) {
      CHECK(row.seconds > 8 * 55e-6);  // of its fastest call
    }
  }
}

TEST_CASE("AIConfigurator's all-reduces: exactly the eager ones are launch bound in the small") {
  for (const char* gpu : {"h100", "h200", "b200"}) {
    MeasuredTable table;
    if (import_counts(TableOwner::aiconfigurator, gpu, &table).empty()) return;
    for (const MeasuredOperator& row : table.rows) {
      const auto* shape = std::get_if<CollectiveShape>(&row.shape);
      if (shape == nullptr || row.flag == RowFlag::not_modelled || shape->bytes > 1 << 20) continue;
      INFO(gpu << " " << text_of(row.shape) << " " << row.kernel);
      CHECK((row.flag == RowFlag::launch_bound) == row.kernel.ends_with("_eager"));
    }
  }
}

TEST_CASE("AIConfigurator's experts: vLLM's grouped router of DeepSeek-V3 reads half the experts") {
  MeasuredTable table;
  auto counts = import_counts(TableOwner::aiconfigurator, "h200", &table);
  if (counts.empty()) return;
  CHECK(counts[{"experts", RowFlag::under_floor}] > 0);
  int grouped = 0, trusted = 0;
  for (const MeasuredOperator& row : table.rows) {
    const auto* shape = std::get_if<ExpertsShape>(&row.shape);
    if (shape == nullptr) continue;
    const bool deepseek = shape->hidden == 7168 && shape->experts == 256;
    if (row.flag == RowFlag::under_floor) CHECK(row.engine == "vllm");
    if (deepseek && row.engine == "vllm") {
      ++grouped;
      CHECK(row.flag != RowFlag::none);
    }
    if (deepseek && row.engine == "trtllm" && row.flag == RowFlag::none) ++trusted;
  }
  CHECK(grouped > 1000);
  CHECK(trusted > 1000);
}

TEST_CASE("Vidur's and LLMServingSim's tables are read whole") {
  auto vidur = import_counts(TableOwner::vidur, "h100");
  if (vidur.empty()) return;
  const auto rows = [](auto& counts, const std::string& kind) {
    int sum = 0;
    for (const auto& [key, count] : counts) sum += key.first == kind ? count : 0;
    return sum;
  };
  CHECK(rows(vidur, "gemm") == 4 * 5180);
  CHECK(rows(vidur, "elementwise") == 6 * 5180);
  CHECK(rows(vidur, "collective") == 4965);
  CHECK(vidur[{"gemm", RowFlag::under_floor}] == 0);
  auto hopper = import_counts(TableOwner::llmservingsim, "h100");
  CHECK(hopper[{"gemm", RowFlag::launch_bound}] == 2048);  // Mixtral's router
  CHECK(hopper[{"gemm", RowFlag::under_floor}] == 0);
  for (const char* gpu : {"rtx4090", "rtx-pro-6000"}) {
    auto counts = import_counts(TableOwner::llmservingsim, gpu);
    CHECK(counts[{"gemm", RowFlag::none}] > 600);
    CHECK(counts[{"gemm", RowFlag::under_floor}] == 0);
    CHECK(counts[{"prefill_attention", RowFlag::under_floor}] == 0);
    CHECK(counts[{"decode_attention", RowFlag::under_floor}] == 0);
  }
}
