#pragma once
// A batch of router logits through the routing kernel against float64; a fault can be planted, so
// that a test sees that the comparison finds it.

#include <string>
#include <vector>

#include "kernels/checks/check.h"
#include "kernels/operators/expert_routing.h"

namespace fleetsim::kernels {

enum class RoutingFault {
  none,
  highest_of_the_tie,  // the comparison wants the highest id of equal scores
  bias_forgotten,      // the choice goes by scores without their bias
  bias_in_weights,     // weights hold the bias too
  not_renormalised,    // weights are not divided by their sum, or are when they should not be
  one_group_more,      // one more group is looked at
};

/// How a token's experts and weights contradict float64: choices that stand behind one that was not
/// taken, and how far weights are off at most, relatively. ids and weights: [experts_per_token].
struct RoutingContradictions {
  std::int64_t choices = 0;
  double weight_error = 0;
};
RoutingContradictions routing_contradictions(const std::vector<float>& logits,
                                             const std::vector<float>& bias,
                                             const RoutingRule& rule,
                                             const std::vector<std::int32_t>& ids,
                                             const std::vector<float>& weights,
                                             RoutingFault fault = RoutingFault::none);

/// Of weights, relatively: exp2 of a rounded product, up to 20 octaves down, and a sum of 16.
inline constexpr double kRoutingErrorLimit = 1e-5;

struct RoutingCase {
  int tokens = 1, experts = 8, experts_per_token = 2;
  RoutingRule rule;
  bool bf16 = false, bias = false;
  bool coarse = false;  // logits are multiples of 1/2: many are equal
};

/// error: wrong choices, plus how far weights are off; limit kRoutingErrorLimit. Also: a second
/// launch gives the same bytes.
CheckReport check_routing_case(const RoutingCase& shape, std::uint64_t seed,
                               RoutingFault fault = RoutingFault::none);

}  // namespace fleetsim::kernels
