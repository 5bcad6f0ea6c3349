#include "sim/validation/operator_validation.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "calibrate/import.h"
#include "hw_models/gpu_spec.h"

namespace fleetsim {
namespace {

/// Sums of one family while rows are read.
struct Family {
  FamilyScores scores;
  std::vector<MeasuredPair> pairs;
};

void add_row(const MeasuredOperator& row, const FittedGpu& fitted, Family& family) {
  if (row.flag != RowFlag::none) {
    ++family.scores.flagged;
    return;
  }
  ++family.scores.rows;
  const OperatorFamily* fit = fitted.find(family.scores.family);
  if (fit == nullptr || row.seconds <= 0) {
    ++family.scores.without_fit;
    return;
  }
  const OperatorTime time = fit->time(work_of(row.shape));
  family.pairs.push_back({row.seconds, time.time.value});
  ++family.scores.provenance[static_cast<std::size_t>(time.provenance)];
}

void add_owner(TableOwner owner, const std::string& folder, const FittedGpu& fitted,
               const GpuSpec& gpu, std::vector<FamilyScores>& out, Problems& problems) {
  // A folder without rows of this GPU is no fault here: not every owner measured every GPU.
  Problems of_import;
  const Import import = import_tables(owner, {folder}, gpu, of_import);
  if (import.table.rows.empty()) return;
  for (const Problem& problem : of_import.sorted())
    problems.add(problem.file, problem.position, problem.message);
  std::map<std::pair<std::string, std::string>, Family> families;  // by family and engine
  for (const MeasuredOperator& row : import.table.rows) {
    const std::string name = family_of(row.shape);
    Family& family = families[{name, row.engine}];
    family.scores.family = name;
    family.scores.engine = row.engine;
    add_row(row, fitted, family);
  }
  for (auto& [key, family] : families) {
    FamilyScores& scores = family.scores;
    scores.gpu = gpu.name;
    scores.owner = name_of(owner);
    if (const auto errors = error_scores(family.pairs)) scores.scores = *errors;
    if (const OperatorFamily* fit = fitted.find(scores.family)) {
      scores.held_out_median = fit->quality.held_out_median_error;
      scores.held_out_p90 = fit->quality.held_out_p90_error;
      scores.held_out_rows = fit->quality.held_out_rows;
      scores.held_out = fit->quality.held_out;
      scores.transferred_from = fit->transferred_from;
    }
    out.push_back(std::move(scores));
  }
}

}  // namespace

OperatorValidation validate_operators(const std::string& data_dir,
                                      const std::vector<std::string>& only, Problems& problems) {
  OperatorValidation out;
  const std::vector<TableOwner> owners = {TableOwner::aiconfigurator, TableOwner::vidur,
                                          TableOwner::llmservingsim};
  for (const FittedGpu& fitted : fitted_gpus()) {
    const GpuSpec* gpu = find_gpu(fitted.gpu);
    if (gpu == nullptr) continue;
    const bool wanted =
        only.empty() || std::any_of(only.begin(), only.end(),
                                    [&](const auto& name) { return find_gpu(name) == gpu; });
    if (!wanted) continue;
    for (const TableOwner owner : owners) {
      const std::string folder = data_dir + "/" + name_of(owner);
      std::error_code error;
      if (std::filesystem::is_directory(folder, error))
        add_owner(owner, folder, fitted, *gpu, out.families, problems);
    }
  }
  return out;
}

}  // namespace fleetsim
