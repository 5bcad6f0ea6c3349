#pragma once
// How a block of the W4A16 kernel lays out its shared memory, by the rows of its tile.

#include "kernels/operators/w4a16_schedule.h"

namespace fleetsim::kernels {

/// A ring of stages, each 128 inputs deep: activations [rows][128] bf16 (16-byte pieces permuted
/// within a row by its number mod 8), then the four weight tiles of the block's 256 columns. Behind
/// the ring: staging for sums on their way out, and a flag.
template <int kRows>
struct W4a16Stages {
  static constexpr int kTileRows = kRows;
  static constexpr int kThreads = 256;  // eight warps, each 64 columns wide
  static constexpr int kColumnWarps = 4;
  static constexpr int kRowWarps = kRows == 128 ? 2 : 1;  // halves of the rows ...
  static constexpr int kDepthWarps = 2 / kRowWarps;       // ... or of each stage's depth
  static constexpr int kWarpRows = kRows / kRowWarps;
  /// Two blocks of 16 or 32 rows share an SM of 228 KiB.
  static constexpr int kBlocksOfSm = kRows <= 32 ? 2 : 1;
  static constexpr int kStages = kRows == 16 ? 4 : kRows == 128 ? 2 : 3;

  /// Steps of 16 inputs that are unrolled together; at 32 rows, two blocks of an SM leave a thread
  /// 128 registers, of which sums take 64.
  static constexpr int kStepsAtOnce = kRows == 32 ? 1 : 2;

  static constexpr int kActivationBytes = kRows * kInt4Group * 2;
  static constexpr int kWeightTiles = kW4a16ColumnsOfBlock / kW4a16TileColumns;
  static constexpr int kStageBytes = kActivationBytes + kWeightTiles * kW4a16TileBytes;

  static constexpr int kStagingRows = kRows < 32 ? kRows : 32;
  /// In floats; eight more than the columns, so that a fragment's rows fall into different banks.
  static constexpr int kStagingStride = kW4a16ColumnsOfBlock + 8;
  static constexpr int kStagingOffset = kStages * kStageBytes;
  static constexpr int kFlagOffset = kStagingOffset + kStagingRows * kStagingStride * 4;
  static constexpr int kSharedBytes = kFlagOffset + 16;

  static_assert(kStageBytes % 128 == 0);
};

}  // namespace fleetsim::kernels
