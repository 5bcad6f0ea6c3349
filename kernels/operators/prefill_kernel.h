#pragma once
// FlashAttention-2 for sm_80 and later: a block of 4 warps computes 128 rows (prefill_tiles.h),
// each warp 32 of them, over key tiles of 64 tokens in ascending order.
//
// - Two blocks share an SM: while one is at its softmax the other feeds the tensor cores. 32 rows a
//   warp need each K and V fragment read from shared memory once per two mma rows; with 16 rows a
//   warp those reads, 256 bytes an mma, would bind before mma.sync does (128 bytes a clock and SM).
//   Budget at head_dim 128: 128 registers of output, 64 of scores (then 32 of probabilities), so
//   query fragments are read again from shared memory each tile; at 64 they stay in registers.
// - K and V tiles alternate through a ring of three slots: K0 V0 K1 V1 ... While tile i of that row
//   is computed on, i + 1 has landed or is about to, and i + 2 is started. One barrier a ring step:
//   it says that i has landed for everybody and that everybody is done with the slot of i - 1,
//   which i + 2 takes. 80 KiB at head_dim 128: two blocks fit an SM of 164 KiB.
// - The 16-byte piece c of row r lies at piece c ^ (r % 8) of its row: the 8 rows of an ldmatrix,
//   and the 8 lanes of a store phase, fall into different banks.
// - A warp copies 16 tokens of a key tile, which lie in one page: one page-table entry and one
//   64-bit address a lane and tile, however small the pages. It is read a tile ahead.
// - Keys ascend, and every row sees a key of the first tile (a row of a tree may see no cached key:
//   then all of its tree lies there), so that the running maximum is finite from it on and needs no
//   special case. With a window it does: tiles begin at the first key that a row of the block sees,
//   and later rows may see none of it. Only tiles that reach beyond the warp's first row's limit
//   are masked; tiles beyond its last row's limit are skipped. The output is rescaled only when a
//   maximum of the warp has changed; the factor is exactly 1 otherwise, so the result is the same.

#include "kernels/device/memory_access.h"
#include "kernels/device/tensor_core.h"
#include "kernels/operators/prefill_attention.h"
#include "kernels/operators/prefill_tiles.h"

namespace fleetsim::kernels::prefill {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarpLanes;
constexpr int kWarpRows = kQueryTileRows / kWarps;
constexpr int kMmaRows = 16;                          // rows of an mma
constexpr int kRowBlocks = kWarpRows / kMmaRows;      // mma row blocks of a warp
constexpr int kKeyBlocks = kKeyTileTokens / 8;        // mma columns of a score tile
constexpr int kCopyTokens = kKeyTileTokens / kWarps;  // a warp copies these of each tile
constexpr int kSlots = 3;
constexpr float kLog2E = 1.44269504088896340736F;
constexpr float kLn2 = 0.69314718055994530942F;
constexpr std::uint32_t kMinusInfinity = 0xff800000U;

static_assert(kCopyTokens == 16, "pages are multiples of what a warp copies");

/// Where tokens stand in pages of a multiple of 16 tokens, by a multiplication. With n pieces of 16
/// tokens before a token, d in a page and the error e < d of the inverse, n / d is exact while
/// n * e < 2^31: to half a billion tokens of context in pages of 1024.
class PagePlaces {
 public:
  explicit PagePlaces(int page_tokens)
      : pieces_(static_cast<std::uint32_t>(page_tokens / kCopyTokens)),
        inverse_((kOne + pieces_ - 1) / pieces_) {}
  /// Which page of its sequence holds `token`, a multiple of 16.
  FLEETSIM_DEVICE int page(int token) const {
    const std::uint64_t n = static_cast<std::uint32_t>(token) / kCopyTokens;
    return static_cast<int>(n * inverse_ >> kShift);
  }
  /// Where in its page.
  FLEETSIM_DEVICE int offset(int token) const {
    return token - page(token) * static_cast<int>(pieces_) * kCopyTokens;
  }

 private:
  static constexpr int kShift = 31;
  static constexpr std::uint32_t kOne = 1U << kShift;
  std::uint32_t pieces_, inverse_;
};

/// What is seen of the keys up to a new token's own: each has its kernel, so that masks cost
/// registers only where they are wanted.
enum class Sight { all, window, tree };

struct Parameters {
  PrefillAttentionArguments arguments;
  PrefillLengths lengths;
  PagePlaces places;
  float scale_log2;  // softmax_scale * log2(e)
};

/// Rows of kHeadDim bf16 values in shared memory, their 16-byte pieces swizzled.
template <int kHeadDim>
struct Rows {
  static constexpr int kBytes = kHeadDim * 2;
  static constexpr int kPieces = kBytes / 16;
  static constexpr int kPerCopy = kWarpLanes / kPieces;  // rows that a warp touches at once

  FLEETSIM_DEVICE static int offset(int row, int piece) {
    return row * kBytes + ((piece ^ (row & 7)) * 16);
  }
  /// offset(row, piece + more) out of offset(row, piece): one instruction, so that no thread keeps
  /// such offsets in registers. `more` is even and piece is 0 or 1.
  FLEETSIM_DEVICE static int pieces_on(int offset_of_piece, int more) {
    return (offset_of_piece ^ (more % 8 * 16)) + more / 8 * 128;
  }
  /// offset(row + more, piece) out of offset(row, piece), row below kPerCopy or a multiple of 8
  /// more and `more` a multiple of kPerCopy.
  FLEETSIM_DEVICE static int rows_on(int offset_of_row, int more) {
    return (offset_of_row ^ (more % 8 * 16)) + more * kBytes;
  }
};

template <int kHeadDim>
constexpr std::size_t shared_bytes_needed() {
  return static_cast<std::size_t>(kQueryTileRows + kSlots * kKeyTileTokens) *
         Rows<kHeadDim>::kBytes;
}

FLEETSIM_DEVICE int smaller(int a, int b) { return a < b ? a : b; }

/// Which thread this is; asked for where it is needed, so that nothing that follows from it is kept
/// in registers over the loop.
struct Place {
  int warp, lane;
};
FLEETSIM_DEVICE Place place() {
  const unsigned thread = recomputed(threadIdx.x);
  return {static_cast<int>(thread / kWarpLanes), static_cast<int>(thread % kWarpLanes)};
}

/// What one thread knows of its block's work.
template <int kHeadDim, Sight kSight>
struct Work {
  using R = Rows<kHeadDim>;

  QueryTile tile;
  int keys;     // of the sequence
  int cached;   // of these
  int all_see;  // window only: keys up to the tile's first row; every row of the tile sees those of
                // them that its own window still holds

  FLEETSIM_DEVICE static int kv_head() { return static_cast<int>(blockIdx.x); }

  /// Page of the 16 tokens that this warp copies of key tile `key_tile`; 0 where there are none, or
  /// none that the tile sees.
  FLEETSIM_DEVICE int page_of(const Parameters& p, int key_tile) const {
    const int token = key_tile * kKeyTileTokens + place().warp * kCopyTokens;
    if (token >= keys || unseen(p, token)) return 0;
    const int* const pages =
        p.arguments.page_table +
        static_cast<std::size_t>(recomputed(tile.sequence)) * p.arguments.pages_per_sequence;
    return pages[p.places.page(token)];
  }

  /// Whether the 16 tokens from `token` on lie before all windows: their page may be gone.
  FLEETSIM_DEVICE bool unseen(const Parameters& p, int token) const {
    return kSight == Sight::window && token + kCopyTokens <= all_see - p.arguments.window;
  }

  /// Starts the copy of this warp's 16 tokens of a key tile; tokens beyond the sequence are zeros,
  /// and so are those before all windows.
  FLEETSIM_DEVICE void copy_tile(const Parameters& p, const Bf16* cache, int page, int key_tile,
                                 unsigned char* slot) const {
    const Place at = place();
    const int token = key_tile * kKeyTileTokens + at.warp * kCopyTokens;
    const int row = at.lane / R::kPieces, piece = at.lane % R::kPieces;
    const std::size_t head_rows =
        (static_cast<std::size_t>(page) * p.arguments.kv_heads + kv_head()) *
        p.arguments.page_tokens;
    const Bf16* from = cache + (head_rows + p.places.offset(token) + row) * kHeadDim + piece * 8;
    const int to = R::offset(at.warp * kCopyTokens + row, piece);
    const int valid = unseen(p, token) ? 0 : keys - token - row;
    FLEETSIM_UNROLL
    for (int r = 0; r < kCopyTokens; r += R::kPerCopy)
      copy_async_16(slot + R::rows_on(to, r), from + r * kHeadDim, r < valid);
  }

  /// Starts the copy of this warp's query rows; rows beyond the sequence are zeros.
  FLEETSIM_DEVICE void copy_query(const Parameters& p, const TileRows& rows,
                                  unsigned char* shared) const {
    const Place at = place();
    const int row = at.lane / R::kPieces, piece = at.lane % R::kPieces;
    FLEETSIM_UNROLL
    for (int r = 0; r < kWarpRows; r += R::kPerCopy) {
      const int own = at.warp * kWarpRows + r + row;
      const bool valid = cached + rows.token(own) < keys;
      copy_async_16(shared + R::offset(own, piece),
                    p.arguments.query + (valid ? query_offset(p, rows, own) + piece * 8 : 0),
                    valid);
    }
  }

  /// Where a row of the tile stands in `query` and `out`.
  FLEETSIM_DEVICE std::size_t query_offset(const Parameters& p, const TileRows& rows,
                                           int row) const {
    return query_row(p, rows, row) * kHeadDim;
  }
  FLEETSIM_DEVICE std::size_t query_row(const Parameters& p, const TileRows& rows, int row) const {
    const int first_token = p.lengths.query_starts[tile.sequence];
    return static_cast<std::size_t>(first_token + rows.token(row)) * p.arguments.query_heads +
           kv_head() * p.lengths.group + rows.head(row);
  }

  /// Keys that a row of the tile sees; rows beyond the sequence are treated as its last token's.
  FLEETSIM_DEVICE int limit(const Parameters& p, const TileRows& rows, int row) const {
    if (!p.arguments.causal) return keys;
    return smaller(keys, cached + rows.token(row) + 1);
  }
  /// The first key that any row of the tile sees.
  FLEETSIM_DEVICE int first_seen(const Parameters& p) const {
    if (kSight != Sight::window) return 0;
    const int first = all_see - p.arguments.window;
    return first > 0 ? first : 0;
  }
  /// Trees: which of the 64 keys from `first_key` on a row sees; bit k is key first_key + k.
  FLEETSIM_DEVICE std::uint64_t tree_bits(const Parameters& p, const TileRows& rows, int row,
                                          int first_key) const {
    static_assert(kKeyTileTokens == kTreeTokensMax, "a tile of keys is a mask");
    const int tokens = keys - cached;
    const int token = smaller(rows.token(row), tokens - 1);
    const int first = first_key - cached;  // which new token the first key is
    const int last = token - first;        // bits behind it are not seen
    if (last < 0) return 0;
    const std::uint64_t until = ~std::uint64_t{0} >> (last < 63 ? 63 - last : 0);
    if (tokens > kTreeTokensMax || first <= -kTreeTokensMax) return until;
    const std::uint64_t mask =
        p.arguments.tree_masks[p.lengths.query_starts[recomputed(tile.sequence)] + token];
    const std::uint64_t of_tile =
        first >= 0 ? mask >> first : mask << -first | (~std::uint64_t{0} >> (64 + first));
    return of_tile & until;
  }
};

/// Scores of a warp's rows against a key tile.
template <int kHeadDim>
FLEETSIM_DEVICE void multiply_query_keys(const unsigned char* query, const unsigned char* keys,
                                         float (&scores)[kRowBlocks][kKeyBlocks][4]) {
  using R = Rows<kHeadDim>;
  const Place at = place();
  // ldmatrix of Q: rows lane % 16, piece lane / 16; of K: two blocks of 8 keys, two pieces each
  const int query_offset = R::offset(at.warp * kWarpRows + at.lane % 16, at.lane / 16);
  const int key_offset = R::offset(at.lane % 8 + at.lane / 16 * 8, at.lane / 8 % 2);
  FLEETSIM_UNROLL
  for (int k = 0; k < kHeadDim / 16; ++k) {
    std::uint32_t q[kRowBlocks][4];
    FLEETSIM_UNROLL
    for (int m = 0; m < kRowBlocks; ++m)
      load_matrix_x4(q[m], query + R::pieces_on(query_offset, 2 * k) + m * kMmaRows * R::kBytes);
    FLEETSIM_UNROLL
    for (int n = 0; n < kKeyBlocks; n += 2) {
      std::uint32_t fragments[4];
      load_matrix_x4(fragments, keys + R::pieces_on(key_offset, 2 * k) + n * 8 * R::kBytes);
      const std::uint32_t left[2] = {fragments[0], fragments[1]};
      const std::uint32_t right[2] = {fragments[2], fragments[3]};
      FLEETSIM_UNROLL
      for (int m = 0; m < kRowBlocks; ++m) {
        mma_bf16(scores[m][n], q[m], left);
        mma_bf16(scores[m][n + 1], q[m], right);
      }
    }
  }
}

/// Scores of keys that a row does not see become minus infinity.
template <int kHeadDim, Sight kSight>
FLEETSIM_DEVICE void mask(const Parameters& p, const Work<kHeadDim, kSight>& work, int first_key,
                          float (&scores)[kRowBlocks][kKeyBlocks][4]) {
  const Place at = place();
  const TileRows tile_rows(recomputed(work.tile.number), p.lengths.group);
  const int first_column = at.lane % 4 * 2;  // of this thread
  FLEETSIM_UNROLL
  for (int m = 0; m < kRowBlocks; ++m) {
    FLEETSIM_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = at.warp * kWarpRows + m * kMmaRows + half * 8 + at.lane / 4;
      if constexpr (kSight == Sight::tree) {
        const std::uint64_t seen = work.tree_bits(p, tile_rows, row, first_key) >> first_column;
        FLEETSIM_UNROLL
        for (int n = 0; n < kKeyBlocks; ++n) {
          FLEETSIM_UNROLL
          for (int i = 0; i < 2; ++i)
            if ((seen >> (n * 8 + i) & 1) == 0)
              scores[m][n][2 * half + i] = float_of_bits(kMinusInfinity);
        }
      } else {
        // this thread's columns from here on are masked, and those a window or more before it
        const int end = work.limit(p, tile_rows, row) - first_key - first_column;
        FLEETSIM_UNROLL
        for (int n = 0; n < kKeyBlocks; ++n) {
          FLEETSIM_UNROLL
          for (int i = 0; i < 2; ++i) {
            const int column = n * 8 + i;
            if (column >= end || (kSight == Sight::window && column < end - p.arguments.window))
              scores[m][n][2 * half + i] = float_of_bits(kMinusInfinity);
          }
        }
      }
    }
  }
}

/// out += P V of a key tile.
template <int kHeadDim>
FLEETSIM_DEVICE void multiply_probabilities_values(
    const std::uint32_t (&probabilities)[kRowBlocks][kKeyBlocks / 2][4],
    const unsigned char* values, float (&out)[kRowBlocks][kHeadDim / 8][4]) {
  using R = Rows<kHeadDim>;
  const Place at = place();
  const int offset = R::offset(at.lane % 16, at.lane / 16);
  FLEETSIM_UNROLL
  for (int k = 0; k < kKeyTileTokens / 16; ++k) {
    FLEETSIM_UNROLL
    for (int n = 0; n < kHeadDim / 8; n += 2) {
      std::uint32_t fragments[4];
      load_matrix_x4_transposed(fragments, values + R::pieces_on(offset, n) + k * 16 * R::kBytes);
      const std::uint32_t left[2] = {fragments[0], fragments[1]};
      const std::uint32_t right[2] = {fragments[2], fragments[3]};
      FLEETSIM_UNROLL
      for (int m = 0; m < kRowBlocks; ++m) {
        mma_bf16(out[m][n], probabilities[m][k], left);
        mma_bf16(out[m][n + 1], probabilities[m][k], right);
      }
    }
  }
}

/// The running maximum and sum of a thread's four rows: lane / 4, and 8, 16, 24 below it. Sums are
/// of this thread's columns only until the end.
struct RowState {
  float max[kRowBlocks][2], sum[kRowBlocks][2];
};

/// Maximum over the four lanes that hold a row.
FLEETSIM_DEVICE float row_max(float value) {
  value = fmaxf(value, shuffle_xor(value, 1));
  return fmaxf(value, shuffle_xor(value, 2));
}

/// What scores are taken relative to. A row whose window begins behind this tile has seen no key
/// yet; elsewhere every row sees a key of the first tile.
template <Sight kSight>
FLEETSIM_DEVICE float finite_base(float largest) {
  if (kSight != Sight::window) return largest;
  return largest == float_of_bits(kMinusInfinity) ? 0.0F : largest;
}

/// Scores become probabilities relative to the new maximum; what was summed before is rescaled.
template <int kHeadDim, Sight kSight>
FLEETSIM_DEVICE void online_softmax(float (&scores)[kRowBlocks][kKeyBlocks][4], float scale_log2,
                                    RowState& rows, float (&out)[kRowBlocks][kHeadDim / 8][4],
                                    std::uint32_t (&probabilities)[kRowBlocks][kKeyBlocks / 2][4]) {
  float factor[kRowBlocks][2];
  bool changed = false;
  FLEETSIM_UNROLL
  for (int m = 0; m < kRowBlocks; ++m) {
    FLEETSIM_UNROLL
    for (int half = 0; half < 2; ++half) {
      float largest = rows.max[m][half];
      FLEETSIM_UNROLL
      for (int n = 0; n < kKeyBlocks; ++n) {
        FLEETSIM_UNROLL
        for (int i = 2 * half; i < 2 * half + 2; ++i) largest = fmaxf(largest, scores[m][n][i]);
      }
      largest = row_max(largest);
      changed = changed || largest != rows.max[m][half];
      const float base = finite_base<kSight>(largest);
      factor[m][half] = exp2_fast((rows.max[m][half] - base) * scale_log2);
      rows.max[m][half] = largest;
    }
  }
  if (vote(changed) != 0) {
    FLEETSIM_UNROLL
    for (int m = 0; m < kRowBlocks; ++m) {
      FLEETSIM_UNROLL
      for (int half = 0; half < 2; ++half) rows.sum[m][half] *= factor[m][half];
      FLEETSIM_UNROLL
      for (int n = 0; n < kHeadDim / 8; ++n) {
        FLEETSIM_UNROLL
        for (int i = 0; i < 4; ++i) out[m][n][i] *= factor[m][i / 2];
      }
    }
  }
  FLEETSIM_UNROLL
  for (int m = 0; m < kRowBlocks; ++m) {
    const float shift[2] = {-finite_base<kSight>(rows.max[m][0]) * scale_log2,
                            -finite_base<kSight>(rows.max[m][1]) * scale_log2};
    FLEETSIM_UNROLL
    for (int n = 0; n < kKeyBlocks; ++n) {
      float p[4];
      FLEETSIM_UNROLL
      for (int i = 0; i < 4; ++i) {
        p[i] = exp2_fast(fmaf(scores[m][n][i], scale_log2, shift[i / 2]));
        rows.sum[m][i / 2] += p[i];
      }
      probabilities[m][n / 2][n % 2 * 2] = pack_bf16(p[0], p[1]);
      probabilities[m][n / 2][n % 2 * 2 + 1] = pack_bf16(p[2], p[3]);
    }
  }
}

/// Normalises, and writes the warp's rows: through its own query rows in shared memory, so that
/// global stores are whole rows. Barriers of the loop lie behind the last read of these.
template <int kHeadDim, Sight kSight>
FLEETSIM_DEVICE void write_rows(const Parameters& p, const Work<kHeadDim, kSight>& work,
                                const RowState& rows,
                                const float (&out)[kRowBlocks][kHeadDim / 8][4],
                                unsigned char* shared) {
  using R = Rows<kHeadDim>;
  const TileRows tile_rows(recomputed(work.tile.number), p.lengths.group);
  const Place at = place();
  const int lane = at.lane;
  const int first = at.warp * kWarpRows;
  FLEETSIM_UNROLL
  for (int m = 0; m < kRowBlocks; ++m) {
    FLEETSIM_UNROLL
    for (int half = 0; half < 2; ++half) {
      float sum = rows.sum[m][half];
      sum += shuffle_xor(sum, 1);
      sum += shuffle_xor(sum, 2);
      const float inverse = 1.0F / sum;
      const int row = first + m * kMmaRows + half * 8 + lane / 4;
      FLEETSIM_UNROLL
      for (int n = 0; n < kHeadDim / 8; ++n)
        *reinterpret_cast<std::uint32_t*>(shared + R::offset(row, n) + lane % 4 * 4) =
            pack_bf16(out[m][n][2 * half] * inverse, out[m][n][2 * half + 1] * inverse);
      if (p.arguments.log_sum_exp != nullptr && lane % 4 == 0 &&
          work.cached + tile_rows.token(row) < work.keys)
        p.arguments.log_sum_exp[work.query_row(p, tile_rows, row)] =
            rows.max[m][half] * p.scale_log2 * kLn2 + logf(sum);
    }
  }
  sync_warp();
  const int row = lane / R::kPieces, piece = lane % R::kPieces;
  FLEETSIM_UNROLL
  for (int r = 0; r < kWarpRows; r += R::kPerCopy) {
    const int own = first + r + row;
    if (work.cached + tile_rows.token(own) < work.keys)
      store_16(p.arguments.out + work.query_offset(p, tile_rows, own) + piece * 8,
               *reinterpret_cast<const uint4*>(shared + R::offset(own, piece)));
  }
}

template <int kHeadDim, Sight kSight>
__global__ void __launch_bounds__(kThreads, 2) prefill_attention_kernel(Parameters p) {
  using R = Rows<kHeadDim>;
  constexpr int kSlotBytes = kKeyTileTokens * R::kBytes;

  // blockIdx.x, which runs fastest, is the KV head: blocks of one rank are alike in length, and
  // blocks that run at the same time read the same few sequences' keys
  Work<kHeadDim, kSight> work;
  work.tile = find_query_tile(p.lengths, static_cast<int>(blockIdx.y), WholeWarp{});
  if (work.tile.sequence < 0) return;
  work.cached = p.lengths.cached_lengths[work.tile.sequence];
  work.keys = work.cached + p.lengths.new_tokens(work.tile.sequence);

  const TileRows tile_rows(work.tile.number, p.lengths.group);
  const int warp_row = place().warp * kWarpRows;
  const int tiles =
      ceil_div(work.limit(p, tile_rows, kQueryTileRows - 1), kKeyTileTokens);  // of keys
  // every row of the warp sees keys below `seen_by_all`, none those from `seen_by_any` on
  const bool warp_has_rows = work.cached + tile_rows.token(warp_row) < work.keys;
  int seen_by_all = work.cached;
  if (kSight == Sight::all) seen_by_all = work.limit(p, tile_rows, warp_row);
  if (kSight == Sight::window) seen_by_all = work.all_see = work.limit(p, tile_rows, 0);
  const int seen_by_any = warp_has_rows ? work.limit(p, tile_rows, warp_row + kWarpRows - 1) : 0;
  const int first_tile = work.first_seen(p) / kKeyTileTokens;

  unsigned char* const query = dynamic_shared_memory();
  unsigned char* const ring = query + kQueryTileRows * R::kBytes;
  int slot = 0;  // offset of the ring's slot that holds the tile of keys under way
  const auto slot_after = [](int offset, int steps) {
    const int next = offset + steps * kSlotBytes;
    return next >= kSlots * kSlotBytes ? next - kSlots * kSlotBytes : next;
  };

  int page = work.page_of(p, first_tile);
  work.copy_query(p, tile_rows, query);
  work.copy_tile(p, p.arguments.key_pages, page, first_tile, ring);
  copy_async_commit();
  work.copy_tile(p, p.arguments.value_pages, page, first_tile, ring + kSlotBytes);
  copy_async_commit();
  page = work.page_of(p, first_tile + 1);

  RowState rows;
  float out[kRowBlocks][kHeadDim / 8][4];
  FLEETSIM_UNROLL
  for (int m = 0; m < kRowBlocks; ++m) {
    FLEETSIM_UNROLL
    for (int half = 0; half < 2; ++half) {
      rows.max[m][half] = float_of_bits(kMinusInfinity);
      rows.sum[m][half] = 0;
    }
    FLEETSIM_UNROLL
    for (int n = 0; n < kHeadDim / 8; ++n) {
      FLEETSIM_UNROLL
      for (int i = 0; i < 4; ++i) out[m][n][i] = 0;
    }
  }

  FLEETSIM_NO_UNROLL
  for (int tile = first_tile; tile < tiles; ++tile) {
    const int first_key = tile * kKeyTileTokens;
    const bool sees = first_key < seen_by_any;  // the same in all lanes of the warp
    std::uint32_t probabilities[kRowBlocks][kKeyBlocks / 2][4];

    copy_async_wait<1>();
    sync_block();
    if (tile + 1 < tiles)
      work.copy_tile(p, p.arguments.key_pages, page, tile + 1, ring + slot_after(slot, 2));
    copy_async_commit();
    if (sees) {
      float scores[kRowBlocks][kKeyBlocks][4];
      FLEETSIM_UNROLL
      for (int m = 0; m < kRowBlocks; ++m) {
        FLEETSIM_UNROLL
        for (int n = 0; n < kKeyBlocks; ++n) {
          FLEETSIM_UNROLL
          for (int i = 0; i < 4; ++i) scores[m][n][i] = 0;
        }
      }
      multiply_query_keys<kHeadDim>(query, ring + slot, scores);
      if (first_key + kKeyTileTokens > seen_by_all ||
          (kSight == Sight::window && first_key + p.arguments.window < seen_by_any))
        mask(p, work, first_key, scores);
      online_softmax<kHeadDim, kSight>(scores, p.scale_log2, rows, out, probabilities);
    } else {  // not read; without it they would live in registers from one tile to the next
      FLEETSIM_UNROLL
      for (int m = 0; m < kRowBlocks; ++m) {
        FLEETSIM_UNROLL
        for (int k = 0; k < kKeyBlocks / 2; ++k) {
          FLEETSIM_UNROLL
          for (int i = 0; i < 4; ++i) probabilities[m][k][i] = 0;
        }
      }
    }

    copy_async_wait<1>();
    sync_block();
    if (tile + 1 < tiles) {
      work.copy_tile(p, p.arguments.value_pages, page, tile + 1, ring + slot);
      page = work.page_of(p, tile + 2);
    }
    copy_async_commit();
    if (sees)
      multiply_probabilities_values<kHeadDim>(probabilities, ring + slot_after(slot, 1), out);
    slot = slot_after(slot, 2);
  }
  if (warp_has_rows) write_rows(p, work, rows, out, query);
}

/// Starts the kernel on a grid of KV heads x query tiles.
template <Sight kSight>
void launch_kernel(const Parameters& parameters, int tiles, Stream stream) {
  const PrefillAttentionArguments& a = parameters.arguments;
  LaunchShape shape;
  shape.grid = dim3{static_cast<unsigned>(a.kv_heads), static_cast<unsigned>(tiles), 1};
  shape.block = dim3{kThreads, 1, 1};
  shape.shared_bytes = a.head_dim == 64 ? shared_bytes_needed<64>() : shared_bytes_needed<128>();
  shape.stream = stream;
  if (a.head_dim == 64)
    launch(prefill_attention_kernel<64, kSight>, shape, parameters);
  else
    launch(prefill_attention_kernel<128, kSight>, shape, parameters);
}

// Compiled in files of their own: prefill_window.cu and prefill_tree.cu.
void launch_windowed(const Parameters& parameters, int tiles, Stream stream);
void launch_tree(const Parameters& parameters, int tiles, Stream stream);

}  // namespace fleetsim::kernels::prefill
