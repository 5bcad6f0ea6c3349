// sm_90: one persistent block a multiprocessor, two warpgroups that compute and a warp that copies.
//
// A block takes 64 (query token, head) rows of a sequence and an equal share of all tokens
// (decode_schedule.h), in tiles of 64. Blocks that hold the further rows of a sequence (128 heads
// are two times 64 rows) go through the same tiles at the same time, so that L2 reads them once.
//
// Output, 64 x 512 floats, fills half of the register file: warpgroup 0 holds the left 256 columns,
// warpgroup 1 the right ones (128 registers a thread). They take turns as FlashMLA's do: 0 scores
// the first tile of a pair, 1 the second, each turns its scores into probabilities while the other
// one multiplies, and both multiply both tiles' probabilities with their half of the values:
//   0:  S(a) softmax(a) P(a)V(a)            P(b)V(b)   S(c) ...
//   1:       S(b)                 P(a)V(a)  softmax(b)  P(b)V(b)   ...
// The running maximum passes from tile to tile through shared memory. 2176 cycles of tensor cores a
// tile (1152 of them scores) stand against some 3700 for reading it at 4.5 TB/s and 1.75 GHz.
//
// Shared memory, 226 KiB: the queries' latent part 64 KiB (their rotated part lives in 16 registers
// a thread, which makes room for the second P), two tiles of 72, two P of 8. A tile is nine panels
// of 64 columns in three groups - rotated part, left and right values - that come and are given
// back each by itself: one warpgroup is the last to read each, and the next tile but one is on its
// way while the other half is still multiplied. Registers: 128 (output) + 32 (scores) + 16 (P) + 16
// (queries) + some 25, of 224: the copying warpgroup, of which one warp copies, gives its own away.
//
// Parts of units that the schedule cut, 128 KiB each, are too large for one block to add up: with
// one sequence all blocks have one. A second small launch does it, in the order of the blocks, a
// row a block, and starts while this one ends.

#include <algorithm>
#include <bit>

#include "kernels/device/tensor_map.h"
#include "kernels/operators/decode_share.h"
#include "kernels/operators/latent_decode_attention.h"
#include "kernels/operators/warpgroup_softmax.h"

namespace fleetsim::kernels {
namespace {

constexpr int kRows = 64;  // of a block: (query token, head) pairs
constexpr int kHalf = kLatentElements / 2;
constexpr int kPanelElements = 64;
constexpr int kPanelBytes = 64 * kPanelRowBytes;  // 64 rows of 64 elements
constexpr int kHalfPanels = kHalf / kPanelElements;
constexpr int kLatentPanels = 2 * kHalfPanels;
constexpr int kTileBytes = (kLatentPanels + 1) * kPanelBytes;
constexpr int kThreads = 3 * kWarpgroupThreads;

/// Parts of a tile that are copied and given back together: panels 0-3, 4-7 and 8.
enum TileGroup { kLeft, kRight, kRotary, kTileGroups };

struct SharedLayout {
  static constexpr int kQuery = 0;
  static constexpr int kTiles = kQuery + kLatentPanels * kPanelBytes;
  static constexpr int kProbabilities = kTiles + 2 * kTileBytes;
  // full and empty of each group of each tile, then of the queries
  static constexpr int kBarriers = kProbabilities + 2 * kPanelBytes;
  static constexpr int kLargest = kBarriers + 14 * 8 + 16;   // [2 tiles][64]
  static constexpr int kWeights = kLargest + 2 * kRows * 4;  // [2 pieces][2][64]
  static constexpr int kPieces = kWeights + 4 * kRows * 4;   // [2]
  static constexpr int kPlan = kPieces + 2 * int{sizeof(DecodePiece)};
  static constexpr int kBytes = kPlan + (kThreads / kWarpLanes + 2) * 4;
  static_assert(kBytes <= 227 * 1024, "a block of an H200");
};

/// Parts of cut units: slot 2 * share of the unit a share begins in, 2 * share + 1 of the one that
/// begins in it and goes on.
struct Workspace {
  RowStats* stats;  // [2 blocks][rows]
  float* out;       // [2 blocks][rows][512], not yet divided by the weight
};

struct Parameters {
  LatentDecodeArguments arguments;
  Workspace workspace;
  int rows;    // of a sequence: query_tokens * heads
  int groups;  // of 64 rows
  int blocks;  // that share the tokens, for each group
  int page_shift;
  int box_tokens;  // of a tensor copy: a page, or a tile of a longer one
  DecodeBlocks use;
  float scale_log2;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDACC__)

constexpr int kConsumers = 2 * kWarpgroupThreads;
constexpr unsigned kConsumerWarps = kConsumers / kWarpLanes;
// a thread's: 168 each at the start, of which the copying warpgroup gives most away
constexpr int kCopyingRegisters = 56, kComputingRegisters = 224;

// Named barriers. 1 and 2: the probabilities of the first, the second tile of a pair are there.
constexpr unsigned kFirstReady = 1, kSecondReady = 2, kConsumersMeet = 3;
constexpr unsigned kWarpgroupMeets = 4;  // and 5: of warpgroup 1

FLEETSIM_DEVICE std::size_t slot_of(int share, const DecodePiece& piece) {
  return 2 * static_cast<std::size_t>(share) + (share == piece.first_block ? 1 : 0);
}

FLEETSIM_DEVICE Mbarrier* full_barrier(unsigned char* shared, int tile, TileGroup group) {
  return reinterpret_cast<Mbarrier*>(shared + SharedLayout::kBarriers) + tile * kTileGroups + group;
}
FLEETSIM_DEVICE Mbarrier* empty_barrier(unsigned char* shared, int tile, TileGroup group) {
  return full_barrier(shared, tile, group) + 2 * kTileGroups;
}
FLEETSIM_DEVICE Mbarrier* query_full(unsigned char* shared) {
  return full_barrier(shared, 0, kLeft) + 4 * kTileGroups;
}
FLEETSIM_DEVICE Mbarrier* query_empty(unsigned char* shared) { return query_full(shared) + 1; }
FLEETSIM_DEVICE DecodePiece* pieces_of(unsigned char* shared) {
  return reinterpret_cast<DecodePiece*>(shared + SharedLayout::kPieces);
}

/// The copying warp. Lane i copies the i-th box of tokens of each panel.
FLEETSIM_DEVICE void produce(const Parameters& p, const TensorMap& query_map,
                             const TensorMap& cache_map, DecodeWalk walk, int group,
                             unsigned char* shared, int lane) {
  const auto& a = p.arguments;
  const L2Keep keep = p.groups > 1 ? L2Keep::normal : L2Keep::first_out;
  DecodePiece* pieces = pieces_of(shared);
  if (lane == 0) {
    prefetch_tensor_map(query_map);
    prefetch_tensor_map(cache_map);
  }
  unsigned piece_number = 0, tile_number = 0;
  DecodePiece piece;
  while (true) {
    if (!next_piece(walk, piece)) piece.tiles = 0;
    barrier_wait(query_empty(shared), piece_number % 2 ^ 1);
    sync_warp();  // a lane that waits late could miss a phase
    if (lane == 0) {
      pieces[piece_number % 2] = piece;
      barrier_arrive_expecting(query_full(shared),
                               piece.tiles == 0 ? 0 : kLatentPanels * kPanelBytes);
      for (int panel = 0; piece.tiles > 0 && panel < kLatentPanels; ++panel)
        copy_tensor_to_shared(shared + SharedLayout::kQuery + panel * kPanelBytes, query_map,
                              {panel * kPanelElements, group * kRows, piece.sequence},
                              query_full(shared));
    }
    if (piece.tiles == 0) return;
    ++piece_number;
    for (int i = 0; i < piece.tiles; ++i, ++tile_number) {
      const int first_token = (piece.first_tile + i) * kLatentTileTokens;
      const int left = piece.length - first_token;
      const int boxes = ceil_div(left < kLatentTileTokens ? left : kLatentTileTokens, p.box_tokens);
      const int token = first_token + lane * p.box_tokens;
      int page = 0;
      if (lane < boxes)
        page = a.page_table[static_cast<std::size_t>(piece.sequence) * a.pages_per_sequence +
                            (token >> p.page_shift)];
      const int buffer = static_cast<int>(tile_number % 2);
      const unsigned parity = tile_number / 2 % 2;
      unsigned char* tile = shared + SharedLayout::kTiles + buffer * kTileBytes +
                            lane * p.box_tokens * kPanelRowBytes;
      const auto copy_group = [&](TileGroup part, int first_panel, int panels) {
        barrier_wait(empty_barrier(shared, buffer, part), parity ^ 1);
        Mbarrier* full = full_barrier(shared, buffer, part);
        if (lane == 0)
          barrier_arrive_expecting(
              full, static_cast<std::uint32_t>(panels * boxes * p.box_tokens * kPanelRowBytes));
        sync_warp();
        if (lane >= boxes) return;
        for (int panel = first_panel; panel < first_panel + panels; ++panel)
          copy_tensor_to_shared(tile + panel * kPanelBytes, cache_map,
                                {panel * kPanelElements, token & (a.page_tokens - 1), page}, full,
                                keep);
      };
      copy_group(kRotary, kLatentPanels, 1);
      copy_group(kLeft, 0, kHalfPanels);
      copy_group(kRight, kHalfPanels, kHalfPanels);
    }
  }
}

/// What a computing warpgroup carries through a piece.
struct Consumer {
  unsigned char* shared;
  int number;  // of the warpgroup
  int thread;  // of it, 0 to 127
  int lane;
  float out[kHalf / 2];  // 64 x 256
  RowPair rows;
  std::uint32_t rotary[4][4];  // of the queries
  int visible[2];              // tokens that each row sees
  float scale_log2;

  FLEETSIM_DEVICE TileGroup half() const { return number == 0 ? kLeft : kRight; }
};

FLEETSIM_DEVICE void give_back(Mbarrier* empty, int lane) {
  sync_warp();
  if (lane == 0) barrier_arrive(empty);
}

/// The rotated part of the queries of this thread's rows, zeros for rows that do not exist; and
/// what each row sees.
FLEETSIM_DEVICE void begin_piece(Consumer& c, const Parameters& p, const DecodePiece& piece,
                                 int group) {
  const auto& a = p.arguments;
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int row = group * kRows + warpgroup_row(c.thread, half);
    const bool exists = row < p.rows;
    const int token = exists ? row / a.heads : a.query_tokens - 1;
    c.visible[half] = piece.length - (a.query_tokens - 1 - token);
    c.rows.largest[half] = minus_infinity();
    c.rows.weight[half] = 0;
    const Bf16* from = a.query +
                       (static_cast<std::size_t>(piece.sequence) * p.rows + (exists ? row : 0)) *
                           kLatentRowElements +
                       kLatentElements + c.lane % 4 * 2;
    FLEETSIM_UNROLL
    for (int step = 0; step < 4; ++step) {
      FLEETSIM_UNROLL
      for (int part = 0; part < 2; ++part)
        c.rotary[step][2 * part + half] =
            exists ? *reinterpret_cast<const std::uint32_t*>(from + 16 * step + 8 * part) : 0U;
    }
  }
  FLEETSIM_UNROLL
  for (int i = 0; i < kHalf / 2; ++i) c.out[i] = 0;
}

/// Scores of the tile in `buffer`, unscaled; gives its rotated part back, and the queries after the
/// last tile that this warpgroup scores.
FLEETSIM_DEVICE void score_tile(float (&scores)[kLatentTileTokens / 2], Consumer& c, int buffer,
                                unsigned parity) {
  const SharedOperand query = shared_operand(c.shared + SharedLayout::kQuery);
  const SharedOperand tile = shared_operand(c.shared + SharedLayout::kTiles + buffer * kTileBytes);
  barrier_wait(full_barrier(c.shared, buffer, kRotary), parity);
  warpgroup_fence();
  FLEETSIM_UNROLL
  for (int step = 0; step < 4; ++step)
    warpgroup_multiply<Bf16, kLatentTileTokens>(
        scores, c.rotary[step], tile + (kLatentPanels * kPanelBytes + 32 * step), step > 0);
  warpgroup_commit();
  FLEETSIM_UNROLL
  for (int part = 0; part < 2; ++part) {
    barrier_wait(full_barrier(c.shared, buffer, part == 0 ? kLeft : kRight), parity);
    warpgroup_fence();
    FLEETSIM_UNROLL
    for (int step = 0; step < 4 * kHalfPanels; ++step) {
      const int at = (part * kHalfPanels + step / 4) * kPanelBytes + step % 4 * 32;
      warpgroup_multiply<Bf16, kLatentTileTokens>(scores, query + at, tile + at, true);
    }
    warpgroup_commit();
  }
  warpgroup_wait<0>();
  keep_behind(scores);
  give_back(empty_barrier(c.shared, buffer, kRotary), c.lane);
}

/// Scores become probabilities, in `packed` and in the slot of this warpgroup; `factor` is what
/// sums so far are multiplied with.
FLEETSIM_DEVICE void take_probabilities(std::uint32_t (&packed)[4][4], float (&factor)[2],
                                        float (&scores)[kLatentTileTokens / 2], Consumer& c,
                                        int first_token, bool edge) {
  if (edge) {
    const int visible[2] = {c.visible[0] - first_token, c.visible[1] - first_token};
    mask_columns(scores, visible, c.lane);
  }
  const float before[2] = {c.rows.largest[0], c.rows.largest[1]};
  take_largest(c.rows.largest, scores);
  auto* largest = reinterpret_cast<float*>(c.shared + SharedLayout::kLargest) + c.number * kRows;
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    factor[half] = rescaling(before[half], c.rows.largest[half], c.scale_log2);
    c.rows.weight[half] *= factor[half];
    if (c.lane % 4 == 0) largest[warpgroup_row(c.thread, half)] = c.rows.largest[half];
  }
  exponentiate(scores, c.rows, c.scale_log2);
  pack_probabilities(packed, scores);
  unsigned char* slot = c.shared + SharedLayout::kProbabilities + c.number * kPanelBytes;
  FLEETSIM_UNROLL
  for (int step = 0; step < 4; ++step) {
    FLEETSIM_UNROLL
    for (int part = 0; part < 4; ++part)
      *reinterpret_cast<std::uint32_t*>(
          slot + panel_offset(warpgroup_row(c.thread, part % 2), 2 * step + part / 2) +
          c.lane % 4 * 4) = packed[step][part];
  }
  fence_before_matrix_reads();
}

/// The other warpgroup's largest scores become ours.
FLEETSIM_DEVICE void follow_largest(Consumer& c) {
  const auto* largest =
      reinterpret_cast<const float*>(c.shared + SharedLayout::kLargest) + (c.number ^ 1) * kRows;
  float factor[2];
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    const float grown = largest[warpgroup_row(c.thread, half)];
    factor[half] = rescaling(c.rows.largest[half], grown, c.scale_log2);
    c.rows.weight[half] *= factor[half];
    c.rows.largest[half] = grown;
  }
  rescale(c.out, factor);
}

/// Own half of the values behind the last token becomes zeros: what stands there may be NaN, and
/// stays NaN when it is multiplied with a probability of zero.
FLEETSIM_DEVICE void clear_values_from(const Consumer& c, int buffer, int first_row) {
  unsigned char* panels =
      c.shared + SharedLayout::kTiles + buffer * kTileBytes + c.number * kHalfPanels * kPanelBytes;
  const int pieces = (kLatentTileTokens - first_row) * 8;
  for (int panel = 0; panel < kHalfPanels; ++panel)
    for (int i = c.thread; i < pieces; i += kWarpgroupThreads)
      store_16(panels + panel * kPanelBytes + first_row * kPanelRowBytes + 16 * i,
               uint4{0, 0, 0, 0});
  fence_before_matrix_reads();
  sync_threads(kWarpgroupMeets + static_cast<unsigned>(c.number), kWarpgroupThreads);
}

/// Waits for own half of the values of a tile, whose first `valid` tokens exist.
FLEETSIM_DEVICE SharedOperand values_of(const Consumer& c, int buffer, unsigned parity, int valid) {
  barrier_wait(full_barrier(c.shared, buffer, c.half()), parity);
  if (valid < kLatentTileTokens) clear_values_from(c, buffer, valid);
  return shared_operand(
      c.shared + SharedLayout::kTiles + buffer * kTileBytes + c.number * kHalfPanels * kPanelBytes,
      kPanelBytes);
}

/// Starts own probabilities times values.
FLEETSIM_DEVICE void start_own_values(Consumer& c, const std::uint32_t (&packed)[4][4],
                                      SharedOperand values) {
  warpgroup_fence();
  FLEETSIM_UNROLL
  for (int step = 0; step < 4; ++step)
    warpgroup_multiply<Bf16, kHalf, Major::n>(c.out, packed[step],
                                              values + 16 * kPanelRowBytes * step, true);
  warpgroup_commit();
}

/// Starts the other warpgroup's probabilities times values.
FLEETSIM_DEVICE void start_other_values(Consumer& c, SharedOperand values) {
  const SharedOperand probabilities =
      shared_operand(c.shared + SharedLayout::kProbabilities + (c.number ^ 1) * kPanelBytes);
  warpgroup_fence();
  FLEETSIM_UNROLL
  for (int step = 0; step < 4; ++step)
    warpgroup_multiply<Bf16, kHalf, Major::n>(c.out, probabilities + 32 * step,
                                              values + 16 * kPanelRowBytes * step, true);
  warpgroup_commit();
}

FLEETSIM_DEVICE void end_values(Consumer& c, int buffer) {
  warpgroup_wait<0>();
  keep_behind(c.out);
  give_back(empty_barrier(c.shared, buffer, c.half()), c.lane);
}

/// Writes a piece's result, or its part.
FLEETSIM_DEVICE void end_piece(Consumer& c, const Parameters& p, const DecodePiece& piece,
                               int group, int share, unsigned piece_number) {
  const auto& a = p.arguments;
  // of two pieces in turns: who reads the weights of the one before may be late
  auto* weights =
      reinterpret_cast<float*>(c.shared + SharedLayout::kWeights) + piece_number % 2 * 2 * kRows;
  join_quad(c.rows.weight);
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half)
    if (c.lane % 4 == 0)
      weights[c.number * kRows + warpgroup_row(c.thread, half)] = c.rows.weight[half];
  sync_threads(kConsumersMeet, kConsumers);
  float weight[2];
  int row[2];
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int own = warpgroup_row(c.thread, half);
    weight[half] = weights[own] + weights[kRows + own];
    row[half] = group * kRows + own;
  }
  if (piece.is_whole()) {
    Bf16* to[2];
    float factor[2];
    FLEETSIM_UNROLL
    for (int half = 0; half < 2; ++half) {
      const std::size_t head = static_cast<std::size_t>(piece.sequence) * p.rows + row[half];
      factor[half] = weight[half] > 0 ? 1.0F / weight[half] : weight[half];
      to[half] = row[half] < p.rows ? a.out + head * kLatentElements + c.number * kHalf : nullptr;
      if (row[half] < p.rows && c.number == 0 && c.lane % 4 == 0 && a.log_sum_exp != nullptr)
        a.log_sum_exp[head] =
            c.rows.largest[half] == minus_infinity()
                ? minus_infinity()
                : (c.rows.largest[half] * c.scale_log2 + log2f(weight[half])) * kLn2;
    }
    store_rows_bf16(to, c.out, factor, c.lane);
    return;
  }
  const std::size_t slot = slot_of(share, piece);
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    if (row[half] >= p.rows) continue;
    const std::size_t at = slot * p.rows + row[half];
    if (c.number == 0 && c.lane % 4 == 0)
      p.workspace.stats[at] = {c.rows.largest[half], weight[half]};
    float* to = p.workspace.out + at * kLatentElements + c.number * kHalf + c.lane % 4 * 2;
    FLEETSIM_UNROLL
    for (int block = 0; block < kHalf / 8; ++block)
      *reinterpret_cast<float2*>(to + 8 * block) = {c.out[4 * block + 2 * half],
                                                    c.out[4 * block + 2 * half + 1]};
  }
}

/// A computing warpgroup. What it writes for the other one - probabilities, largest scores - it may
/// write again two tiles later without asking: it has scored a tile by then whose place the other
/// one gave back after its last read.
template <int kNumber>
FLEETSIM_DEVICE void consume(const Parameters& p, int group, int share, unsigned char* shared,
                             int thread) {
  Consumer c;
  c.shared = shared;
  c.number = kNumber;
  c.thread = thread;
  c.lane = thread % kWarpLanes;
  c.scale_log2 = p.scale_log2;
  unsigned tile_number = 0;
  for (unsigned piece_number = 0;; ++piece_number) {
    barrier_wait(query_full(shared), piece_number % 2);
    const DecodePiece piece = pieces_of(shared)[piece_number % 2];
    if (piece.tiles == 0) return;
    begin_piece(c, p, piece, group);
    // the first token that some row does not see
    const int edge = piece.length - (p.arguments.query_tokens - 1);
    float scores[kLatentTileTokens / 2];
    std::uint32_t packed[4][4];
    float factor[2];
    for (int i = 0; i < piece.tiles; i += 2, tile_number += 2) {
      const bool pair = i + 1 < piece.tiles;
      const int token_a = (piece.first_tile + i) * kLatentTileTokens;
      const int token_b = token_a + kLatentTileTokens;
      const int buffer_a = static_cast<int>(tile_number % 2), buffer_b = buffer_a ^ 1;
      const unsigned parity_a = tile_number / 2 % 2, parity_b = (tile_number + 1) / 2 % 2;
      const bool edge_a = token_b > edge, edge_b = token_b + kLatentTileTokens > edge;
      const bool last = i + 2 >= piece.tiles;
      if constexpr (kNumber == 0) {
        score_tile(scores, c, buffer_a, parity_a);
        if (last) give_back(query_empty(shared), c.lane);
        take_probabilities(packed, factor, scores, c, token_a, edge_a);
        arrive_threads(kFirstReady, kConsumers);
        rescale(c.out, factor);
        start_own_values(c, packed, values_of(c, buffer_a, parity_a, piece.length - token_a));
        end_values(c, buffer_a);
        if (!pair) continue;
        sync_threads(kSecondReady, kConsumers);
        follow_largest(c);
        start_other_values(c, values_of(c, buffer_b, parity_b, piece.length - token_b));
        end_values(c, buffer_b);
      } else {
        if (pair) score_tile(scores, c, buffer_b, parity_b);
        if (last) give_back(query_empty(shared), c.lane);
        sync_threads(kFirstReady, kConsumers);
        follow_largest(c);
        start_other_values(c, values_of(c, buffer_a, parity_a, piece.length - token_a));
        if (pair) {
          take_probabilities(packed, factor, scores, c, token_b, edge_b);
          arrive_threads(kSecondReady, kConsumers);
        }
        end_values(c, buffer_a);
        if (!pair) continue;
        rescale(c.out, factor);
        start_own_values(c, packed, values_of(c, buffer_b, parity_b, piece.length - token_b));
        end_values(c, buffer_b);
      }
    }
    if (piece.tiles % 2 != 0) --tile_number;
    end_piece(c, p, piece, group, share, piece_number);
  }
}

/// Results of sequences without tokens, a warp a block.
FLEETSIM_DEVICE void write_empty_sequences(const Parameters& p, int lane) {
  const auto& a = p.arguments;
  for (int sequence = static_cast<int>(blockIdx.x); sequence < a.sequences;
       sequence += static_cast<int>(gridDim.x)) {
    if (a.lengths[sequence] > 0) continue;
    const std::size_t first = static_cast<std::size_t>(sequence) * p.rows;
    for (int i = lane; i < p.rows * (kLatentElements / 8); i += kWarpLanes)
      store_16(a.out + first * kLatentElements + 8 * i, uint4{0, 0, 0, 0});
    if (a.log_sum_exp == nullptr) continue;
    for (int row = lane; row < p.rows; row += kWarpLanes)
      a.log_sum_exp[first + row] = minus_infinity();
  }
}

#endif

__global__ void __launch_bounds__(kThreads, 1)
    latent_decode_kernel(const __grid_constant__ Parameters p,
                         const __grid_constant__ TensorMap query_map,
                         const __grid_constant__ TensorMap cache_map) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDACC__)
  const auto& a = p.arguments;
  unsigned char* shared = dynamic_shared_memory();
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    constexpr unsigned kOneWarpgroup = kWarpgroupThreads / kWarpLanes;
    for (int i = 0; i < 2 * kTileGroups; ++i) {
      barrier_init(full_barrier(shared, 0, kLeft) + i, 1);
      barrier_init(empty_barrier(shared, 0, kLeft) + i, kOneWarpgroup);
    }
    barrier_init(query_full(shared), 1);
    barrier_init(query_empty(shared), kConsumerWarps);
    fence_barrier_init();
  }
  wait_for_kernel_before();
  const int group = static_cast<int>(blockIdx.x) % p.groups;
  const int share = static_cast<int>(blockIdx.x) / p.groups;
  const DecodeWalk walk =
      find_share<kThreads>(a.lengths, a.sequences, 1, kLatentTileTokens, p.use, p.blocks, share,
                           reinterpret_cast<int*>(shared + SharedLayout::kPlan));
  if (thread < kWarpgroupThreads) {
    take_registers<kComputingRegisters>();
    consume<0>(p, group, share, shared, thread);
  } else if (thread < kConsumers) {
    take_registers<kComputingRegisters>();
    consume<1>(p, group, share, shared, thread - kWarpgroupThreads);
  } else {
    give_registers<kCopyingRegisters>();
    if (thread >= kConsumers + kWarpLanes) return;
    produce(p, query_map, cache_map, walk, group, shared, thread - kConsumers);
    let_next_kernel_start();
    write_empty_sequences(p, thread - kConsumers);
  }
#endif
}

// Adding up parts
// ----------------------------------------------------------------------------------

constexpr int kColumnThreads = kLatentElements / 4;
constexpr int kPartLanes = 4;  // each adds every fourth part of a row
constexpr int kCombineThreads = kColumnThreads * kPartLanes;
constexpr int kCombineRows = 16;  // blocks of a unit, which share its rows
struct CombineLayout {
  static constexpr int kSums = 0;  // float4 [kPartLanes][kColumnThreads]
  static constexpr int kStats = kSums + kCombineThreads * 16;
  static constexpr int kPlan = kStats + kPartLanes * int{sizeof(RowStats)};
  static constexpr int kBytes = kPlan + (kCombineThreads / kWarpLanes + 2) * 4;
};

/// Block (share, i): rows i, i + 16, ... of the unit that begins in `share` and was cut at its end.
__global__ void __launch_bounds__(kCombineThreads)
    latent_combine_kernel(const __grid_constant__ Parameters p) {
  constexpr int kAtOnce = 4;  // loads under way
  const auto& a = p.arguments;
  unsigned char* shared = dynamic_shared_memory();
  wait_for_kernel_before();
  let_next_kernel_start();
  const int share = static_cast<int>(blockIdx.x);
  const DecodeWalk walk =
      find_share<kCombineThreads>(a.lengths, a.sequences, 1, kLatentTileTokens, p.use, p.blocks,
                                  share + 1, reinterpret_cast<int*>(shared + CombineLayout::kPlan));
  if (walk.shares.blocks == 0) return;  // the last share: nothing goes on behind it
  const int tiles = decode_unit_tiles(a.lengths[walk.sequence], kLatentTileTokens);
  const int first_position = walk.unit_begin + kUnitCost;
  if (tiles <= kWholeUnitTiles || first_position >= walk.begin ||
      decode_share_owner(walk.shares, first_position) != share)
    return;
  const int last_share = decode_share_owner(walk.shares, first_position + tiles - 1);

  const int thread = static_cast<int>(threadIdx.x);
  const int column = thread % kColumnThreads, part_lane = thread / kColumnThreads;
  auto* sums = reinterpret_cast<float4*>(shared + CombineLayout::kSums);
  auto* stats = reinterpret_cast<RowStats*>(shared + CombineLayout::kStats);
  for (int row = static_cast<int>(blockIdx.y); row < p.rows; row += kCombineRows) {
    float4 sum = {0, 0, 0, 0};
    RowStats total = {minus_infinity(), 0};
    for (int first = share + part_lane; first <= last_share; first += kAtOnce * kPartLanes) {
      uint4 part[kAtOnce];
      RowStats of_part[kAtOnce];
      FLEETSIM_UNROLL
      for (int j = 0; j < kAtOnce; ++j) {
        const int of = first + j * kPartLanes <= last_share ? first + j * kPartLanes : last_share;
        const std::size_t at = (2 * static_cast<std::size_t>(of) + (of == share)) * p.rows + row;
        part[j] = load_16_coherent(p.workspace.out + at * kLatentElements + 4 * column);
        of_part[j] = p.workspace.stats[at];
      }
      FLEETSIM_UNROLL
      for (int j = 0; j < kAtOnce; ++j)
        if (first + j * kPartLanes <= last_share && of_part[j].largest != minus_infinity())
          add_part(sum, total,
                   {float_of_bits(part[j].x), float_of_bits(part[j].y), float_of_bits(part[j].z),
                    float_of_bits(part[j].w)},
                   of_part[j], p.scale_log2);
    }
    sums[thread] = sum;
    if (column == 0) stats[part_lane] = total;
    sync_block();
    if (part_lane == 0) {
      FLEETSIM_UNROLL
      for (int i = 1; i < kPartLanes; ++i)
        if (stats[i].largest != minus_infinity())
          add_part(sum, total, sums[i * kColumnThreads + column], stats[i], p.scale_log2);
      const std::size_t head = static_cast<std::size_t>(walk.sequence) * p.rows + row;
      const float factor = total.weight > 0 ? 1.0F / total.weight : total.weight;
      *reinterpret_cast<uint2*>(a.out + head * kLatentElements + 4 * column) = {
          pack_bf16(sum.x * factor, sum.y * factor), pack_bf16(sum.z * factor, sum.w * factor)};
      if (column == 0 && a.log_sum_exp != nullptr)
        a.log_sum_exp[head] = total.largest == minus_infinity()
                                  ? minus_infinity()
                                  : (total.largest * p.scale_log2 + log2f(total.weight)) * kLn2;
    }
    sync_block();
  }
}

// Host
// ---------------------------------------------------------------------------------------------

int groups_of(const LatentDecodeArguments& a) { return ceil_div(a.query_tokens * a.heads, kRows); }

int blocks_of(const LatentDecodeArguments& a) {
  return a.blocks > 0 ? a.blocks : std::max(1, device_facts().sms / groups_of(a));
}

std::size_t stats_bytes(const LatentDecodeArguments& a) {
  const std::size_t parts = 2 * static_cast<std::size_t>(blocks_of(a)) * a.query_tokens *
                            static_cast<std::size_t>(a.heads);
  return ceil_div(parts * sizeof(RowStats), std::size_t{256}) * 256;
}

TensorMap query_map_of(const LatentDecodeArguments& a, int rows) {
  TensorShape shape;
  shape.base = a.query;
  shape.rank = 3;
  const std::int64_t sizes[] = {kLatentRowElements, rows, a.sequences};
  std::copy_n(sizes, 3, shape.sizes);
  shape.strides[1] = kLatentRowElements * sizeof(Bf16);
  shape.strides[2] = rows * shape.strides[1];
  shape.box[0] = kPanelElements, shape.box[1] = kRows, shape.box[2] = 1;
  return make_tensor_map(shape);
}

TensorMap cache_map_of(const LatentDecodeArguments& a, int box_tokens) {
  TensorShape shape;
  shape.base = a.cache_pages;
  shape.rank = 3;
  const std::int64_t sizes[] = {kLatentRowElements, a.page_tokens, a.pages};
  std::copy_n(sizes, 3, shape.sizes);
  shape.strides[1] = kLatentRowElements * sizeof(Bf16);
  shape.strides[2] = a.page_tokens * shape.strides[1];
  shape.box[0] = kPanelElements, shape.box[1] = box_tokens, shape.box[2] = 1;
  return make_tensor_map(shape);
}

}  // namespace

bool latent_decode_supports(const LatentDecodeArguments& a) {
  if (a.heads < 1 || a.heads > 128) return false;
  if (a.query_tokens < 1 || a.query_tokens > kLatentQueryTokensMax) return false;
  if (a.page_tokens < 16 || (a.page_tokens & (a.page_tokens - 1)) != 0) return false;
  if (a.sequences < 0 || a.pages_per_sequence < 1 || a.pages < 1) return false;
  // lengths, and the line of the schedule, are counted in 32 bits
  constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1;
  const std::int64_t tokens = std::int64_t{a.pages_per_sequence} * a.page_tokens;
  const std::int64_t cost = ceil_div(tokens, std::int64_t{kLatentTileTokens}) + kUnitCost;
  return tokens <= kMost && a.sequences <= kMost / cost;
}

std::size_t latent_decode_workspace_bytes(const LatentDecodeArguments& a) {
  return stats_bytes(a) + 2 * static_cast<std::size_t>(blocks_of(a)) * a.query_tokens *
                              static_cast<std::size_t>(a.heads) * kLatentElements * sizeof(float);
}

void launch_latent_decode(const LatentDecodeArguments& a, Stream stream) {
  if (a.sequences == 0) return;
  CHECK(latent_decode_supports(a));
  CHECK(a.query != nullptr && a.cache_pages != nullptr && a.page_table != nullptr);
  CHECK(a.lengths != nullptr && a.out != nullptr && a.workspace != nullptr);
  CHECK(a.softmax_scale > 0 && a.blocks >= 0);
  if (device_facts().compute_capability != 90)
    throw NotSupportedHere("decode attention on latents is written for sm_90");
  Parameters parameters;
  parameters.arguments = a;
  auto* workspace = static_cast<unsigned char*>(a.workspace);
  parameters.workspace = {reinterpret_cast<RowStats*>(workspace),
                          reinterpret_cast<float*>(workspace + stats_bytes(a))};
  parameters.rows = a.query_tokens * a.heads;
  parameters.groups = groups_of(a);
  parameters.blocks = blocks_of(a);
  parameters.page_shift = std::countr_zero(static_cast<unsigned>(a.page_tokens));
  parameters.box_tokens = std::min(a.page_tokens, kLatentTileTokens);
  parameters.use = a.blocks > 0 ? DecodeBlocks::all : DecodeBlocks::fewest;
  parameters.scale_log2 = a.softmax_scale * kLog2E;
  LaunchShape shape;
  shape.grid = dim3{static_cast<unsigned>(parameters.blocks * parameters.groups), 1, 1};
  shape.block = dim3{kThreads, 1, 1};
  shape.shared_bytes = SharedLayout::kBytes;
  shape.stream = stream;
  shape.after_trigger = true;
  launch(latent_decode_kernel, shape, parameters, query_map_of(a, parameters.rows),
         cache_map_of(a, parameters.box_tokens));
  if (parameters.blocks == 1) return;  // nothing is cut
  shape.grid = dim3{static_cast<unsigned>(parameters.blocks - 1), kCombineRows, 1};
  shape.block = dim3{kCombineThreads, 1, 1};
  shape.shared_bytes = CombineLayout::kBytes;
  launch(latent_combine_kernel, shape, parameters);
}

}  // namespace fleetsim::kernels
