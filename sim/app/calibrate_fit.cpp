#include "sim/app/calibrate_fit.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "calibrate/measured_folder.h"
#include "calibrate/operator_fit.h"
#include "hw_models/fitted_file.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/problems.h"

namespace fleetsim {
namespace {

[[noreturn]] void refuse(const std::string& place, const std::string& message) {
  Problems problems;
  problems.add(place, {}, message);
  throw ConfigError(std::move(problems));
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) refuse(path, "cannot be written");
}

}  // namespace

int fit_command(const FitOptions& options) {
  const GpuSpec* gpu = find_gpu(options.gpu);
  if (gpu == nullptr) refuse("--gpu", unknown_name("GPU", options.gpu, gpu_names()));
  std::error_code error;
  if (!options.out.empty() && !options.force && std::filesystem::exists(options.out, error))
    refuse(options.out, "is there already; --force overwrites it");
  Problems problems;
  std::vector<MeasuredTable> tables;
  for (const std::string& folder : options.folders) {
    auto table = read_measured_folder(folder, problems);
    if (!table) continue;
    if (table->gpu != gpu->name)
      problems.add(folder, {}, fmt::format("holds rows of {}, not of {}", table->gpu, gpu->name));
    tables.push_back(std::move(*table));
  }
  problems.throw_if_any();
  const GpuFit fit = fit_gpu(*gpu, tables);
  if (!options.out.empty()) write_file(options.out, fitted_text(fit.fitted));
  std::fputs(fit_report(fit).c_str(), stdout);
  if (!options.out.empty()) std::fputs(fmt::format("\nwritten: {}\n", options.out).c_str(), stdout);
  return 0;
}

}  // namespace fleetsim
