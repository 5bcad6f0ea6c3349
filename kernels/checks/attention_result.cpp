#include "kernels/checks/attention_result.h"

#include <cstring>

namespace fleetsim::kernels {

bool AttentionResult::operator==(const AttentionResult& other) const {
  const auto same_bits = [](const auto& a, const auto& b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof a[0]) == 0);
  };
  return same_bits(out, other.out) && same_bits(log_sum_exp, other.log_sum_exp);
}

}  // namespace fleetsim::kernels
