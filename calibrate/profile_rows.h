#pragma once
// Our own profile folders (fleetsim.profile/1) as measured operators.

#include <string>
#include <vector>

#include "calibrate/imported_file.h"
#include "calibrate/measured_table.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/problems.h"

namespace fleetsim {

/// Adds the folder's rows to `rows`. Our attention kernels stand for fa3 on sm_90 and for fa2
/// elsewhere; ragged batches by their mean context, one new token beside chunks for a decode in
/// their call; rows measured warm are flagged. Ceilings, copies of blocks, swaps, the parts of a
/// layer of experts, stages of prefill between the two kinds, and what verifies drafts, have no
/// shape. Errors: all faults to `problems`: those of load_profile, and a profile of another GPU.
ImportedFile read_profile_rows(const std::string& folder, const GpuSpec& gpu,
                               std::vector<MeasuredOperator>& rows, Problems& problems);

}  // namespace fleetsim
