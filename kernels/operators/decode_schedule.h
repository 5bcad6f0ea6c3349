#pragma once
// Which block of the decode attention kernel reads which tokens: equal shares of all of them.
//
// A unit is the context of one sequence under one KV head, cut into tiles. Units lie one behind the
// other, KV heads of a sequence side by side, on a line on which a tile is one long and each unit
// begins with kUnitCost: the line is cut into equal shares, one a block, wherever the cuts fall
// ("stream-K": Osama et al., PPoPP 2023). A block finds its share from the lengths alone, by
// arithmetic: nothing is planned on the host, so that a captured launch stays valid while lengths
// change; and there is no launch before the kernel's own, whose latency would be a fifth of what a
// small batch takes.
//
// All positions and lengths of the line are in tiles.

#include <vector>

#include "kernels/device/cuda_words.h"

namespace fleetsim::kernels {

/// What beginning a unit costs beside its tiles: its queries come, its parts are merged.
inline constexpr int kUnitCost = 1;
/// Units of up to so many tiles stay whole (their block's share grows by as much): adding up parts
/// across blocks costs two round trips to L2 and an atomic, about as long as reading so many tiles.
/// FlashAttention-3 has the same rule.
inline constexpr int kWholeUnitTiles = 4;
/// Shares are at least so long: of a line too short for that, the last blocks get nothing.
inline constexpr int kShareMin = 2;

FLEETSIM_BOTH int decode_unit_tiles(int length, int tile_tokens) {
  return length > 0 ? ceil_div(length, tile_tokens) : 0;
}
/// Length on the line; a sequence without tokens takes none.
FLEETSIM_BOTH int decode_unit_cost(int length, int tile_tokens) {
  return length > 0 ? ceil_div(length, tile_tokens) + kUnitCost : 0;
}

/// The line and its cuts.
struct DecodeShares {
  int total = 0;   // length of the line
  int blocks = 0;  // that have a share: at most those of the launch, 0 when the line is empty
};

/// Which of a launch's blocks get shares.
enum class DecodeBlocks {
  fewest,  // as many as it takes to end no later than all of them would: so that the cuts of a
           // uniform batch fall between units where they can
  all      // each, as far as the line is long enough for shares of kShareMin
};

/// `blocks` >= 1 of a launch. The longest share is max(ceil(total / blocks), kShareMin).
FLEETSIM_BOTH DecodeShares decode_shares(int total, int blocks, DecodeBlocks use) {
  if (total <= 0) return {};
  const int most = ceil_div(total, kShareMin);
  if (blocks > most) blocks = most;
  return {total, use == DecodeBlocks::all ? blocks : ceil_div(total, ceil_div(total, blocks))};
}

/// Where the share of `block` begins, 0 <= block <= shares.blocks. Shares differ by at most 1.
FLEETSIM_BOTH int decode_share_begin(DecodeShares shares, int block) {
  return static_cast<int>(static_cast<std::uint64_t>(shares.total) *
                          static_cast<std::uint64_t>(block) /
                          static_cast<std::uint64_t>(shares.blocks));
}

/// The block whose share holds `position`, 0 <= position < shares.total.
FLEETSIM_BOTH int decode_share_owner(DecodeShares shares, int position) {
  return static_cast<int>(
      (static_cast<std::uint64_t>(position + 1) * static_cast<std::uint64_t>(shares.blocks) - 1) /
      static_cast<std::uint64_t>(shares.total));
}

/// What a block does at a stretch: tiles first_tile to first_tile + tiles - 1 of one unit.
struct DecodePiece {
  int sequence = 0, kv_head = 0;
  int length = 0;                       // tokens of the whole sequence
  int first_tile = 0, tiles = 0;        // tiles >= 1
  int first_block = 0, last_block = 0;  // that have pieces of this unit; equal: this one is whole

  FLEETSIM_BOTH bool is_whole() const { return first_block == last_block; }
};

/// A block on its way through its share.
struct DecodeWalk {
  const int* lengths = nullptr;  // [sequences], all of the batch
  int kv_heads = 0, tile_tokens = 0;
  DecodeShares shares;
  int block = 0;
  int begin = 0, end = 0;         // of the share
  int sequence = 0, kv_head = 0;  // of the next unit
  int unit_begin = 0;             // its position
};

/// At the beginning of the share of `block` < shares.blocks, which lies in the units of `sequence`,
/// which begin at `sequence_begin`.
FLEETSIM_BOTH DecodeWalk decode_walk(const int* lengths, int kv_heads, int tile_tokens,
                                     DecodeShares shares, int block, int sequence,
                                     int sequence_begin) {
  DecodeWalk walk;
  walk.lengths = lengths;
  walk.kv_heads = kv_heads;
  walk.tile_tokens = tile_tokens;
  walk.shares = shares;
  walk.block = block;
  walk.begin = decode_share_begin(shares, block);
  walk.end = decode_share_begin(shares, block + 1);
  walk.sequence = sequence;
  const int cost = decode_unit_cost(lengths[sequence], tile_tokens);
  walk.kv_head = (walk.begin - sequence_begin) / cost;
  walk.unit_begin = sequence_begin + walk.kv_head * cost;
  return walk;
}

/// The next piece; false at the end of the share.
FLEETSIM_BOTH bool next_piece(DecodeWalk& walk, DecodePiece& piece) {
  while (walk.unit_begin < walk.end) {
    const int length = walk.lengths[walk.sequence];
    const int tiles = decode_unit_tiles(length, walk.tile_tokens);
    const int unit_begin = walk.unit_begin;
    piece = {walk.sequence, walk.kv_head, length, 0, tiles, walk.block, walk.block};
    walk.unit_begin += decode_unit_cost(length, walk.tile_tokens);
    if (tiles == 0 || ++walk.kv_head == walk.kv_heads) {
      walk.kv_head = 0;
      ++walk.sequence;
    }
    if (tiles == 0) continue;
    if (tiles <= kWholeUnitTiles) {
      // whole, in the share that holds the unit's end
      if (walk.unit_begin > walk.end) return false;
      return true;
    }
    const int first_position = unit_begin + kUnitCost;  // of tile 0
    const int from = walk.begin > first_position ? walk.begin - first_position : 0;
    const int to = walk.end < walk.unit_begin ? walk.end - first_position : tiles;
    if (from >= to) continue;  // the share ends before the first tile
    piece.first_tile = from;
    piece.tiles = to - from;
    if (piece.tiles < tiles) {
      piece.first_block = decode_share_owner(walk.shares, first_position);
      piece.last_block = decode_share_owner(walk.shares, walk.unit_begin - 1);
    }
    return true;
  }
  return false;
}

/// All pieces of each of `blocks` blocks: what the kernel does, for tests and for the eye.
std::vector<std::vector<DecodePiece>> decode_plan(const std::vector<int>& lengths, int kv_heads,
                                                  int tile_tokens, int blocks,
                                                  DecodeBlocks use = DecodeBlocks::fewest);

}  // namespace fleetsim::kernels
