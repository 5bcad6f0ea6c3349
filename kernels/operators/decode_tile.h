#pragma once
// A tile of keys and values in shared memory, and what a warp of the decode attention kernel
// computes on it.
//
// Layout. The tokens of a tile are 8 chunks of 8 or 16 consecutive ones. A chunk is contiguous in
// its page, so one bulk copy fetches it, and begins 16 bytes further into the banks than the chunk
// before. The 8 rows of every 8 x 8 matrix that ldmatrix reads are taken from the 8 chunks, the
// same token of each: 8 addresses that are 16 bytes apart modulo 128, so there are no bank
// conflicts although rows are unpadded and 64, 128 or 256 bytes long. Which token stands in which
// column is free, as long as scores and values agree:
//   column n of score block i <-> token i of chunk n.
// Each warp computes on score blocks of its own (its tokens of every chunk) for all query heads of
// the group, the 16 rows of the mma; the warps' partial results are merged at the end of a piece.
//
// e4m3. An ldmatrix moves pairs of codes. Of keys, lane 4g + t gets codes 4t to 4t + 3 of a 16-byte
// piece, which it uses as k = 2t, 2t + 1, 2t + 8, 2t + 9 of an mma; the queries are read in the
// same order. Of values (transposed), a register holds a pair of neighbouring dimensions of two
// tokens, which become an mma of the even and one of the odd dimensions of the piece.

#include "kernels/device/memory_access.h"
#include "kernels/device/tensor_core.h"
#include "kernels/operators/decode_attention.h"

namespace fleetsim::kernels {

inline constexpr int kDecodeWarps = 4;  // that compute
inline constexpr int kDecodeThreads = kDecodeWarps * kWarpLanes;
inline constexpr int kGroupMax = 16;  // query heads of a KV head: rows of an mma
inline constexpr int kChunks = 8;     // rows of an ldmatrix

/// Shape and layout of a stage: keys, values, and the queries that come with a piece's first tile.
template <class ElementType, int kDim>
struct DecodeTile {
  using Element = ElementType;
  static constexpr bool kIsBf16 = sizeof(Element) == 2;
  static constexpr int kHeadDim = kDim;
  static constexpr int kTokens = decode_tile_tokens<Element>(kDim);
  static constexpr int kChunkTokens = kTokens / kChunks;
  static constexpr int kRowBytes = kDim * static_cast<int>(sizeof(Element));
  static constexpr int kChunkStride = kChunkTokens * kRowBytes + 16;
  static constexpr int kHalfBytes = kChunks * kChunkStride;  // of the keys; of the values
  static constexpr int kQueryRowBytes = kDim * 2;
  static constexpr int kQueryStride = kQueryRowBytes + 16;  // padded for ldmatrix
  static constexpr int kQueries = 2 * kHalfBytes;           // offset in a stage
  static constexpr int kStageBytes = kQueries + kGroupMax * kQueryStride;
  static constexpr int kScoreBlocks = kChunkTokens / kDecodeWarps;  // of a warp, 8 tokens each
  static constexpr int kSteps = kDim / 16;                          // mmas of a score block
  static constexpr int kOutBlocks = kDim / 8;                       // mma columns of the output

  static_assert(kScoreBlocks % 2 == 0, "an mma takes probabilities of two score blocks");
  static_assert(kStageBytes % 16 == 0, "stages stay aligned for copies");
  static_assert(kDecodeWarps * kGroupMax * kDim * 4 <= 2 * kHalfBytes,
                "the merge takes a stage's place");
};

/// A warp's part of the result for 16 query heads. Lane 4g + t holds rows g and g + 8 (index 0, 1).
template <class Tile>
struct DecodeSums {
  float out[Tile::kOutBlocks][4];
  float largest[2];  // unscaled score; minus infinity: no token yet
  float weight[2];   // sum of probabilities, of this lane's tokens
};

/// Query fragments of all steps.
template <class Tile>
struct DecodeQueries {
  std::uint32_t fragment[Tile::kSteps][4];
};

template <class Tile>
FLEETSIM_DEVICE void clear(DecodeSums<Tile>& sums) {
  FLEETSIM_UNROLL
  for (int block = 0; block < Tile::kOutBlocks; ++block) {
    FLEETSIM_UNROLL
    for (int i = 0; i < 4; ++i) sums.out[block][i] = 0;
  }
  FLEETSIM_UNROLL
  for (int row = 0; row < 2; ++row) {
    sums.largest[row] = minus_infinity();
    sums.weight[row] = 0;
  }
}

FLEETSIM_DEVICE std::uint32_t bf16_pair_to_half(std::uint32_t pair) {
  const float2 values = unpack_bf16(pair);
  return pack_half(values.x, values.y);
}

/// Queries of the group from `stage`: 16 rows, of which those beyond the group are zeros.
template <class Tile>
FLEETSIM_DEVICE void read_queries(DecodeQueries<Tile>& queries, const unsigned char* stage,
                                  int lane) {
  const unsigned char* rows = stage + Tile::kQueries;
  if constexpr (Tile::kIsBf16) {
    const unsigned char* own = rows + lane % 16 * Tile::kQueryStride + lane / 16 * 16;
    FLEETSIM_UNROLL
    for (int step = 0; step < Tile::kSteps; ++step)
      load_matrix_x4(queries.fragment[step], own + 32 * step);
  } else {
    const unsigned char* own = rows + lane / 4 * Tile::kQueryStride + lane % 4 * 8;
    FLEETSIM_UNROLL
    for (int step = 0; step < Tile::kSteps; ++step) {
      FLEETSIM_UNROLL
      for (int half = 0; half < 2; ++half) {
        const uint2 four =
            *reinterpret_cast<const uint2*>(own + 8 * half * Tile::kQueryStride + 32 * step);
        queries.fragment[step][half] = bf16_pair_to_half(four.x);
        queries.fragment[step][half + 2] = bf16_pair_to_half(four.y);
      }
    }
  }
}

/// Scores of the warp's tokens, unscaled: score[i][2r + j] is of row g + 8r and column 2t + j.
template <class Tile>
FLEETSIM_DEVICE void compute_scores(float (&score)[Tile::kScoreBlocks][4],
                                    const DecodeQueries<Tile>& queries, const unsigned char* stage,
                                    int warp, int lane) {
  // matrix m of a load: 16-byte piece 4 part + m; its row n: the token in chunk n
  const unsigned char* own = stage + lane % 8 * Tile::kChunkStride +
                             warp * Tile::kScoreBlocks * Tile::kRowBytes + lane / 8 * 16;
  FLEETSIM_UNROLL
  for (int block = 0; block < Tile::kScoreBlocks; ++block) {
    FLEETSIM_UNROLL
    for (int i = 0; i < 4; ++i) score[block][i] = 0;
  }
  FLEETSIM_UNROLL
  for (int part = 0; part < Tile::kRowBytes / 64; ++part) {
    std::uint32_t key[Tile::kScoreBlocks][4];
    FLEETSIM_UNROLL
    for (int block = 0; block < Tile::kScoreBlocks; ++block)
      load_matrix_x4(key[block], own + block * Tile::kRowBytes + 64 * part);
    if constexpr (Tile::kIsBf16) {
      FLEETSIM_UNROLL
      for (int half = 0; half < 2; ++half) {
        FLEETSIM_UNROLL
        for (int block = 0; block < Tile::kScoreBlocks; ++block) {
          const std::uint32_t b[2] = {key[block][2 * half], key[block][2 * half + 1]};
          mma_bf16(score[block], queries.fragment[2 * part + half], b);
        }
      }
    } else {
      FLEETSIM_UNROLL
      for (int piece = 0; piece < 4; ++piece) {
        FLEETSIM_UNROLL
        for (int block = 0; block < Tile::kScoreBlocks; ++block) {
          const std::uint32_t b[2] = {
              e4m3_pair_to_half(static_cast<std::uint16_t>(key[block][piece])),
              e4m3_pair_to_half(static_cast<std::uint16_t>(key[block][piece] >> 16))};
          mma_half(score[block], queries.fragment[4 * part + piece], b);
        }
      }
    }
  }
}

/// Output columns of this lane: element 2r + j of block b is of row g + 8r and this dimension.
template <class Tile>
FLEETSIM_DEVICE int out_dimension(int block, int j, int lane) {
  if constexpr (Tile::kIsBf16) return 8 * block + lane % 4 * 2 + j;
  return 16 * (block / 2) + lane % 4 * 4 + 2 * j + block % 2;
}

/// out += probabilities times values, for the warp's tokens.
template <class Tile>
FLEETSIM_DEVICE void add_values(DecodeSums<Tile>& sums,
                                const float (&probability)[Tile::kScoreBlocks][4],
                                const unsigned char* stage, int warp, int lane) {
  // matrix m of a load: token m % 2 of the pair, 16-byte piece 2 part + m / 2
  const int matrix = lane / 8;
  const unsigned char* own = stage + Tile::kHalfBytes + lane % 8 * Tile::kChunkStride +
                             (warp * Tile::kScoreBlocks + matrix % 2) * Tile::kRowBytes +
                             matrix / 2 * 16;
  FLEETSIM_UNROLL
  for (int pair = 0; pair < Tile::kScoreBlocks / 2; ++pair) {
    std::uint32_t a[4];
    FLEETSIM_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float low = probability[2 * pair + i / 2][i % 2 * 2];
      const float high = probability[2 * pair + i / 2][i % 2 * 2 + 1];
      a[i] = Tile::kIsBf16 ? pack_bf16(low, high) : pack_half(low, high);
    }
    FLEETSIM_UNROLL
    for (int part = 0; part < Tile::kRowBytes / 32; ++part) {
      std::uint32_t value[4];
      load_matrix_x4_transposed(value, own + 2 * pair * Tile::kRowBytes + 32 * part);
      FLEETSIM_UNROLL
      for (int piece = 0; piece < 2; ++piece) {
        if constexpr (Tile::kIsBf16) {
          const std::uint32_t b[2] = {value[2 * piece], value[2 * piece + 1]};
          mma_bf16(sums.out[2 * part + piece], a, b);
        } else {
          const std::uint32_t first = swap_inner_bytes(value[2 * piece]);
          const std::uint32_t second = swap_inner_bytes(value[2 * piece + 1]);
          const std::uint32_t even[2] = {e4m3_pair_to_half(static_cast<std::uint16_t>(first)),
                                         e4m3_pair_to_half(static_cast<std::uint16_t>(second))};
          const std::uint32_t odd[2] = {
              e4m3_pair_to_half(static_cast<std::uint16_t>(first >> 16)),
              e4m3_pair_to_half(static_cast<std::uint16_t>(second >> 16))};
          mma_half(sums.out[4 * part + 2 * piece], a, even);
          mma_half(sums.out[4 * part + 2 * piece + 1], a, odd);
        }
      }
    }
  }
}

/// Values of tokens from `valid` on become zeros, those that this warp reads: probability 0 times
/// what an earlier tile or nobody left there must not be NaN.
template <class Tile>
FLEETSIM_DEVICE void clear_values_behind(unsigned char* stage, int valid, int warp, int lane) {
  const int chunk = lane / 4;
  FLEETSIM_UNROLL
  for (int block = 0; block < Tile::kScoreBlocks; ++block) {
    const int token = warp * Tile::kScoreBlocks + block;
    if (chunk * Tile::kChunkTokens + token < valid) continue;
    unsigned char* row =
        stage + Tile::kHalfBytes + chunk * Tile::kChunkStride + token * Tile::kRowBytes;
    FLEETSIM_UNROLL
    for (int piece = 0; piece < Tile::kRowBytes / 64; ++piece)
      store_16(row + 16 * (4 * piece + lane % 4), uint4{0, 0, 0, 0});
  }
  sync_warp();
}

/// Takes in one tile, of which the first `valid` tokens (1 to Tile::kTokens) count. scale_log2: of
/// scores, in base 2.
template <class Tile>
FLEETSIM_DEVICE void attend_tile(DecodeSums<Tile>& sums, const DecodeQueries<Tile>& queries,
                                 unsigned char* stage, int valid, float scale_log2, int warp,
                                 int lane) {
  float score[Tile::kScoreBlocks][4];
  compute_scores<Tile>(score, queries, stage, warp, lane);
  if (valid < Tile::kTokens) {
    clear_values_behind<Tile>(stage, valid, warp, lane);
    FLEETSIM_UNROLL
    for (int block = 0; block < Tile::kScoreBlocks; ++block) {
      FLEETSIM_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int chunk = lane % 4 * 2 + i % 2;
        if (chunk * Tile::kChunkTokens + warp * Tile::kScoreBlocks + block >= valid)
          score[block][i] = minus_infinity();
      }
    }
  }

  float largest[2] = {sums.largest[0], sums.largest[1]};
  FLEETSIM_UNROLL
  for (int row = 0; row < 2; ++row) {
    FLEETSIM_UNROLL
    for (int block = 0; block < Tile::kScoreBlocks; ++block)
      largest[row] = fmaxf(largest[row], fmaxf(score[block][2 * row], score[block][2 * row + 1]));
    // the four lanes of a row
    largest[row] = fmaxf(largest[row], shuffle_xor(largest[row], 1));
    largest[row] = fmaxf(largest[row], shuffle_xor(largest[row], 2));
  }
  float base[2];  // 0 while a row has seen no token: nothing minus nothing is not a number
  FLEETSIM_UNROLL
  for (int row = 0; row < 2; ++row)
    base[row] = largest[row] == minus_infinity() ? 0.0F : largest[row] * scale_log2;

  // rescale only where a maximum of the warp has grown; elsewhere the factor would be exactly 1
  if (vote(largest[0] > sums.largest[0] || largest[1] > sums.largest[1]) != 0) {
    FLEETSIM_UNROLL
    for (int row = 0; row < 2; ++row) {
      const float factor = exp2_fast(sums.largest[row] * scale_log2 - base[row]);
      sums.largest[row] = largest[row];
      sums.weight[row] *= factor;
      FLEETSIM_UNROLL
      for (int block = 0; block < Tile::kOutBlocks; ++block) {
        sums.out[block][2 * row] *= factor;
        sums.out[block][2 * row + 1] *= factor;
      }
    }
  }
  FLEETSIM_UNROLL
  for (int block = 0; block < Tile::kScoreBlocks; ++block) {
    FLEETSIM_UNROLL
    for (int i = 0; i < 4; ++i) {
      score[block][i] = exp2_fast(score[block][i] * scale_log2 - base[i / 2]);
      sums.weight[i / 2] += score[block][i];
    }
  }
  add_values<Tile>(sums, score, stage, warp, lane);
}

}  // namespace fleetsim::kernels
