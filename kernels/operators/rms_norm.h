#pragma once
// RMSNorm of rows, with the addition of the residual before it and quantisation to fp8 behind it.

#include "kernels/operators/row_output.h"

namespace fleetsim::kernels {

inline constexpr int kRmsNormHiddenMax = 16384;

/// out = s / sqrt(mean(s^2) + epsilon) * weight, s = x + residual (rounded to bf16 and written back
/// to residual) or x. Sums in fp32 in a fixed order; one rounding at the output.
/// Valid: tokens >= 0 (0: nothing is launched); hidden a multiple of 8, 8 to 16384 (CHECK);
/// pointers 16-byte aligned; out overlaps neither x nor residual. Traffic: 4 bytes an element with
/// bf16 out, 8 with a residual; one byte less with fp8 out.
struct RmsNormArguments {
  const Bf16* x = nullptr;       // [tokens][hidden]
  Bf16* residual = nullptr;      // [tokens][hidden], or null
  const Bf16* weight = nullptr;  // [hidden]; written before the kernel before this one began
  RowOutput out;                 // width: hidden
  int tokens = 0, hidden = 0;
  float epsilon = 1e-5F;
};

/// Errors: CudaError.
void launch_rms_norm(const RmsNormArguments& arguments, Stream stream);

}  // namespace fleetsim::kernels
