#pragma once
// The linear layers of a decoder stack through cuBLASLt.

#include "kernels/measure/decoder_stack.h"

namespace fleetsim::kernels {

/// Multiplies with the first algorithm of cuBLASLt's heuristic. A plan is made when its shape first
/// comes, which must not be inside a capture, and kept. For one thread at a time.
StackGemm cublaslt_stack_gemm();

}  // namespace fleetsim::kernels
