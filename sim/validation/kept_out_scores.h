#pragma once
// How well a profile predicts points that its fit has not seen, family by family: what `fleetsim
// calibrate validate` says.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "calibrate/operator_fit.h"
#include "sim/validation/error_scores.h"
#include "sim/validation/replay_scores.h"

namespace fleetsim {

struct KeptOutFamily {
  std::string name;
  std::int64_t rows = 0, sites = 0;   // of the fit
  std::optional<ErrorScores> scores;  // of rows kept out; nothing where all are of one site
  std::vector<KeptOutRow> worst;      // at most three, worst first
};

struct KeptOutScores {
  std::string gpu;
  std::vector<KeptOutFamily> families;    // ascending in name
  std::vector<std::string> too_few_rows;  // families that get no fit
  std::vector<ReplayScores> replays;      // stored beside the profiles
};

/// Of a fit with KeptOut::every_fold; `replays` is left empty.
KeptOutScores score_kept_out(const GpuFit& fit);

/// Tables and sentences for people, ending in a line end.
std::string kept_out_text(const KeptOutScores& scores, bool color);
/// The same for programs (schema fleetsim.kept_out/1): seconds and shares.
std::string kept_out_json(const KeptOutScores& scores);

}  // namespace fleetsim
