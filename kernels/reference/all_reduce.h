#pragma once
// The sum over ranks in float64.

#include <vector>

#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// inputs: at least one rank, all of one length. Sums of at most a few bf16 values are exact here.
std::vector<double> reference_all_reduce(const std::vector<std::vector<Bf16>>& inputs);

}  // namespace fleetsim::kernels
