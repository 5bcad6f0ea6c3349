#pragma once
// The W4A16 GEMM in float64: bf16 activations times dequantised int4 weights.

#include <vector>

#include "kernels/reference/int4_weights.h"

namespace fleetsim::kernels {

/// activations [rows][k] → [rows][n], rows = activations.size() / k. Weights are taken exactly,
/// (code - zero) * scale, without the kernel's rounding to bf16.
std::vector<double> reference_w4a16_gemm(const std::vector<Bf16>& activations,
                                         const Int4Weights& weights);

}  // namespace fleetsim::kernels
