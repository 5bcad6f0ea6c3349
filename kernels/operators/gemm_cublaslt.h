#pragma once
// GEMM through cuBLASLt in the layouts of engines: one plan a shape and format, its algorithms by
// rank of NVIDIA's heuristic.

#include <memory>
#include <string>

#include "kernels/device/launch.h"
#include "kernels/reference/quantised_matrix.h"

namespace fleetsim::kernels {

/// What the operands are. The output is bf16 but where another is named, and int32 for int8:
/// cuBLASLt has no int8 product with a bf16 result.
enum class GemmFormat {
  bf16,          // sums in fp32
  fp8,           // e4m3, one scale a matrix; sums in fp32 (accurate accumulation, torch's default)
  fp8_block,     // e4m3, scales of 1x128 activations and 128x128 weights; Hopper only
  int8,          // sums in int32, exact
  bf16_to_fp32,  // operands in bf16, output in fp32: logits
};
const char* name_of(GemmFormat format);
/// Bytes of an operand's element, of an output's.
std::size_t operand_bytes(GemmFormat format);
std::size_t output_bytes(GemmFormat format);
/// How its operands are scaled: activations, weights. CHECK: an fp8 format.
Scaling activation_scaling(GemmFormat format);
Scaling weight_scaling(GemmFormat format);

struct GemmShape {
  int m = 0, n = 0, k = 0;  // tokens, outputs, inputs; all >= 1
};

/// Rows that activations and output must have: m, rounded up to 4 for fp8_block (cuBLASLt's rule).
/// Rows beyond m are computed too; what stands there has no meaning.
int gemm_rows(GemmFormat format, int m);

/// Device memory of one product, every pointer a multiple of 256 bytes.
struct GemmOperands {
  const void* activations = nullptr;  // [gemm_rows][k]
  const void* weights = nullptr;      // [n][k]
  void* out = nullptr;                // [gemm_rows][n]; all of it is written
  // fp8 alone: value = code * scale, laid out by scale_index(); rows there is gemm_rows
  const float* activation_scales = nullptr;
  const float* weight_scales = nullptr;
};

/// out = activations x weights^T for one shape on the current device. One workspace of 32 MiB
/// serves all plans of the process: run them on one stream, or in an order that streams keep. A
/// plan itself is for one thread at a time.
class GemmPlan {
 public:
  /// Asks cuBLASLt's heuristic for its eight best. Errors: NotSupportedHere when it knows none
  /// (e.g. fp8_block on another GPU than sm_90, fp8 with n or k no multiple of 16); CudaError.
  GemmPlan(GemmFormat format, GemmShape shape);
  ~GemmPlan();
  GemmPlan(GemmPlan&&) noexcept;
  GemmPlan& operator=(GemmPlan&&) = delete;

  /// 1 to 8; number 0 is the heuristic's first.
  int algorithms() const;
  /// cuBLASLt's own numbers: "algo 66 tile 20 stages 36 split-k 1 cluster 3".
  std::string algorithm_name(int algorithm) const;
  /// Asynchronous, capturable in a graph. Errors: CudaError.
  void launch(int algorithm, const GemmOperands& operands, Stream stream) const;

  GemmFormat format() const { return format_; }
  GemmShape shape() const { return shape_; }

 private:
  struct Descriptors;
  GemmFormat format_;
  GemmShape shape_;
  std::unique_ptr<Descriptors> descriptors_;
};

/// The library that runs, e.g. "13.1.0".
std::string cublaslt_version();

}  // namespace fleetsim::kernels
