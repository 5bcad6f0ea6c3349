#include "sim/app/calibrate_validate.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "calibrate/measured_replay.h"
#include "calibrate/measurements.h"
#include "calibrate/operator_fit.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/problems.h"
#include "sim/app/terminal_color.h"
#include "sim/validation/kept_out_scores.h"
#include "sim/validation/replay_fit.h"

namespace fleetsim {
namespace {

std::vector<MeasuredTable> tables_of(const KeptOutOptions& options, const GpuSpec*& gpu,
                                     Problems& problems) {
  std::vector<MeasuredTable> tables;
  for (const std::string& folder : options.folders) {
    auto table = read_measurements(folder, problems);
    if (!table) continue;
    if (gpu == nullptr) gpu = find_gpu(table->gpu);
    if (gpu == nullptr || table->gpu != gpu->name)
      problems.add(folder, {},
                   fmt::format("holds rows of {}, not of {}", table->gpu,
                               gpu == nullptr ? "a GPU of the catalogue" : gpu->name));
    tables.push_back(std::move(*table));
  }
  return tables;
}

/// Iterations of each DIR that has some, and of its DIR/replay, predicted by the fit of all
/// folders.
std::vector<ReplayScores> stored_replays(const std::vector<std::string>& folders,
                                         const GpuSpec& gpu, const FittedGpu& fitted,
                                         Problems& problems) {
  std::vector<ReplayScores> scores;
  std::vector<std::string> places;
  for (const std::string& folder : folders) {
    std::error_code error;
    if (std::filesystem::exists(folder + "/iteration.csv", error)) places.push_back(folder);
    if (is_profile_folder(folder + "/replay")) places.push_back(folder + "/replay");
  }
  for (const std::string& stored : places) {
    const auto replay = load_replay(stored, problems);
    if (!replay) continue;
    ReplayFit fit;
    fit.gpu = &gpu;
    fit.own = fitted;
    fit.source = "the fit of these measurements";
    scores.push_back(scores_of(*replay, fit, problems));
  }
  return scores;
}

}  // namespace

int kept_out_command(const KeptOutOptions& options) {
  Problems problems;
  const GpuSpec* gpu = nullptr;
  if (!options.gpu.empty()) {
    gpu = find_gpu(options.gpu);
    if (gpu == nullptr) problems.add("--gpu", {}, unknown_name("GPU", options.gpu, gpu_names()));
    problems.throw_if_any();
  }
  const std::vector<MeasuredTable> tables = tables_of(options, gpu, problems);
  problems.throw_if_any();
  const GpuFit fit = fit_gpu(*gpu, tables, KeptOut::every_fold);
  KeptOutScores scores = score_kept_out(fit);
  scores.replays = stored_replays(options.folders, *gpu, fit.fitted, problems);
  problems.throw_if_any();
  const std::string text =
      options.json ? kept_out_json(scores) : kept_out_text(scores, color_wanted(STDOUT_FILENO));
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
  return 0;
}

}  // namespace fleetsim
