#pragma once
// The GEMM of engines in float64: activations [m][k] times weights [n][k], whole or at sampled rows
// and columns.

#include <cstdint>
#include <vector>

#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// out [m][n] = activations [m][k] times the transpose of weights [n][k]; operands dequantised,
/// which is exact in double. CHECK: sizes are multiples of k.
std::vector<double> reference_gemm(const std::vector<double>& activations,
                                   const std::vector<double>& weights, int k);

/// Rows (or columns) to look at in a product too big to compute again: the first and the last,
/// those beside multiples of 128, where tiles meet, and others drawn from `seed`. Sorted, distinct,
/// at most `wanted` of 0 to count - 1; all of them when there are no more.
std::vector<int> sampled_indices(int count, int wanted, std::uint64_t seed);

std::vector<double> doubles_of(const std::vector<Bf16>& values);
std::vector<double> doubles_of(const std::vector<std::int8_t>& values);

}  // namespace fleetsim::kernels
