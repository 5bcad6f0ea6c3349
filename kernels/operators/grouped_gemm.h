#pragma once
// The experts' matrix products in one launch: rows in the order of their experts, each group times
// the weights of its expert. How many rows an expert has is known to the device alone.

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"
#include "kernels/operators/expert_routing.h"

namespace fleetsim::kernels {

/// Operands; sums are fp32, outputs bf16. e4m3 has one scale for all rows and one for each expert's
/// weights, applied to the sums; scales of blocks along K are not offered.
enum class GroupedFormat { bf16, e4m3 };

/// out[row] = rows[row] times the transpose of weights[e], for offsets[e] <= row < offsets[e + 1].
/// Rows from offsets[experts] on are neither written nor looked at but for copies past the end.
/// Valid: rows_max >= 0 (0: nothing is launched), at least offsets[experts]; 1 to kExpertsMax
/// experts; n a multiple of 8; k one of 8 (bf16) or 16 (e4m3); pointers 16-byte aligned; out
/// overlaps nothing. Offsets do not fall, and begin at 0.
struct GroupedGemmArguments {
  GroupedFormat format = GroupedFormat::bf16;
  const void* rows = nullptr;             // [rows_max][k]
  const void* weights = nullptr;          // [experts][n][k]
  const std::int32_t* offsets = nullptr;  // [experts + 1], on the device
  const float* row_scale = nullptr;       // [1], e4m3
  const float* weight_scales = nullptr;   // [experts], e4m3
  Bf16* out = nullptr;                    // [rows_max][n]
  int rows_max = 0, experts = 0, n = 0, k = 0;
  /// About how many rows there will be: chooses the width of tiles, and changes no result. 0:
  /// rows_max.
  int rows_expected = 0;
};

/// Output columns of a tile, 256, 128 or 64, for about `rows` rows spread over `experts` on a
/// device of `sms` SMs: what needs the least time by the bytes that tiles fetch, were they fetched
/// in even rounds.
int grouped_gemm_tile_columns(int rows, int experts, int n, int sms);

/// Capturable; nothing depends on what offsets hold. Errors: NotSupportedHere on GPUs other than
/// sm_90; CudaError.
void launch_grouped_gemm(const GroupedGemmArguments& arguments, Stream stream);

}  // namespace fleetsim::kernels
