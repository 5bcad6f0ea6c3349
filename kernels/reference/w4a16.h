#pragma once
// The W4A16 GEMM in float64: bf16 activations times dequantised int4 weights.

#include <vector>

#include "kernels/reference/int4_weights.h"

namespace fleetsim::kernels {

/// activations [rows][k] → [rows][n], rows = activations.size() / k. The operands are those of a
/// model that runs in bf16: (code - zero) * scale, rounded once to bf16. (That rounding is part of
/// the operator: a column's few distinct weights share their errors, which do not average out.)
std::vector<double> reference_w4a16_gemm(const std::vector<Bf16>& activations,
                                         const Int4Weights& weights);

}  // namespace fleetsim::kernels
