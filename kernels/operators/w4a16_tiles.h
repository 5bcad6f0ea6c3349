#pragma once
// The order in which the W4A16 kernel reads int4 weights: tiles of 128 inputs x 64 outputs.
//
// A tile is what one warp multiplies before the scale changes (Marlin's idea: Frantar, Castro,
// Chen, Hoefler, Alistarh, "MARLIN: Mixed-Precision Auto-Regressive Parallel Inference", 2024):
//   8 steps of 16 inputs, each 32 lanes x 16 bytes: lane 4g + t reads its B fragments of eight
//     mma.m16n8k16 at once. Of its word i, bits 4p and 4p + 16 are the codes of inputs
//     8 (p % 2) + 2t and the next, for output 16i + 8 (p / 2) + g;
//   64 scales, bf16: [g][j] for output 8j + g;
//   64 zero points, 4 bits: word g, bits 4j for output 8j + g.
// That is 4256 bytes, 0.5195 a weight. Tiles stand as [n/64][k/128].

#include <cstdint>
#include <vector>

#include "kernels/reference/int4_weights.h"

namespace fleetsim::kernels {

inline constexpr int kW4a16TileColumns = 64;
inline constexpr int kW4a16CodeBytes = kInt4Group * kW4a16TileColumns / 2;
inline constexpr int kW4a16ScaleBytes = kW4a16TileColumns * 2;
inline constexpr int kW4a16TileBytes = kW4a16CodeBytes + kW4a16ScaleBytes + kW4a16TileColumns / 2;

/// Bytes of the tiles of an [n][k] layer. k: a multiple of 128; n: of 64.
std::size_t w4a16_tiles_bytes(int n, int k);

/// Errors: std::invalid_argument when n is no multiple of 64, or k none of 128.
std::vector<std::uint8_t> pack_w4a16_tiles(const Int4Weights& weights);
/// The way back. CHECK: `tiles` has w4a16_tiles_bytes(n, k) bytes.
Int4Weights unpack_w4a16_tiles(const std::vector<std::uint8_t>& tiles, int n, int k);

}  // namespace fleetsim::kernels
