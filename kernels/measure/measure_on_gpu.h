#pragma once
// A point on the GPU: made ready in the arena, checked against float64, then timed; and the canary
// beside it.

#include <memory>

#include "kernels/measure/gpu_clocks.h"
#include "kernels/measure/gpu_replays.h"
#include "kernels/measure/run_points.h"

namespace fleetsim::kernels {

/// Everything that a run keeps on the GPU: canary operands, one arena of 85 % of the memory that is
/// free behind them, a stream.
class MeasureOnGpu {
 public:
  /// `clocks` outlives it. Errors: CudaError; NotSupportedHere when this GPU has no bf16 GEMM.
  MeasureOnGpu(std::uint64_t seed, const GpuClocks& clocks);

  /// Errors: DeviceLost. A CHECK of ours or a refusal of CUDA that leaves the device alive makes
  /// the outcome `failed`; too little memory or a missing ability makes it `skipped`.
  Outcome point(const Point& point);
  /// A GEMM of 4096^3 in bf16 and a copy of 1 GB, always the same. Errors: DeviceLost.
  CanaryReading canary();

 private:
  Outcome measured(const Point& point);
  double time_of(const PreparedPoint& prepared);

  std::uint64_t seed_;
  const GpuClocks& clocks_;
  OwnStream stream_;
  Arena canary_arena_;
  PreparedPoint canary_gemm_, canary_copy_;
  Arena arena_;  // last: it takes what is left
};

}  // namespace fleetsim::kernels
