#pragma once
// What an attention kernel left behind, for comparison bit by bit.

#include <vector>

#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

struct AttentionResult {
  std::vector<Bf16> out;
  std::vector<float> log_sum_exp;  // empty when not wanted
  /// Bits, so that NaN equals itself and 0 is not -0.
  bool operator==(const AttentionResult& other) const;
};

}  // namespace fleetsim::kernels
