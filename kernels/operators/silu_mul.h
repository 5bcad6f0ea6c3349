#pragma once
// SiLU(gate) * up, the activation of gated MLPs, with quantisation to fp8 behind it.

#include "kernels/operators/row_output.h"

namespace fleetsim::kernels {

inline constexpr int kSiluMulWidthMax = 32768;

/// out = gate / (1 + exp(-gate)) * up, gate and up being the halves of each row; fp32 inside, one
/// rounding at the output.
/// Valid: tokens >= 0 (0: nothing is launched); width a multiple of 8, 8 to 32768; tokens * width
/// below 2^34 (CHECK); pointers 16-byte aligned; out overlaps nothing.
/// Traffic: 6 bytes an output element with bf16 out, 5 with fp8.
struct SiluMulArguments {
  const Bf16* gate_up = nullptr;  // [tokens][2 * width]: gates, then ups
  RowOutput out;                  // [tokens][width]
  int tokens = 0, width = 0;
  /// On the device, at most `tokens`: how many there are, where that is known there alone (rows of
  /// experts); the rest is neither read nor written. Null: all.
  const std::int32_t* tokens_there = nullptr;
};

/// Errors: CudaError.
void launch_silu_mul(const SiluMulArguments& arguments, Stream stream);

}  // namespace fleetsim::kernels
