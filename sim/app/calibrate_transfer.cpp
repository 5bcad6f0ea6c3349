#include "sim/app/calibrate_transfer.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "calibrate/measured_folder.h"
#include "calibrate/transfer.h"
#include "hw_models/fitted_file.h"
#include "hw_models/fitted_gpu.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/problems.h"

namespace fleetsim {
namespace {

const GpuSpec* gpu_of(const char* option, const std::string& name, Problems& problems) {
  const GpuSpec* gpu = find_gpu(name);
  if (gpu == nullptr) problems.add(option, {}, unknown_name("GPU", name, gpu_names()));
  return gpu;
}

/// Rows of a folder, which must be the target's.
std::vector<MeasuredOperator> rows_of(const std::string& folder, const GpuSpec& gpu,
                                      Problems& problems) {
  if (folder.empty()) return {};
  auto table = read_measured_folder(folder, problems);
  if (!table) return {};
  if (table->gpu != gpu.name)
    problems.add(folder, {}, fmt::format("holds rows of {}, not of {}", table->gpu, gpu.name));
  return std::move(table->rows);
}

std::string report(const Transfer& transfer, const GpuSpec& from, const GpuSpec& to) {
  fmt::memory_buffer text;
  const auto into = std::back_inserter(text);
  fmt::format_to(into, "{} -> {}: {} families transferred, {} left out\n", from.name, to.name,
                 transfer.fitted.families.size(), transfer.left_out.size());
  for (const LeftOutFamily& family : transfer.left_out)
    fmt::format_to(into, "  left out: {}: {}\n", family.family, family.reason);
  for (const OperatorFamily& family : transfer.fitted.families) {
    if (family.quality.rows > 0)
      fmt::format_to(into,
                     "  {}: floor and rates from {} anchors, median error {:.1f} %, p90 {:.1f} %\n",
                     family.name, family.quality.rows, 100 * family.quality.median_error,
                     100 * family.quality.p90_error);
  }
  return fmt::to_string(text);
}

std::string score_table(const std::vector<FamilyScore>& scores) {
  fmt::memory_buffer text;
  const auto into = std::back_inserter(text);
  fmt::format_to(into, "\n{:<42} {:>8} {:>8} {:>8} {:>8}\n", "scored on measured rows", "rows",
                 "median", "p90", "bias");
  for (const FamilyScore& one : scores)
    fmt::format_to(into, "{:<42} {:>8} {:>6.1f} % {:>6.1f} % {:>+6.1f} %\n", one.family, one.rows,
                   100 * one.median_error, 100 * one.p90_error, 100 * one.bias);
  return fmt::to_string(text);
}

}  // namespace

int transfer_command(const TransferOptions& options) {
  Problems problems;
  const GpuSpec* from = gpu_of("--from", options.from, problems);
  const GpuSpec* to = gpu_of("--to", options.to, problems);
  const FittedGpu* fitted = from == nullptr ? nullptr : find_fitted(from->name);
  if (from != nullptr && fitted == nullptr) {
    std::vector<std::string> known;
    for (const FittedGpu& one : fitted_gpus()) known.push_back(one.gpu);
    problems.add("--from", {},
                 fmt::format("{} has no fit to transfer; fitted are {}", from->name,
                             fmt::join(known, ", ")));
  }
  if (from != nullptr && from == to)
    problems.add("--to", {}, fmt::format("{} is the GPU to transfer from", to->name));
  if (!options.out.empty() && !options.force && std::filesystem::exists(options.out))
    problems.add(options.out, {}, "is there already; --force overwrites it");
  problems.throw_if_any();
  const std::vector<MeasuredOperator> anchors = rows_of(options.anchors, *to, problems),
                                      measured = rows_of(options.measured, *to, problems);
  problems.throw_if_any();

  const Transfer result = transfer(*fitted, *from, *to, anchors);
  std::fputs(report(result, *from, *to).c_str(), stdout);
  if (!options.measured.empty())
    std::fputs(score_table(score(result.fitted, measured)).c_str(), stdout);
  if (options.out.empty()) return 0;
  std::ofstream file(options.out, std::ios::binary);
  file << fitted_text(result.fitted);
  file.close();
  if (!file) {
    problems.add(options.out, {}, "cannot be written");
    problems.throw_if_any();
  }
  std::fputs(fmt::format("\nwritten: {}\n", options.out).c_str(), stdout);
  return 0;
}

}  // namespace fleetsim
