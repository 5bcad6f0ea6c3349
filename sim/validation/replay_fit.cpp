#include "sim/validation/replay_fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <vector>

#include "calibrate/measurements.h"
#include "calibrate/operator_fit.h"
#include "hw_models/fitted_file.h"
#include "sim/report/output_folder.h"

namespace fleetsim {
namespace {

/// Enough of an iteration to predict it: without them every matrix product is a roofline.
bool has_matrix_products(const FittedGpu& fitted) {
  const OperatorFamily* family = fitted.find("gemm/bf16");
  return family != nullptr && family->quality.rows > 0;
}

}  // namespace

std::optional<ReplayFit> fit_of_file(const std::string& path, Problems& problems) {
  try {
    ReplayFit fit;
    fit.own = read_fitted(read_whole_file(path), path);
    fit.gpu = find_gpu(fit.own->gpu);
    fit.source = path;
    if (fit.gpu != nullptr) return fit;
    problems.add(
        path, {},
        fmt::format("is a fit of '{}', which the catalogue of GPUs does not have", fit.own->gpu));
  } catch (const ConfigError& error) {
    for (const Problem& problem : error.problems().sorted())
      problems.add(problem.file, problem.position, problem.message);
  } catch (const std::exception&) {  // its reader is made for files that are linked in
    problems.add(path, {}, "is no file that `fleetsim calibrate fit --out` wrote");
  }
  return std::nullopt;
}

std::optional<ReplayFit> fit_of_profile(const std::string& folder, Problems& problems) {
  const auto table = read_measurements(folder, problems);
  if (!table) return std::nullopt;
  ReplayFit fit;
  fit.gpu = find_gpu(table->gpu);
  if (fit.gpu == nullptr) {
    problems.add(folder, {},
                 fmt::format("holds rows of '{}', which the catalogue of GPUs does not "
                             "have",
                             table->gpu));
    return std::nullopt;
  }
  fit.own = fit_gpu(*fit.gpu, {*table}).fitted;
  fit.source = folder;
  return fit;
}

ReplayFit catalogue_fit(const GpuSpec& gpu) {
  ReplayFit fit;
  fit.gpu = &gpu;
  fit.catalogue = find_fitted(gpu.name);
  fit.source = "the catalogue";
  return fit;
}

std::optional<ReplayFit> fit_beside(const MeasuredReplay& replay, Problems& problems) {
  namespace fs = std::filesystem;
  const GpuSpec* gpu = find_gpu(replay.gpu);
  if (gpu == nullptr) {
    problems.add(
        replay.folder, {},
        fmt::format("was measured on '{}', which the catalogue of GPUs does not have", replay.gpu));
    return std::nullopt;
  }
  fs::path folder = fs::path(replay.folder).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // DIR/replay/
  for (const fs::path& place : {folder, folder.parent_path()}) {
    const std::string name = place.empty() ? "." : place.string();
    if (!is_profile_folder(name)) continue;
    auto fit = fit_of_profile(name, problems);
    if (!fit) return std::nullopt;
    if (fit->gpu == gpu && has_matrix_products(*fit->own)) return fit;
  }
  return catalogue_fit(*gpu);
}

ReplayScores scores_of(const MeasuredReplay& replay, const ReplayFit& fit, Problems& problems) {
  if (replay.gpu != fit.gpu->name) {
    problems.add(
        replay.folder, {},
        fmt::format("was measured on {}; {} is of {}", replay.gpu, fit.source, fit.gpu->name));
    return {};
  }
  std::int64_t most = 1;
  for (const MeasuredIteration& one : replay.iterations)
    most = std::max(most, one.composition.new_tokens());
  ReplayPredictor predictor(*fit.gpu, fit.fitted(), most);
  ReplayScores scores = score_replay(replay, predictor);
  scores.prediction += fmt::format(" ({})", fit.source);
  return scores;
}

}  // namespace fleetsim
