#pragma once
// bf16 to fp8 e4m3 with one scale: what stands before a linear layer in fp8 whose input no other
// kernel quantises.

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// codes[i] = the e4m3 nearest to values[i] * (1 / scale), the quotient rounded to fp32 and the
/// product too; beyond +-448 it saturates. Valid: count a multiple of 8, 0 to 2^34 - 1 (CHECK; 0:
/// nothing is launched); values 16-byte aligned, codes 8. Traffic: 3 bytes an element.
struct QuantiseArguments {
  const Bf16* values = nullptr;  // [count]
  E4m3* codes = nullptr;         // [count]
  const float* scale = nullptr;  // [1], > 0
  std::int64_t count = 0;
};

/// Errors: CudaError.
void launch_quantise(const QuantiseArguments& arguments, Stream stream);

}  // namespace fleetsim::kernels
