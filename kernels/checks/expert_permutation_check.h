#pragma once
// Choices of experts through order, copies of rows and weighted sum, against what they mean; a
// fault can be planted, so that a test sees that the comparison finds it.

#include "kernels/checks/check.h"

namespace fleetsim::kernels {

enum class PermutationFault {
  none,
  offset_by_one,   // an expert's rows begin one later in what is expected
  unstable_order,  // two tokens of an expert are expected the other way round
  wrong_expert,    // the rank is expected to begin an expert later
  row_twice,       // a token's second row is expected where its first stands
};

struct PermutationCase {
  int tokens = 1, experts = 8, experts_per_token = 2;
  int first_expert = 0, local_experts = 8;
  int hidden = 8;
  bool skewed = false;  // half of the choices go to one expert
};

/// Three reports: order and gather, where error is the number of wrong entries or rows and limit 0;
/// the weighted sum by the rule of bf16. Also: a second launch gives the same bytes, what no row
/// belongs to stays as it was.
std::vector<CheckReport> check_permutation_case(const PermutationCase& shape, std::uint64_t seed,
                                                PermutationFault fault = PermutationFault::none);

}  // namespace fleetsim::kernels
