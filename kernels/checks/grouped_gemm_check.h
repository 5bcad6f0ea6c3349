#pragma once
// Ragged groups of rows through the grouped GEMM against float64; a fault can be planted, so that a
// test sees that the comparison finds it.

#include <vector>

#include "kernels/checks/check.h"
#include "kernels/operators/grouped_gemm.h"

namespace fleetsim::kernels {

enum class GroupedFault {
  none,
  offset_by_one,  // the first row of a group is expected to belong to the one before
  wrong_expert,   // a group is expected to use the weights of the next
  short_k,        // the last eight of K are left out of what is expected
};

struct GroupedCase {
  GroupedFormat format = GroupedFormat::bf16;
  std::vector<int> rows;  // of each expert
  int spare = 0;          // rows of memory behind the last; NaN stands there
  int n = 8, k = 8;
  int rows_expected = 0;
};

/// Error and limit as a GEMM's: relative L2, 3e-3 (bf16), 5e-3 (e4m3). Also: rows behind the last
/// stay as they were, a second launch gives the same bytes. Big products are compared at the
/// borders of groups and at sampled rows and columns.
CheckReport check_grouped_case(const GroupedCase& shape, std::uint64_t seed,
                               GroupedFault fault = GroupedFault::none);

}  // namespace fleetsim::kernels
