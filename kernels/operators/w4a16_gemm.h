#pragma once
// W4A16 GEMM: bf16 activations times int4 weights of AWQ and GPTQ checkpoints, math in bf16.

#include "kernels/device/launch.h"
#include "kernels/operators/w4a16_schedule.h"

namespace fleetsim::kernels {

/// out[m][n] = activations[m][k] x weights[k][n], sums in fp32, rounded once to bf16. A weight is
/// (code - zero) * scale rounded to bf16; the difference is exact.
/// Valid: m >= 0 (0: nothing is launched), n a multiple of 64, k of 128 (CHECK); all pointers
/// 16-byte aligned; out overlaps nothing. Repeatable: equal operands and plan give equal bytes.
struct W4a16GemmArguments {
  const Bf16* activations = nullptr;      // [m][k]
  const std::uint8_t* weights = nullptr;  // pack_w4a16_tiles(); written before the kernel that goes
                                          // before this one began (it is read ahead)
  Bf16* out = nullptr;                    // [m][n]
  int m = 0, n = 0, k = 0;
  /// w4a16_workspace_bytes(plan) bytes whose first w4a16_counter_bytes(plan) were zero at first
  /// use; launches leave them zero. Not shared by launches that may run at the same time.
  void* workspace = nullptr;
};

/// The plan for the current device. m >= 1.
W4a16Plan plan_w4a16_gemm(int m, int n, int k);

/// Errors: CudaError. `plan` is of the same shape.
void launch_w4a16_gemm(const W4a16GemmArguments& arguments, const W4a16Plan& plan, Stream stream);

}  // namespace fleetsim::kernels
