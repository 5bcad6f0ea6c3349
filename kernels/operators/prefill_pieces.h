#pragma once
// What the blocks of the Hopper prefill kernel work on: pieces of query tiles, the longest first.
//
// A tile is as many whole new tokens of a sequence as fit into its rows, with all query heads of a
// KV head's group; its work is counted in key tiles. Blocks stay for the whole launch and take one
// piece after the other. A piece is a tile with all of its keys, unless that would keep one block
// busy when the others have ended (a decode or a short chunk over a long context): then all tiles
// of more than `piece_tiles` key tiles are cut into pieces of so many. How long pieces are is found
// by each block from the lengths alone, so that a captured launch stays valid while these change.
//
// Pieces have ids without a table of them. Piece number m of a tile exists when the tile needs more
// than m * piece_tiles key tiles, and tiles have ranks, longest first (find_query_tile): the pieces
// number m are those of the first tiles_that_need(m * piece_tiles + 1) ranks. Last numbers come
// first, so that a launch ends with the short tiles that nobody cut; and the ids of pieces of cut
// tiles come before all others, so that they count places in the workspace.

#include <cmath>

#include "kernels/operators/prefill_tiles.h"

namespace fleetsim::kernels::hopper {

inline constexpr int kTileKeys = 128;
/// Pieces of a tile at most.
inline constexpr int kPiecesMax = 64;
/// Places for pieces of cut tiles in the workspace, a block: pieces are at least a third of a
/// block's share long, and a cut leaves one rest a tile.
inline constexpr int kPlacesPerBlock = 4;

/// The lengths of a ragged batch, in tiles of this kernel.
struct TileLengths {
  const int* query_starts;    // [sequences + 1]
  const int* cached_lengths;  // [sequences]
  int sequences;
  int tile_tokens;     // new tokens of a query tile
  int key_tiles_most;  // bound of the key tiles that a tile needs: that of a window
  bool causal;

  FLEETSIM_BOTH int new_tokens(int sequence) const {
    return query_starts[sequence + 1] - query_starts[sequence];
  }
  FLEETSIM_BOTH int tiles(int sequence) const {
    return ceil_div(new_tokens(sequence), tile_tokens);
  }
  /// Key tiles that new tokens before `token` (>= 1) of a sequence need.
  FLEETSIM_BOTH int key_tiles_before(int sequence, int token) const {
    const int all = ceil_div(cached_lengths[sequence] + token, kTileKeys);
    return all < key_tiles_most ? all : key_tiles_most;
  }
  /// Key tiles that a sequence's longest tile needs; 0 without new tokens.
  FLEETSIM_BOTH int key_tiles_max(int sequence) const {
    const int tokens = new_tokens(sequence);
    return tokens == 0 ? 0 : key_tiles_before(sequence, tokens);
  }
  /// Tiles of a sequence that need at least `key_tiles` (>= 1) key tiles: they are its last ones.
  FLEETSIM_BOTH int tiles_that_need(int sequence, int key_tiles) const {
    const int tokens = new_tokens(sequence);
    // the first token that sees more than key_tiles - 1 full tiles of keys
    const int token = (key_tiles - 1) * kTileKeys - cached_lengths[sequence];
    if (key_tiles > key_tiles_most || token >= tokens) return 0;
    const int all = ceil_div(tokens, tile_tokens);
    return token <= 0 || !causal ? all : all - token / tile_tokens;
  }
};

/// The most key tiles that `tile_tokens` new tokens can see through a window of `window` keys.
FLEETSIM_BOTH int key_tiles_of_window(int window, int tile_tokens) {
  return (window + tile_tokens - 2) / kTileKeys + 2;
}

/// Key tiles of a batch under one KV head: of all tiles, about, and of the longest one.
struct BatchLoad {
  float all;
  int longest;
};
template <class Team>
FLEETSIM_DEVICE BatchLoad load_of(const TileLengths& lengths, const Team& team) {
  float all = 0;
  int longest = 0;
  for (int i = team.member(); i < lengths.sequences; i += team.members()) {
    const int tokens = lengths.new_tokens(i);
    if (tokens == 0) continue;
    const int most = lengths.key_tiles_max(i);
    const int first = lengths.tile_tokens < tokens ? lengths.tile_tokens : tokens;
    const int least = lengths.causal ? lengths.key_tiles_before(i, first) : most;
    all += static_cast<float>(lengths.tiles(i)) * 0.5F * static_cast<float>(most + least);
    longest = most > longest ? most : longest;
  }
  return {team.sum(all), team.max(longest)};
}

/// How many key tiles pieces have; the longest tile's number where none is cut. A piece costs what
/// kPieceCost key tiles do beside its own (queries, the first keys, writing and adding up its part:
/// estimated). Pieces of s out of a share of h key tiles a block cost h * kPieceCost / s, and leave
/// up to s at the end, half of it in the mean: least at s = sqrt(2 kPieceCost h).
FLEETSIM_BOTH int piece_key_tiles(BatchLoad load, int kv_heads, int blocks) {
  constexpr float kPieceCost = 1.5F;
  constexpr float kWholeUpTo = 1.25F;  // shares: a tile that is not longer stays whole
  constexpr float kLeast = 4;
  const float share = load.all * static_cast<float>(kv_heads) / static_cast<float>(blocks);
  const float longest = static_cast<float>(load.longest);
  if (longest <= kWholeUpTo * share) return load.longest;
  float tiles = sqrtf(2 * kPieceCost * share);
  tiles = fmaxf(tiles, share / 3);
  tiles = fmaxf(tiles, kLeast);
  tiles = fmaxf(tiles, longest / kPiecesMax);
  const int whole = static_cast<int>(ceilf(tiles));
  return whole < load.longest ? whole : load.longest;
}

/// The pieces of a launch; stands in shared memory.
struct PiecePlan {
  int piece_tiles;         // key tiles of a piece, at least 1
  int numbers;             // pieces of the longest tile
  int ids;                 // pieces of all tiles under all KV heads
  int tiles[kPiecesMax];   // that have a piece number m
  int begins[kPiecesMax];  // id of the first piece number m
};

/// A piece, and where the others of its tile are: piece m of the tile has the id plan.begins[m] +
/// place.
struct Piece {
  QueryTile tile;
  int kv_head;
  int number;
  int place;  // of its tile among those of all KV heads, longest first
};

/// Fills in `plan`, pieces of cut tiles being at most `places`. All threads of the block; ends with
/// a barrier.
FLEETSIM_DEVICE void make_plan(PiecePlan* plan, const TileLengths& lengths, int kv_heads,
                               int blocks, int places) {
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / kWarpLanes, warps = static_cast<int>(blockDim.x) / kWarpLanes;
  const WholeWarp team;
  const BatchLoad load = load_of(lengths, team);
  int piece_tiles = places > 0 ? piece_key_tiles(load, kv_heads, blocks) : load.longest;
  if (piece_tiles < 1) piece_tiles = 1;  // no tiles at all
  int numbers = 1;
  while (true) {
    numbers = load.longest > piece_tiles ? ceil_div(load.longest, piece_tiles) : 1;
    for (int m = warp; m < numbers; m += warps) {
      int count = 0;
      for (int i = team.member(); i < lengths.sequences; i += team.members())
        count += lengths.tiles_that_need(i, m * piece_tiles + 1);
      count = team.sum(count);
      if (team.member() == 0) plan->tiles[m] = count;
    }
    sync_block();
    int cut = numbers > 1 ? plan->tiles[1] : 0;  // pieces number 0 of cut tiles
    for (int m = 1; m < numbers; ++m) cut += plan->tiles[m];
    if (static_cast<std::int64_t>(cut) * kv_heads <= places || numbers == 1) break;
    piece_tiles += piece_tiles / 2 + 1;
    sync_block();  // nobody reads the counts any more
  }
  if (thread == 0) {
    plan->piece_tiles = piece_tiles;
    plan->numbers = numbers;
    int begin = 0;
    for (int m = numbers - 1; m >= 0; --m) {
      plan->begins[m] = begin;
      begin += plan->tiles[m] * kv_heads;
    }
    plan->ids = begin;
  }
  sync_block();
}

/// The piece `id` < plan.ids. `number` is the number of a piece whose id was not larger, at first
/// plan.numbers - 1, and becomes that of this one. A warp together.
FLEETSIM_DEVICE Piece find_piece(const PiecePlan& plan, const TileLengths& lengths, int kv_heads,
                                 int id, int& number) {
  while (number > 0 && id >= plan.begins[number - 1]) --number;
  Piece piece;
  piece.number = number;
  piece.place = id - plan.begins[number];
  const int rank = piece.place / kv_heads;
  piece.kv_head = piece.place - rank * kv_heads;
  piece.tile = find_query_tile(lengths, rank, WholeWarp{});
  return piece;
}

}  // namespace fleetsim::kernels::hopper
