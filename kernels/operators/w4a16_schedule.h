#pragma once
// Which block of the W4A16 kernel multiplies what: whole tiles in waves, the rest cut along K.
//
// The output is cut into tiles of tile_rows x 256. As many full waves of tiles as there are go
// whole, one a block; what is left over (with few tokens: everything) is cut along K into equal
// ranges, so that all SMs read weights ("stream-K": Osama et al., PPoPP 2023). A tile in several
// pieces is summed by the block that ends last, in the order of K whoever that is: results do not
// depend on timing.

#include "kernels/operators/w4a16_tiles.h"

namespace fleetsim::kernels {

inline constexpr int kW4a16ColumnsOfBlock = 256;

struct W4a16Plan {
  int tile_rows = 0;       // 16, 32, 64 or 128
  int row_tiles = 0;       // ceil(m / tile_rows)
  int column_tiles = 0;    // ceil(n / 256)
  int groups = 0;          // k / 128: the depth of a tile
  int blocks = 0;          // of the launch
  int whole_tiles = 0;     // tile t < whole_tiles: block t % blocks, all of K
  int shared_tiles = 0;    // those after them; fewer than blocks
  int sharing_blocks = 0;  // blocks 0 to sharing_blocks - 1 take equal ranges of the shared tiles'
                           // groups; at least shared_tiles, or 0

  bool operator==(const W4a16Plan&) const = default;
};

/// What a block does at a stretch: groups [group_begin, group_end) of one tile.
struct W4a16Piece {
  int tile = 0;  // of row_tiles x column_tiles; see w4a16_tile_place
  int group_begin = 0, group_end = 0;
  int slot = 0;  // where its sums go when they are a part: 2 * block or 2 * block + 1

  FLEETSIM_BOTH bool is_whole(const W4a16Plan& plan) const {
    return group_end - group_begin == plan.groups;
  }
};

/// First group, counted over all shared tiles, of sharing block `block`; of sharing_blocks: the
/// end.
FLEETSIM_BOTH int w4a16_range_begin(const W4a16Plan& plan, int block) {
  // 32 bits: plans keep the product small, and a division of 64 bits takes a GPU long
  const unsigned groups = static_cast<unsigned>(plan.shared_tiles * plan.groups);
  return static_cast<int>(groups * static_cast<unsigned>(block) /
                          static_cast<unsigned>(plan.sharing_blocks));
}

/// The sharing block whose range holds `group`.
FLEETSIM_BOTH int w4a16_range_owner(const W4a16Plan& plan, int group) {
  const unsigned groups = static_cast<unsigned>(plan.shared_tiles * plan.groups);
  return static_cast<int>(
      (static_cast<unsigned>(group + 1) * static_cast<unsigned>(plan.sharing_blocks) - 1) / groups);
}

/// Piece `index` (0, 1, ...) of `block`; false when it has no more.
FLEETSIM_BOTH bool w4a16_piece(const W4a16Plan& plan, int block, int index, W4a16Piece& piece) {
  // waves of whole tiles; the count of tiles is a multiple of the blocks
  const int waves = plan.whole_tiles / plan.blocks;
  if (index < waves) {
    piece = {index * plan.blocks + block, 0, plan.groups, 0};
    return true;
  }
  if (block >= plan.sharing_blocks) return false;
  const int begin = w4a16_range_begin(plan, block), end = w4a16_range_begin(plan, block + 1);
  const int shared_tile = begin / plan.groups + (index - waves);
  const int tile_begin = shared_tile * plan.groups;
  piece.tile = plan.whole_tiles + shared_tile;
  piece.group_begin = begin > tile_begin ? begin - tile_begin : 0;
  piece.group_end = (end < tile_begin + plan.groups ? end : tile_begin + plan.groups) - tile_begin;
  piece.slot = 2 * block + (index - waves);
  return piece.group_begin < piece.group_end;
}

/// Sharing blocks `first` to `last` hold parts of shared tile number `shared_tile`.
struct W4a16Contributors {
  int first = 0, last = 0;
};
FLEETSIM_BOTH W4a16Contributors w4a16_contributors(const W4a16Plan& plan, int shared_tile) {
  return {w4a16_range_owner(plan, shared_tile * plan.groups),
          w4a16_range_owner(plan, (shared_tile + 1) * plan.groups - 1)};
}

/// The slot in which sharing block `block` left its part of `shared_tile`.
FLEETSIM_BOTH int w4a16_slot_of(const W4a16Plan& plan, int shared_tile, int block) {
  return 2 * block + (shared_tile - w4a16_range_begin(plan, block) / plan.groups);
}

struct W4a16TilePlace {
  int row_tile = 0, column_tile = 0;
};
/// Tiles count in bands of eight row tiles, down each column of a band, so that blocks which run at
/// the same time share activations and weights in L2.
FLEETSIM_BOTH W4a16TilePlace w4a16_tile_place(const W4a16Plan& plan, int tile) {
  constexpr int kBand = 8;
  const int band = tile / (kBand * plan.column_tiles);
  const int left = plan.row_tiles - band * kBand;
  const int band_rows = left < kBand ? left : kBand;
  const int within = tile - band * kBand * plan.column_tiles;
  return {band * kBand + within % band_rows, within / band_rows};
}

/// What the choice of a plan needs to know of a device.
struct W4a16Device {
  int sms = 0;
  std::size_t shared_bytes_max = 0;  // per block; an SM has 1 KiB more, and each block takes 1 KiB
};

/// Shared memory of a block of the kernel for `tile_rows`.
std::size_t w4a16_shared_bytes(int tile_rows);

/// The plan of a product of [m][k] and [n][k]. m >= 1; n a multiple of 64; k of 128 (CHECK).
W4a16Plan plan_w4a16_gemm(int m, int n, int k, const W4a16Device& device);

/// The same shape with the shared tiles spread over `sharing_blocks` blocks (at least their number,
/// at most their groups), for checks of every cut.
W4a16Plan with_sharing_blocks(W4a16Plan plan, int sharing_blocks);

/// Device memory a launch by `plan` needs beside its operands, bytes: a counter a block, then fp32
/// sums [2 * sharing_blocks][tile_rows][256].
std::size_t w4a16_workspace_bytes(const W4a16Plan& plan);
/// Bytes of the counters in front.
std::size_t w4a16_counter_bytes(const W4a16Plan& plan);

}  // namespace fleetsim::kernels
