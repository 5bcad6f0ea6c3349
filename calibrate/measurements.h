#pragma once
// Folders of measurements of either form, ours and imported ones, as tables that a fit takes.

#include <optional>
#include <string>

#include "calibrate/measured_table.h"
#include "hw_models/problems.h"

namespace fleetsim {

/// Whether the folder has a manifest of a profile as fleetsim-kernels writes it.
bool is_profile_folder(const std::string& folder);

/// Reads a profile (fleetsim.profile/1; iterations have no shape and never come into a fit) or what
/// `fleetsim calibrate import` wrote (fleetsim.measured/1). Errors: all faults to `problems`: those
/// of either reader, and a profile of a GPU that the catalogue does not have; nullopt when there is
/// any.
std::optional<MeasuredTable> read_measurements(const std::string& folder, Problems& problems);

}  // namespace fleetsim
