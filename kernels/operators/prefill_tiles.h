#pragma once
// Which rows of a ragged prefill batch a block computes: query tiles, and their order by work.
//
// A row is one (new token, query head) pair of a KV head's group: row r of a sequence is its new
// token r / group, head r % group of the group. A tile is 128 such rows of one sequence, so short
// chunks fill tiles with the heads that share their keys, and a tile of 128 rows spans few tokens:
// little of a diagonal key tile is masked.
//
// With a sliding window a tile's work no longer grows to the end of its sequence: it is counted as
// that of a causal tile, but as no more than any tile with that window can see, so that "a
// sequence's last tiles need the most" stays true. Of the tiles that reach that bound, some see one
// or two key tiles less.
//
// Lengths are known on the device only. Block number -> tile needs no table in memory: the tiles of
// a sequence, first to last, see more and more keys, so "how many tiles need at least n key tiles"
// is a division per sequence, and the tile of a given rank, longest first, is found by bisection on
// n.

#include "kernels/device/warp.h"

namespace fleetsim::kernels {

inline constexpr int kQueryTileRows = 128;
inline constexpr int kKeyTileTokens = 64;

/// The lengths of a ragged batch.
struct PrefillLengths {
  const int* query_starts;    // [sequences + 1]: first new token of each, ascending from 0
  const int* cached_lengths;  // [sequences]: tokens whose keys stood in the cache before
  int sequences;
  int group;                     // query heads per KV head, >= 1
  bool causal;                   // new token i sees cached + i + 1 keys; else all cached + new
  int key_tiles_most = 1 << 30;  // bound of the key tiles that any tile needs

  FLEETSIM_BOTH int new_tokens(int sequence) const {
    return query_starts[sequence + 1] - query_starts[sequence];
  }
  FLEETSIM_BOTH int tiles(int sequence) const {
    return ceil_div(new_tokens(sequence) * group, kQueryTileRows);
  }
  /// Key tiles that the longest row of a sequence needs; 0 without new tokens.
  FLEETSIM_BOTH int key_tiles_max(int sequence) const {
    const int queries = new_tokens(sequence);
    if (queries == 0) return 0;
    const int all = ceil_div(cached_lengths[sequence] + queries, kKeyTileTokens);
    return all < key_tiles_most ? all : key_tiles_most;
  }
  /// Tiles of a sequence that need at least `key_tiles` (>= 1) key tiles: they are its last ones.
  FLEETSIM_BOTH int tiles_that_need(int sequence, int key_tiles) const {
    if (key_tiles > key_tiles_most) return 0;
    const int queries = new_tokens(sequence);
    const int all = ceil_div(queries * group, kQueryTileRows);
    // the first token that sees more than key_tiles - 1 full tiles of keys
    const int token = (key_tiles - 1) * kKeyTileTokens - cached_lengths[sequence];
    if (!causal) return token < queries ? all : 0;
    if (token >= queries) return 0;
    return token <= 0 ? all : all - token * group / kQueryTileRows;
  }
};

/// The most key tiles that the rows of a query tile can see through a window of `window` keys.
FLEETSIM_BOTH int window_key_tiles(int window, int group) {
  const int tokens = ceil_div(kQueryTileRows - 1, group) + 1;  // that a query tile can touch
  const int keys = window + tokens - 1;
  return ceil_div(keys - 1, kKeyTileTokens) + 1;
}

/// A tile of a sequence; `sequence` is -1 where there is none.
struct QueryTile {
  int sequence;
  int number;  // rows number * 128 and the next 127 of the sequence
};

/// The largest number of tiles that `total_tokens` new tokens of `sequences` sequences can have.
FLEETSIM_BOTH int query_tiles_max(int total_tokens, int sequences, int group) {
  // a sequence's tiles are fewer than its rows / 128 plus one
  return total_tokens * group / kQueryTileRows + sequences;
}

/// The new token (counted from 0 in its sequence) and the head of the group of a tile's rows.
/// Divides once; rows follow by a multiplication that is exact for groups up to 64: for n < 256 and
/// error e <= group of the inverse, n * e < 65536.
class TileRows {
 public:
  FLEETSIM_BOTH TileRows(int tile, int group)
      : first_token_(tile * kQueryTileRows / group),
        first_head_(tile * kQueryTileRows % group),
        group_(group),
        inverse_(65536 / group + 1) {}
  FLEETSIM_BOTH int token(int row) const {
    return first_token_ + ((first_head_ + row) * inverse_ >> 16);
  }
  FLEETSIM_BOTH int head(int row) const {
    const int n = first_head_ + row;
    return n - (n * inverse_ >> 16) * group_;
  }

 private:
  int first_token_, first_head_, group_, inverse_;
};
inline constexpr int kPrefillGroupMax = 64;

/// Finds tiles alone: the host.
struct OneThread {
  FLEETSIM_DEVICE int member() const { return 0; }
  FLEETSIM_DEVICE int members() const { return 1; }
  template <class T>
  FLEETSIM_DEVICE T sum(T value) const {
    return value;
  }
  FLEETSIM_DEVICE int sum_before(int) const { return 0; }
  FLEETSIM_DEVICE int max(int value) const { return value; }
};

/// 32 lanes that find the same tile together.
struct WholeWarp {
  FLEETSIM_DEVICE int member() const { return static_cast<int>(threadIdx.x) % kWarpLanes; }
  FLEETSIM_DEVICE int members() const { return kWarpLanes; }
  template <class T>
  FLEETSIM_DEVICE T sum(T value) const {
    return warp_sum(value);
  }
  FLEETSIM_DEVICE int sum_before(int value) const {
    int upto = value;
    FLEETSIM_UNROLL
    for (int distance = 1; distance < kWarpLanes; distance *= 2) {
      const int other = shuffle_up(upto, distance);
      if (member() >= distance) upto += other;
    }
    return upto - value;
  }
  FLEETSIM_DEVICE int max(int value) const { return warp_max(value); }
};

/// The tile of rank `rank` >= 0: tiles that need more key tiles come first, equal ones by sequence,
/// within a sequence from its end. Each tile of the batch has exactly one rank; ranks beyond the
/// last give sequence -1. All members of the team call it with the same arguments. Lengths:
/// PrefillLengths, or what has its `sequences`, tiles, key_tiles_max and tiles_that_need.
template <class Lengths, class Team>
FLEETSIM_DEVICE QueryTile find_query_tile(const Lengths& lengths, int rank, const Team& team) {
  const auto tiles_that_need = [&](int key_tiles) {
    int count = 0;
    for (int i = team.member(); i < lengths.sequences; i += team.members())
      count += lengths.tiles_that_need(i, key_tiles);
    return team.sum(count);
  };
  int above = 0;  // becomes the smallest number of key tiles that at most `rank` tiles need
  for (int i = team.member(); i < lengths.sequences; i += team.members()) {
    const int here = lengths.key_tiles_max(i);
    above = here > above ? here : above;
  }
  above = team.max(above) + 1;
  int before = 0;  // tiles that need `above`
  int need = 1;    // more than `rank` tiles need this many
  if (tiles_that_need(need) <= rank) return {-1, 0};
  while (above - need > 1) {
    const int middle = need + (above - need) / 2;
    const int count = tiles_that_need(middle);
    if (count > rank) {
      need = middle;
    } else {
      above = middle;
      before = count;
    }
  }
  // the tile is number `rest` of those that need exactly `need`
  int rest = rank - before;
  for (int first = 0; first < lengths.sequences; first += team.members()) {
    const int i = first + team.member();
    const bool there = i < lengths.sequences;
    const int longer = there ? lengths.tiles_that_need(i, above) : 0;
    const int equal = there ? lengths.tiles_that_need(i, need) - longer : 0;
    const int all = team.sum(equal);
    if (rest >= all) {
      rest -= all;
      continue;
    }
    const int own_rest = rest - team.sum_before(equal);
    const bool own = own_rest >= 0 && own_rest < equal;
    return {team.max(own ? i : -1), team.max(own ? lengths.tiles(i) - longer - 1 - own_rest : -1)};
  }
  return {-1, 0};
}

}  // namespace fleetsim::kernels
