#pragma once
// Measured operators beside the hardware models' prediction of them.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "hw_models/fitted_gpu.h"
#include "hw_models/problems.h"
#include "sim/validation/error_scores.h"

namespace fleetsim {

inline constexpr int kProvenances = 6;

/// One family of one GPU against one owner's rows by one engine: fits follow the kernel that vLLM
/// runs, so that rows by other engines show how much kernels differ. Rows that imports flag (under
/// the floor, warm caches, launches, repeats) are left out of all figures but `flagged`.
struct FamilyScores {
  std::string gpu, owner, engine, family;
  std::int64_t rows = 0, flagged = 0;
  std::int64_t without_fit = 0;                         // rows that no fitted family stands for
  ErrorScores scores;                                   // of the rows with a fit
  std::array<std::int64_t, kProvenances> provenance{};  // rows by Provenance
  double held_out_median = 0, held_out_p90 = 0;         // by the fit itself, of sites kept out
  std::int64_t held_out_rows = 0;
  std::string held_out, transferred_from;
};

struct OperatorValidation {
  std::vector<FamilyScores> families;  // by GPU, owner, family, engine
};

/// Reads the tables under `data_dir` (aiconfigurator/, vidur/, llmservingsim/; those that are
/// there) for every fitted GPU that `only` names (empty: all). Errors: faults of the tables to
/// `problems`.
OperatorValidation validate_operators(const std::string& data_dir,
                                      const std::vector<std::string>& only, Problems& problems);

}  // namespace fleetsim
