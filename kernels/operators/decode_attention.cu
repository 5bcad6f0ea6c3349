// Persistent blocks, two a multiprocessor, each walks through an equal share of all tokens
// (decode_schedule.h) tile by tile (decode_tile.h).
//
// sm_90 and later: a fifth warp runs ahead of the four that compute, over the ends of pieces, and
// keeps a ring of three tiles (five of 16 KiB) filled by bulk copies, 2 KiB each (a chunk), that
// complete on an mbarrier: two blocks have 128 KiB or more under way, twice what latency times
// bandwidth asks of a multiprocessor. It looks page numbers up a tile ahead. Queries come with a
// piece's first tile. Before: the computing warps copy themselves by cp.async, one tile ahead of
// two.
//
// A unit cut by the schedule ends in the block that comes last, which adds the parts up in the
// order of the blocks, whoever it is: the result does not depend on timing. A combining kernel
// would cost another launch; here a cut unit costs a write and a read of group x head_dim floats a
// part through L2 and an atomic, and the batch 1, 1k tokens case stays one launch.
//
// History, by kernels-and-cost-models §5.2: stage 0, a warp a (sequence, head), is
// plain_attention.cu, now the oracle for big shapes; stage 1 (split KV, groups packed into mma
// rows, cp.async) is the path before sm_90 here; stage 2 the other. None has run on a GPU yet.

#include <bit>

#include "kernels/device/device_memory.h"
#include "kernels/operators/decode_share.h"
#include "kernels/operators/decode_tile.h"

namespace fleetsim::kernels {
namespace {

constexpr int kProducerWarp = kDecodeWarps;
constexpr int kConsumersMeet = 1;  // named barrier of the computing warps

/// Parts of cut units. A block has at most two: of the unit its share begins in (slot 2 block) and
/// of the one it ends in (slot 2 block + 1, when the unit begins in this block).
struct Workspace {
  unsigned* arrived;  // [blocks]: parts written of the unit whose first block this is; 0 at rest
  RowStats* stats;    // [2 blocks][kGroupMax]
  float* out;         // [2 blocks][group][head_dim], not yet divided by the weight
};

template <class Element>
struct Parameters {
  DecodeAttentionArguments<Element> arguments;
  Workspace workspace;
  int group;
  int page_shift;  // page_tokens = 1 << page_shift
  DecodeBlocks use;
  float scale_log2;  // softmax_scale * key_scale * log2(e)
};

constexpr std::size_t align_256(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

template <class Element>
int blocks_of(const DecodeAttentionArguments<Element>& arguments) {
  return arguments.blocks > 0 ? arguments.blocks : 2 * device_facts().sms;
}

/// What the computing warps need to know of the tile in a stage; stands in shared memory, so that
/// only who copies walks through the share.
struct TileOrder {
  DecodePiece piece;  // without tiles: the share has ended
  int tile = 0;       // of the unit

  FLEETSIM_DEVICE bool is_end() const { return piece.tiles == 0; }
  FLEETSIM_DEVICE bool begins_piece() const { return tile == piece.first_tile; }
  FLEETSIM_DEVICE bool ends_piece() const { return tile + 1 == piece.first_tile + piece.tiles; }
  /// Tokens of this tile that exist.
  FLEETSIM_DEVICE int valid(int tile_tokens) const {
    const int left = piece.length - tile * tile_tokens;
    return left < tile_tokens ? left : tile_tokens;
  }
};

/// Stages of the ring: what two blocks a multiprocessor leave room for.
template <class Tile, bool kBulk>
constexpr int ring_stages() {
  if (!kBulk) return 2;
  return Tile::kStageBytes > 32 * 1024 ? 3 : 5;
}

template <class Tile, bool kBulk>
struct SharedLayout {
  static constexpr int kStages = ring_stages<Tile, kBulk>();
  static constexpr int kThreads = kDecodeThreads + (kBulk ? kWarpLanes : 0);
  static constexpr int kBarriers = kStages * Tile::kStageBytes;  // offset: full, then empty
  static constexpr int kOrders = kBarriers + ceil_div(2 * kStages * 8, 16) * 16;
  static constexpr int kStats = kOrders + kStages * int{sizeof(TileOrder)};
  static constexpr int kPlan = kStats + kDecodeWarps * kGroupMax * int{sizeof(RowStats)};
  static constexpr int kPlanInts = kThreads / kWarpLanes + 3;
  static constexpr int kBytes = kPlan + ceil_div(kPlanInts * 4, 16) * 16;
  // 228 KiB of an H100, H200 or B200 and 164 KiB of an A100, less 1 KiB a block for the system
  static_assert(2 * (kBytes + 1024) <= (kBulk ? 228 : 164) * 1024, "two blocks a multiprocessor");
};

/// The tiles of a walk, one by one, and then its end.
struct TileCursor {
  DecodeWalk walk;
  TileOrder at;

  FLEETSIM_DEVICE explicit TileCursor(const DecodeWalk& from) : walk(from) { next_of_walk(); }
  FLEETSIM_DEVICE void advance() {
    if (++at.tile == at.piece.first_tile + at.piece.tiles) next_of_walk();
  }

 private:
  FLEETSIM_DEVICE void next_of_walk() {
    if (!next_piece(walk, at.piece)) at.piece.tiles = 0;
    at.tile = at.piece.first_tile;
  }
};

/// Where row `token` of a piece's sequence begins, in bytes from the start of the pool. `token`
/// exists.
template <class Tile>
FLEETSIM_DEVICE std::size_t row_offset(const Parameters<typename Tile::Element>& p,
                                       const DecodePiece& piece, int token) {
  const auto& a = p.arguments;
  const int page = a.page_table[static_cast<std::size_t>(piece.sequence) * a.pages_per_sequence +
                                (token >> p.page_shift)];
  return ((static_cast<std::size_t>(page) * a.kv_heads + piece.kv_head) * a.page_tokens +
          (token & (a.page_tokens - 1))) *
         Tile::kRowBytes;
}

template <class Arguments>
FLEETSIM_DEVICE const Bf16* group_queries(const Arguments& a, const DecodePiece& piece, int group,
                                          int head_dim) {
  return a.query + (static_cast<std::size_t>(piece.sequence) * a.query_heads +
                    static_cast<std::size_t>(piece.kv_head) * group) *
                       head_dim;
}

/// The copying warp (sm_90 on). Lanes 0 to 7: a chunk of keys each; 8 to 15: of values; 16 to 31: a
/// query row each.
template <class Tile, class Layout>
FLEETSIM_DEVICE void produce(const Parameters<typename Tile::Element>& p, const DecodeWalk& walk,
                             unsigned char* shared, int lane) {
  const auto& a = p.arguments;
  auto* full = reinterpret_cast<Mbarrier*>(shared + Layout::kBarriers);
  Mbarrier* empty = full + Layout::kStages;
  auto* orders = reinterpret_cast<TileOrder*>(shared + Layout::kOrders);
  const int chunk = lane % kChunks;
  const bool copies_tokens = lane < 2 * kChunks, of_values = lane >= kChunks;
  const auto* pages =
      reinterpret_cast<const unsigned char*>(of_values ? a.value_pages : a.key_pages);
  const auto chunk_rows = [&](const TileOrder& order) {
    const int rows = order.valid(Tile::kTokens) - chunk * Tile::kChunkTokens;
    return rows < 0 ? 0 : rows < Tile::kChunkTokens ? rows : Tile::kChunkTokens;
  };
  const auto chunk_offset = [&](const TileOrder& order) {
    if (order.is_end() || !copies_tokens || chunk_rows(order) == 0) return std::size_t{0};
    return row_offset<Tile>(p, order.piece,
                            order.tile * Tile::kTokens + chunk * Tile::kChunkTokens);
  };

  TileCursor next(walk);
  std::size_t next_offset = chunk_offset(next.at);
  int stage = 0;
  unsigned parity = 0;
  while (true) {
    const TileOrder order = next.at;
    const std::size_t offset = next_offset;
    if (!order.is_end()) {
      next.advance();
      next_offset = chunk_offset(next.at);  // on its way while this tile waits for room
    }
    barrier_wait(&empty[stage], parity ^ 1);
    unsigned char* to = shared + stage * Tile::kStageBytes;
    if (lane == 0) {
      orders[stage] = order;
      const int rows = order.is_end() ? 0 : order.valid(Tile::kTokens);
      const int query_rows = !order.is_end() && order.begins_piece() ? p.group : 0;
      barrier_arrive_expecting(&full[stage],
                               static_cast<std::uint32_t>(2 * rows * Tile::kRowBytes +
                                                          query_rows * Tile::kQueryRowBytes));
    }
    if (order.is_end()) return;
    sync_warp();
    if (copies_tokens) {
      const int rows = chunk_rows(order);
      if (rows > 0)
        bulk_copy_to_shared(to + (of_values ? Tile::kHalfBytes : 0) + chunk * Tile::kChunkStride,
                            pages + offset, static_cast<std::uint32_t>(rows * Tile::kRowBytes),
                            &full[stage]);
    } else if (order.begins_piece() && lane - 2 * kChunks < p.group) {
      const int row = lane - 2 * kChunks;
      bulk_copy_to_shared(
          to + Tile::kQueries + row * Tile::kQueryStride,
          group_queries(a, order.piece, p.group, Tile::kHeadDim) + row * Tile::kHeadDim,
          Tile::kQueryRowBytes, &full[stage]);
    }
    if (++stage == Layout::kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
}

/// All computing warps copy one tile by cp.async (before sm_90).
template <class Tile>
FLEETSIM_DEVICE void copy_tile(const Parameters<typename Tile::Element>& p, const TileOrder& at,
                               unsigned char* stage, int thread) {
  constexpr int kPieces = Tile::kRowBytes / 16, kQueryPieces = Tile::kQueryRowBytes / 16;
  constexpr int kRowsAtOnce = kDecodeThreads / kPieces;
  const auto& a = p.arguments;
  const int valid = at.valid(Tile::kTokens);
  const int piece = thread % kPieces;
  const auto* keys = reinterpret_cast<const unsigned char*>(a.key_pages);
  const auto* values = reinterpret_cast<const unsigned char*>(a.value_pages);
  FLEETSIM_UNROLL
  for (int first = 0; first < Tile::kTokens; first += kRowsAtOnce) {
    const int row = first + thread / kPieces;
    const bool exists = row < valid;
    const std::size_t offset =
        (exists ? row_offset<Tile>(p, at.piece, at.tile * Tile::kTokens + row) : 0) + 16 * piece;
    unsigned char* to = stage + row / Tile::kChunkTokens * Tile::kChunkStride +
                        row % Tile::kChunkTokens * Tile::kRowBytes + 16 * piece;
    copy_async_16(to, keys + offset, exists);
    copy_async_16(to + Tile::kHalfBytes, values + offset, exists);
  }
  if (at.begins_piece()) {
    const Bf16* rows = group_queries(a, at.piece, p.group, Tile::kHeadDim);
    FLEETSIM_UNROLL
    for (int first = 0; first < kGroupMax * kQueryPieces; first += kDecodeThreads) {
      const int row = (first + thread) / kQueryPieces, of_row = (first + thread) % kQueryPieces;
      const bool exists = row < p.group;
      copy_async_16(stage + Tile::kQueries + row * Tile::kQueryStride + 16 * of_row,
                    rows + (exists ? row * Tile::kHeadDim + 8 * of_row : 0), exists);
    }
  }
}

/// Four results of a row: out and log-sum-exp, from sums over all tokens.
template <class Element>
FLEETSIM_DEVICE void write_result(const Parameters<Element>& p, const DecodePiece& piece, int row,
                                  int dimension, int head_dim, float4 sum, RowStats stats) {
  const auto& a = p.arguments;
  const std::size_t head = static_cast<std::size_t>(piece.sequence) * a.query_heads +
                           static_cast<std::size_t>(piece.kv_head) * p.group + row;
  const float factor = a.value_scale / stats.weight;
  const uint2 packed = {pack_bf16(sum.x * factor, sum.y * factor),
                        pack_bf16(sum.z * factor, sum.w * factor)};
  *reinterpret_cast<uint2*>(a.out + head * head_dim + dimension) = packed;
  if (dimension == 0 && a.log_sum_exp != nullptr)
    a.log_sum_exp[head] = (stats.largest * p.scale_log2 + log2f(stats.weight)) * kLn2;
}

/// Adds up all parts of a unit, in the order of its blocks, and writes the result.
template <class Tile>
FLEETSIM_DEVICE void combine_parts(const Parameters<typename Tile::Element>& p,
                                   const DecodePiece& piece, int thread) {
  constexpr int kFours = Tile::kHeadDim / 4;
  constexpr int kAtOnce = 4;  // loads under way
  for (int i = thread; i < p.group * kFours; i += kDecodeThreads) {
    const int row = i / kFours, dimension = i % kFours * 4;
    float4 sum = {0, 0, 0, 0};
    RowStats stats = {minus_infinity(), 0};
    for (int first = piece.first_block; first <= piece.last_block; first += kAtOnce) {
      uint4 part[kAtOnce];
      RowStats of_part[kAtOnce];
      FLEETSIM_UNROLL
      for (int j = 0; j < kAtOnce; ++j) {
        const int block = first + j < piece.last_block ? first + j : piece.last_block;
        const std::size_t slot = 2 * static_cast<std::size_t>(block) + (block == piece.first_block);
        part[j] =
            load_16_coherent(p.workspace.out + (slot * p.group + row) * Tile::kHeadDim + dimension);
        of_part[j] = p.workspace.stats[slot * kGroupMax + row];
      }
      FLEETSIM_UNROLL
      for (int j = 0; j < kAtOnce; ++j)
        if (first + j <= piece.last_block)
          add_part(sum, stats,
                   {float_of_bits(part[j].x), float_of_bits(part[j].y), float_of_bits(part[j].z),
                    float_of_bits(part[j].w)},
                   of_part[j], p.scale_log2);
    }
    write_result(p, piece, row, dimension, Tile::kHeadDim, sum, stats);
  }
}

/// Float index of (row, dimension) in the merge area of a warp: rows turned so that neither the
/// writes of fragments (8 or 16 bytes a lane) nor the reads of rows meet in a bank.
template <class Tile>
FLEETSIM_DEVICE int merge_place(int row, int dimension) {
  return row * Tile::kHeadDim + (dimension ^ (row % 2 * 16 + row / 2 % 2 * 8));
}

/// Merges the warps' sums of a piece and writes its result, or its part. `stage` held the piece's
/// last tile and is overwritten. The computing warps, together.
template <class Tile, class Layout>
FLEETSIM_DEVICE void finish_piece(const Parameters<typename Tile::Element>& p,
                                  const DecodePiece& piece, DecodeSums<Tile>& sums,
                                  unsigned char* shared, unsigned char* stage, int thread) {
  constexpr int kFours = Tile::kHeadDim / 4;
  constexpr int kWarpFloats = kGroupMax * Tile::kHeadDim;
  const int warp = thread / kWarpLanes, lane = thread % kWarpLanes;
  auto* stats = reinterpret_cast<RowStats*>(shared + Layout::kStats);
  auto* last_to_come = reinterpret_cast<int*>(shared + Layout::kPlan) + Layout::kPlanInts - 1;
  auto* merged = reinterpret_cast<float*>(stage);

  sync_threads(kConsumersMeet, kDecodeThreads);  // nobody reads the tile any more
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int row = lane / 4 + 8 * half;
    sums.weight[half] += shuffle_xor(sums.weight[half], 1);
    sums.weight[half] += shuffle_xor(sums.weight[half], 2);
    if (row >= p.group) continue;
    if (lane % 4 == 0) stats[warp * kGroupMax + row] = {sums.largest[half], sums.weight[half]};
    FLEETSIM_UNROLL
    for (int block = 0; block < Tile::kOutBlocks; block += 2) {
      float* to = merged + warp * kWarpFloats;
      const float* left = &sums.out[block][2 * half];
      const float* right = &sums.out[block + 1][2 * half];
      if constexpr (Tile::kIsBf16) {
        *reinterpret_cast<float2*>(
            to + merge_place<Tile>(row, out_dimension<Tile>(block, 0, lane))) = {left[0], left[1]};
        *reinterpret_cast<float2*>(
            to + merge_place<Tile>(row, out_dimension<Tile>(block + 1, 0, lane))) = {right[0],
                                                                                     right[1]};
      } else {
        *reinterpret_cast<float4*>(to +
                                   merge_place<Tile>(row, out_dimension<Tile>(block, 0, lane))) = {
            left[0], right[0], left[1], right[1]};
      }
    }
  }
  sync_threads(kConsumersMeet, kDecodeThreads);

  const bool whole = piece.is_whole();
  const int block = static_cast<int>(blockIdx.x);
  const std::size_t slot = 2 * static_cast<std::size_t>(block) + (block == piece.first_block);
  for (int i = thread; i < p.group * kFours; i += kDecodeThreads) {
    const int row = i / kFours, dimension = i % kFours * 4;
    float4 sum = {0, 0, 0, 0};
    RowStats total = {minus_infinity(), 0};
    FLEETSIM_UNROLL
    for (int w = 0; w < kDecodeWarps; ++w) {
      const RowStats of_warp = stats[w * kGroupMax + row];
      if (of_warp.largest == minus_infinity()) continue;  // none of its tokens exist
      add_part(sum, total,
               *reinterpret_cast<const float4*>(merged + w * kWarpFloats +
                                                merge_place<Tile>(row, dimension)),
               of_warp, p.scale_log2);
    }
    if (whole) {
      write_result(p, piece, row, dimension, Tile::kHeadDim, sum, total);
    } else {
      store_16(p.workspace.out + (slot * p.group + row) * Tile::kHeadDim + dimension,
               {bits_of(sum.x), bits_of(sum.y), bits_of(sum.z), bits_of(sum.w)});
      if (dimension == 0) p.workspace.stats[slot * kGroupMax + row] = total;
    }
  }
  if (whole) return;
  fence_device();
  sync_threads(kConsumersMeet, kDecodeThreads);
  unsigned* arrived = p.workspace.arrived + piece.first_block;
  if (thread == 0) {
    const unsigned parts = static_cast<unsigned>(piece.last_block - piece.first_block);
    *last_to_come = add_release(arrived, 1U) == parts ? 1 : 0;
  }
  sync_threads(kConsumersMeet, kDecodeThreads);
  if (*last_to_come == 0) return;
  fence_device();
  combine_parts<Tile>(p, piece, thread);
  if (thread == 0) *arrived = 0;  // at rest for the next launch
}

/// Computes on the tile of a stage; true when that ended a piece.
template <class Tile, class Layout>
FLEETSIM_DEVICE bool take_in(const Parameters<typename Tile::Element>& p, const TileOrder& order,
                             DecodeSums<Tile>& sums, DecodeQueries<Tile>& queries,
                             unsigned char* shared, int stage, int thread) {
  const int warp = thread / kWarpLanes, lane = thread % kWarpLanes;
  unsigned char* tile = shared + stage * Tile::kStageBytes;
  if (order.begins_piece()) {
    read_queries<Tile>(queries, tile, lane);
    clear(sums);
  }
  attend_tile<Tile>(sums, queries, tile, order.valid(Tile::kTokens), p.scale_log2, warp, lane);
  if (!order.ends_piece()) return false;
  finish_piece<Tile, Layout>(p, order.piece, sums, shared, tile, thread);
  return true;
}

/// A computing warp where another one copies (sm_90 on).
template <class Tile, class Layout>
FLEETSIM_DEVICE void consume_copied(const Parameters<typename Tile::Element>& p,
                                    unsigned char* shared, int thread) {
  auto* full = reinterpret_cast<Mbarrier*>(shared + Layout::kBarriers);
  Mbarrier* empty = full + Layout::kStages;
  const auto* orders = reinterpret_cast<const TileOrder*>(shared + Layout::kOrders);
  const int lane = thread % kWarpLanes;
  int stage = 0;
  unsigned parity = 0;
  DecodeQueries<Tile> queries;
  DecodeSums<Tile> sums;
  while (true) {
    barrier_wait(&full[stage], parity);
    const TileOrder& order = orders[stage];
    if (order.is_end()) return;
    if (take_in<Tile, Layout>(p, order, sums, queries, shared, stage, thread))
      fence_before_bulk_copy();  // the merge wrote where copies will
    sync_warp();
    if (lane == 0) barrier_arrive(&empty[stage]);
    if (++stage == Layout::kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
}

/// All threads, which copy one tile while they compute on another (before sm_90).
template <class Tile, class Layout>
FLEETSIM_DEVICE void copy_and_consume(const Parameters<typename Tile::Element>& p,
                                      const DecodeWalk& walk, unsigned char* shared, int thread) {
  static_assert(Layout::kStages == 2);
  auto* orders = reinterpret_cast<TileOrder*>(shared + Layout::kOrders);
  TileCursor ahead(walk);
  const auto copy_ahead = [&](int stage) {
    if (thread == 0) orders[stage] = ahead.at;
    if (!ahead.at.is_end()) {
      copy_tile<Tile>(p, ahead.at, shared + stage * Tile::kStageBytes, thread);
      ahead.advance();
    }
    copy_async_commit();
  };
  copy_ahead(0);
  DecodeQueries<Tile> queries;
  DecodeSums<Tile> sums;
  for (int stage = 0;; stage ^= 1) {
    copy_async_wait<0>();
    sync_block();  // this tile is there for all, and nobody uses the other stage any more
    const TileOrder& order = orders[stage];
    if (order.is_end()) return;
    copy_ahead(stage ^ 1);
    take_in<Tile, Layout>(p, order, sums, queries, shared, stage, thread);
  }
}

/// Results of sequences without tokens; `thread` of `threads` of this block.
template <class Element>
FLEETSIM_DEVICE void write_empty_sequences(const DecodeAttentionArguments<Element>& a, int head_dim,
                                           int thread, int threads) {
  const int row = a.query_heads * head_dim;
  for (int sequence = static_cast<int>(blockIdx.x); sequence < a.sequences;
       sequence += static_cast<int>(gridDim.x)) {
    if (a.lengths[sequence] > 0) continue;
    for (int i = 8 * thread; i < row; i += 8 * threads)
      store_16(a.out + static_cast<std::size_t>(sequence) * row + i, uint4{0, 0, 0, 0});
    if (a.log_sum_exp == nullptr) continue;
    for (int head = thread; head < a.query_heads; head += threads)
      a.log_sum_exp[static_cast<std::size_t>(sequence) * a.query_heads + head] = minus_infinity();
  }
}

template <class Tile, bool kBulk>
__global__ void __launch_bounds__(SharedLayout<Tile, kBulk>::kThreads, 2)
    decode_attention_kernel(const Parameters<typename Tile::Element> p) {
  using Layout = SharedLayout<Tile, kBulk>;
  const auto& a = p.arguments;
  unsigned char* shared = dynamic_shared_memory();
  const int thread = static_cast<int>(threadIdx.x);
  if constexpr (kBulk) {
    auto* full = reinterpret_cast<Mbarrier*>(shared + Layout::kBarriers);
    if (thread < Layout::kStages) {
      barrier_init(&full[thread], 1);
      barrier_init(&full[Layout::kStages + thread], kDecodeWarps);
      fence_barrier_init();
    }
    // query rows beyond the group: never copied, always read
    constexpr int kPieces = Tile::kQueryRowBytes / 16;
    for (int i = thread; i < Layout::kStages * kGroupMax * kPieces; i += Layout::kThreads) {
      const int row = i / kPieces % kGroupMax;
      if (row >= p.group)
        store_16(shared + i / (kPieces * kGroupMax) * Tile::kStageBytes + Tile::kQueries +
                     row * Tile::kQueryStride + i % kPieces * 16,
                 uint4{0, 0, 0, 0});
    }
  }
  wait_for_kernel_before();
  const DecodeWalk walk = find_share<Layout::kThreads>(
      a.lengths, a.sequences, a.kv_heads, Tile::kTokens, p.use, static_cast<int>(gridDim.x),
      static_cast<int>(blockIdx.x), reinterpret_cast<int*>(shared + Layout::kPlan));
  if constexpr (kBulk) {
    if (thread / kWarpLanes == kProducerWarp) {
      produce<Tile, Layout>(p, walk, shared, thread % kWarpLanes);
      let_next_kernel_start();
      write_empty_sequences(a, Tile::kHeadDim, thread % kWarpLanes, kWarpLanes);
    } else {
      consume_copied<Tile, Layout>(p, shared, thread);
    }
  } else {
    copy_and_consume<Tile, Layout>(p, walk, shared, thread);
    write_empty_sequences(a, Tile::kHeadDim, thread, kDecodeThreads);
  }
}

template <class Element>
Workspace workspace_of(const DecodeAttentionArguments<Element>& arguments) {
  const std::size_t blocks = static_cast<std::size_t>(blocks_of(arguments));
  auto* at = static_cast<unsigned char*>(arguments.workspace);
  Workspace workspace;
  workspace.arrived = reinterpret_cast<unsigned*>(at);
  at += align_256(blocks * sizeof(unsigned));
  workspace.stats = reinterpret_cast<RowStats*>(at);
  at += align_256(2 * blocks * kGroupMax * sizeof(RowStats));
  workspace.out = reinterpret_cast<float*>(at);
  return workspace;
}

template <class Element, int kHeadDim, bool kBulk>
void launch_tile(const DecodeAttentionArguments<Element>& arguments, Stream stream) {
  using Tile = DecodeTile<Element, kHeadDim>;
  using Layout = SharedLayout<Tile, kBulk>;
  Parameters<Element> parameters;
  parameters.arguments = arguments;
  parameters.workspace = workspace_of(arguments);
  parameters.group = arguments.query_heads / arguments.kv_heads;
  parameters.page_shift = std::countr_zero(static_cast<unsigned>(arguments.page_tokens));
  parameters.use = arguments.blocks > 0 ? DecodeBlocks::all : DecodeBlocks::fewest;
  parameters.scale_log2 = arguments.softmax_scale * arguments.key_scale * kLog2E;
  LaunchShape shape;
  shape.grid = dim3{static_cast<unsigned>(blocks_of(arguments)), 1, 1};
  shape.block = dim3{Layout::kThreads, 1, 1};
  shape.shared_bytes = Layout::kBytes;
  shape.stream = stream;
  shape.after_trigger = true;
  launch(decode_attention_kernel<Tile, kBulk>, shape, parameters);
}

template <class Element>
void check_arguments(const DecodeAttentionArguments<Element>& a) {
  CHECK(decode_attention_supports(a));
  CHECK(a.query != nullptr && a.key_pages != nullptr && a.value_pages != nullptr);
  CHECK(a.page_table != nullptr && a.lengths != nullptr && a.out != nullptr);
  CHECK(a.workspace != nullptr);
  CHECK(a.softmax_scale > 0 && a.key_scale > 0 && a.value_scale > 0);
  CHECK(a.blocks >= 0);
}

}  // namespace

template <class Element>
bool decode_attention_supports(const DecodeAttentionArguments<Element>& a) {
  if (a.kv_heads < 1 || a.query_heads < 1 || a.query_heads % a.kv_heads != 0) return false;
  if (a.query_heads / a.kv_heads > kGroupMax) return false;
  if (a.head_dim != 64 && a.head_dim != 128) return false;
  if (a.page_tokens < 16 || (a.page_tokens & (a.page_tokens - 1)) != 0) return false;
  if (a.sequences < 0 || a.pages_per_sequence < 1) return false;
  // lengths, and the line of the schedule, are counted in 32 bits
  constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1;
  const std::int64_t tokens = std::int64_t{a.pages_per_sequence} * a.page_tokens;
  const std::int64_t cost =
      ceil_div(tokens, std::int64_t{decode_tile_tokens<Element>(a.head_dim)}) + kUnitCost;
  return tokens <= kMost && std::int64_t{a.sequences} * a.kv_heads <= kMost / cost;
}

template <class Element>
std::size_t decode_attention_workspace_bytes(const DecodeAttentionArguments<Element>& arguments) {
  const std::size_t blocks = static_cast<std::size_t>(blocks_of(arguments));
  const std::size_t group = static_cast<std::size_t>(arguments.query_heads / arguments.kv_heads);
  return align_256(blocks * sizeof(unsigned)) +
         align_256(2 * blocks * kGroupMax * sizeof(RowStats)) +
         2 * blocks * group * static_cast<std::size_t>(arguments.head_dim) * sizeof(float);
}

template <class Element>
void prepare_decode_attention_workspace(const DecodeAttentionArguments<Element>& arguments,
                                        Stream stream) {
  device_fill(arguments.workspace, 0,
              static_cast<std::size_t>(blocks_of(arguments)) * sizeof(unsigned), stream);
}

template <class Element>
void launch_decode_attention(const DecodeAttentionArguments<Element>& arguments, Stream stream) {
  if (arguments.sequences == 0) return;
  check_arguments(arguments);
  const bool bulk = device_facts().compute_capability >= 90;
  if (arguments.head_dim == 128) {
    if (bulk) return launch_tile<Element, 128, true>(arguments, stream);
    return launch_tile<Element, 128, false>(arguments, stream);
  }
  if (bulk) return launch_tile<Element, 64, true>(arguments, stream);
  return launch_tile<Element, 64, false>(arguments, stream);
}

template bool decode_attention_supports(const DecodeAttentionArguments<Bf16>&);
template bool decode_attention_supports(const DecodeAttentionArguments<E4m3>&);
template std::size_t decode_attention_workspace_bytes(const DecodeAttentionArguments<Bf16>&);
template std::size_t decode_attention_workspace_bytes(const DecodeAttentionArguments<E4m3>&);
template void prepare_decode_attention_workspace(const DecodeAttentionArguments<Bf16>&, Stream);
template void prepare_decode_attention_workspace(const DecodeAttentionArguments<E4m3>&, Stream);
template void launch_decode_attention(const DecodeAttentionArguments<Bf16>&, Stream);
template void launch_decode_attention(const DecodeAttentionArguments<E4m3>&, Stream);

}  // namespace fleetsim::kernels
