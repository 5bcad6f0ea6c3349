#pragma once
// The online softmax (Milakov and Gimelshein 2018) on the sums of a warpgroup's multiplication, in
// registers (warpgroup.h says which thread holds what): a thread has parts of two rows, index 0 and
// 1, and the four lanes of a quad share them.

#include <cmath>

#include "kernels/device/memory_access.h"
#include "kernels/device/warp.h"
#include "kernels/device/warpgroup.h"

namespace fleetsim::kernels {

/// Two rows of softmax so far.
struct RowPair {
  float largest[2];  // score, unscaled; minus infinity: nothing seen yet
  float weight[2];   // sum of probabilities, of this thread's columns
};

/// Row of the 64 that index `half` of this thread is.
FLEETSIM_DEVICE int warpgroup_row(int thread, int half) {
  return thread / kWarpLanes % 4 * 16 + thread % kWarpLanes / 4 + 8 * half;
}

/// Scores of columns from visible[half] on become minus infinity, whatever they were.
template <int kScores>
FLEETSIM_DEVICE void mask_columns(float (&scores)[kScores], const int (&visible)[2], int lane) {
  FLEETSIM_UNROLL
  for (int i = 0; i < kScores; ++i)
    if (i / 4 * 8 + lane % 4 * 2 + i % 2 >= visible[i / 2 % 2]) scores[i] = minus_infinity();
}

/// Takes the largest score of each row into `largest`.
template <int kScores>
FLEETSIM_DEVICE void take_largest(float (&largest)[2], const float (&scores)[kScores]) {
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    float here = fmaxf(scores[2 * half], scores[2 * half + 1]);
    FLEETSIM_UNROLL
    for (int i = 4; i < kScores; i += 4)
      here = fmaxf(here, fmaxf(scores[i + 2 * half], scores[i + 2 * half + 1]));
    here = fmaxf(here, shuffle_xor(here, 1));
    here = fmaxf(here, shuffle_xor(here, 2));
    largest[half] = fmaxf(largest[half], here);
  }
}

/// What is subtracted from scaled scores: a row that has seen nothing has nothing to subtract.
FLEETSIM_DEVICE float exponent_base(float largest, float scale_log2) {
  return largest == minus_infinity() ? 0.0F : largest * scale_log2;
}

/// What sums that belong to the largest score `before` are multiplied with.
FLEETSIM_DEVICE float rescaling(float before, float largest, float scale_log2) {
  return exp2_fast(before * scale_log2 - exponent_base(largest, scale_log2));
}

/// Scores become probabilities under `rows.largest`, and are added to `rows.weight`.
template <int kScores>
FLEETSIM_DEVICE void exponentiate(float (&scores)[kScores], RowPair& rows, float scale_log2) {
  const float base[2] = {exponent_base(rows.largest[0], scale_log2),
                         exponent_base(rows.largest[1], scale_log2)};
  FLEETSIM_UNROLL
  for (int i = 0; i < kScores; ++i) {
    scores[i] = exp2_fast(scores[i] * scale_log2 - base[i / 2 % 2]);
    rows.weight[i / 2 % 2] += scores[i];
  }
}

/// Probabilities as the left operand of the next multiplication, 16 columns a step.
template <int kScores>
FLEETSIM_DEVICE void pack_probabilities(std::uint32_t (&packed)[kScores / 8][4],
                                        const float (&scores)[kScores]) {
  FLEETSIM_UNROLL
  for (int step = 0; step < kScores / 8; ++step) {
    FLEETSIM_UNROLL
    for (int part = 0; part < 4; ++part)
      packed[step][part] = pack_bf16(scores[8 * step + 2 * part], scores[8 * step + 2 * part + 1]);
  }
}

/// Sums of both rows times their factors; nothing where no row of the warp has grown.
template <int kSums>
FLEETSIM_DEVICE void rescale(float (&sums)[kSums], const float (&factor)[2]) {
  if (vote(factor[0] != 1.0F || factor[1] != 1.0F) == 0) return;
  FLEETSIM_UNROLL
  for (int i = 0; i < kSums; ++i) sums[i] *= factor[i / 2 % 2];
}

/// The weight of each row over the four lanes that share it.
FLEETSIM_DEVICE void join_quad(float (&weight)[2]) {
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    weight[half] += shuffle_xor(weight[half], 1);
    weight[half] += shuffle_xor(weight[half], 2);
  }
}

/// Sums times `factor` as bf16, 16 bytes a store: row `half` of the thread goes to rows[half],
/// kSums * 2 elements; nullptr: nowhere. Four lanes turn four times eight columns so that each has
/// eight neighbours.
template <int kSums>
FLEETSIM_DEVICE void store_rows_bf16(Bf16* const (&rows)[2], const float (&sums)[kSums],
                                     const float (&factor)[2], int lane) {
  const bool odd = lane % 2 != 0, upper = lane / 2 % 2 != 0;
  const auto exchange = [](std::uint32_t& low, std::uint32_t& high, bool second, int mask) {
    const std::uint32_t other = shuffle_xor(second ? low : high, mask);
    (second ? low : high) = other;
  };
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    FLEETSIM_UNROLL
    for (int first = 0; first < kSums / 4; first += 4) {
      std::uint32_t words[4];
      FLEETSIM_UNROLL
      for (int i = 0; i < 4; ++i)
        words[i] = pack_bf16(sums[4 * (first + i) + 2 * half] * factor[half],
                             sums[4 * (first + i) + 2 * half + 1] * factor[half]);
      exchange(words[0], words[1], odd, 1);
      exchange(words[2], words[3], odd, 1);
      exchange(words[0], words[2], upper, 2);
      exchange(words[1], words[3], upper, 2);
      if (rows[half] != nullptr)
        store_16(rows[half] + 8 * (first + lane % 4),
                 uint4{words[0], words[1], words[2], words[3]});
    }
  }
}

}  // namespace fleetsim::kernels
