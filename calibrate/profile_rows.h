#pragma once
// Our own profile folders (fleetsim.profile/1) as measured operators.

#include <string>
#include <vector>

#include "calibrate/imported_file.h"
#include "calibrate/measured_table.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/problems.h"

namespace fleetsim {

/// The attention kernels that ours stand for. On Hopper the prefill kernel is built as
/// FlashAttention 3, and engines decode with that too: a fit from our profile is to price what they
/// run there. Elsewhere both are of FlashAttention 2's kind.
AttentionBackend backend_of_own_kernels(const GpuSpec& gpu);

/// Adds the folder's rows to `rows`. Ragged batches by their mean context, one new token beside
/// chunks for a decode in their call; rows measured warm are flagged. Ceilings, copies of blocks,
/// swaps, the parts of a layer of experts, stages of prefill between the two kinds, and what
/// verifies drafts, have no shape. Errors: all faults to `problems`: those of load_profile, and a
/// profile of another GPU.
ImportedFile read_profile_rows(const std::string& folder, const GpuSpec& gpu,
                               std::vector<MeasuredOperator>& rows, Problems& problems);

}  // namespace fleetsim
