#pragma once
// Which fit predicts a replay: the one of the same kernels on the same GPU where there is one.

#include <optional>
#include <string>

#include "calibrate/measured_replay.h"
#include "hw_models/fitted_gpu.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/problems.h"
#include "sim/validation/replay_scores.h"

namespace fleetsim {

struct ReplayFit {
  const GpuSpec* gpu = nullptr;  // never nullptr
  std::optional<FittedGpu> own;  // read or fitted here
  /// Linked into the program, where there is no own one; nullptr: the roofline.
  const FittedGpu* catalogue = nullptr;
  std::string source;  // "the profile DIR", "the catalogue"

  const FittedGpu* fitted() const { return own ? &*own : catalogue; }
};

/// A file of `fleetsim calibrate fit --out`. Errors: to `problems`: a file that cannot be read or
/// is none, a GPU that nobody knows; nullopt then.
std::optional<ReplayFit> fit_of_file(const std::string& path, Problems& problems);
/// The fit of a profile's or an imported folder's rows; iterations are not among them. Errors: to
/// `problems`, as read_measurements; nullopt then.
std::optional<ReplayFit> fit_of_profile(const std::string& folder, Problems& problems);
ReplayFit catalogue_fit(const GpuSpec& gpu);
/// Without the user's choice: the fit of the profile that the replay is part of or lies in (DIR of
/// DIR/replay), where it has matrix products of its own; else the catalogue's of its GPU. Errors:
/// to `problems`, an unsound profile and a GPU that the catalogue does not have; nullopt then.
std::optional<ReplayFit> fit_beside(const MeasuredReplay& replay, Problems& problems);

/// Errors: a fit of another GPU than the replay's, to `problems`; the scores are then empty.
ReplayScores scores_of(const MeasuredReplay& replay, const ReplayFit& fit, Problems& problems);

}  // namespace fleetsim
