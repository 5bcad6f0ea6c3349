#pragma once
// What a thread of the sampling kernel does with logits of a row: its parameters, reads, bins of
// probability, noise, and which token is the best.

#include <cmath>

#include "kernels/device/memory_access.h"
#include "kernels/device/number_formats.h"
#include "kernels/device/philox.h"
#include "kernels/operators/sampling.h"

namespace fleetsim::kernels::sampling {

using Wide = unsigned long long;

inline constexpr unsigned kInFlight = 4;  // 16-byte reads of a thread
inline constexpr unsigned kBins = 2048;   // of probability; what lies beyond is never kept
inline constexpr float kBinsPerHalving = 32.0F;
inline constexpr float kMinusInfinity = -INFINITY;
inline constexpr float kLog2E = 1.44269504088896340736F;
inline constexpr float kLn2 = 0.69314718055994530942F;

/// A row's parameters as the passes use them.
struct RowRule {
  bool greedy, limits_count, limits_mass;
  float per_bit;  // log2(e) / temperature
};

FLEETSIM_DEVICE RowRule rule_of(const SamplingRow& row, int vocab) {
  RowRule rule;
  rule.greedy = !(row.temperature >= 1e-5F);
  rule.limits_count = !rule.greedy && row.top_k > 0 && row.top_k < vocab;
  rule.limits_mass = !rule.greedy && row.top_p < 1.0F;
  rule.per_bit = rule.greedy ? 1.0F : kLog2E / row.temperature;
  return rule;
}

/// Bits that are ordered as their values are; both zeros are one.
FLEETSIM_DEVICE unsigned ordered_bits(float value) {
  const unsigned bits = bits_of(value + 0.0F);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
FLEETSIM_DEVICE float value_of_ordered(unsigned ordered) {
  return float_of_bits((ordered & 0x80000000U) != 0 ? ordered & 0x7fffffffU : ~ordered);
}

/// Score and id as one word: the larger wins, of equal scores the lower id. 0: nobody yet.
FLEETSIM_DEVICE Wide best_of(float score, unsigned id) {
  return static_cast<Wide>(ordered_bits(score)) << 32 | (0xffffffffU - id);
}

FLEETSIM_DEVICE float without_nan(float x) { return x == x ? x : kMinusInfinity; }

/// Four logits from `at` on, a multiple of 4 below `end`; minus infinity beyond `end`.
FLEETSIM_DEVICE float4 load_four(const float* row, unsigned at, unsigned end, bool aligned) {
  float4 four;
  if (aligned && at + 4 <= end) {
    const uint4 bits = load_16(row + at);
    four = {float_of_bits(bits.x), float_of_bits(bits.y), float_of_bits(bits.z),
            float_of_bits(bits.w)};
  } else {
    four.x = row[at];
    four.y = at + 1 < end ? row[at + 1] : kMinusInfinity;
    four.z = at + 2 < end ? row[at + 2] : kMinusInfinity;
    four.w = at + 3 < end ? row[at + 3] : kMinusInfinity;
  }
  return {without_nan(four.x), without_nan(four.y), without_nan(four.z), without_nan(four.w)};
}

/// This block's part of a row: visit(first id, four logits) with ids from `begin` to `end`.
template <class Visit>
FLEETSIM_DEVICE void for_each_four(const float* row, bool aligned, unsigned begin, unsigned end,
                                   Visit visit) {
  const unsigned step = blockDim.x * 4;
  for (unsigned base = begin + threadIdx.x * 4; base < end; base += step * kInFlight) {
    float4 fours[kInFlight];
    FLEETSIM_UNROLL
    for (unsigned i = 0; i < kInFlight; ++i)
      if (base + i * step < end) fours[i] = load_four(row, base + i * step, end, aligned);
    FLEETSIM_UNROLL
    for (unsigned i = 0; i < kInFlight; ++i)
      if (base + i * step < end) visit(base + i * step, fours[i]);
  }
}

/// Adds `value` to a sum of 64 bits in two words of shared memory; 32-bit atomics are native there.
FLEETSIM_DEVICE void add_wide(unsigned* low, unsigned* high, Wide value) {
  const unsigned added = static_cast<unsigned>(value);
  const unsigned before = atomic_add(low, added);
  const unsigned carry = before + added < before ? 1U : 0U;
  const unsigned upper = static_cast<unsigned>(value >> 32) + carry;
  if (upper != 0) atomic_add(high, upper);
}

/// Halvings of probability below the largest token, in bins; beyond kBins for what is never kept.
FLEETSIM_DEVICE float distance_in_bins(float x, float largest, float per_bit) {
  // equal also when both are infinite
  return x == largest ? 0.0F : (largest - x) * (per_bit * kBinsPerHalving);
}
FLEETSIM_DEVICE unsigned bin_of(float distance) {
  return distance < static_cast<float>(kBins) ? static_cast<unsigned>(distance) : kBins;
}

/// -log2 of four exponential draws: base-2 Gumbel noise but for a constant.
FLEETSIM_DEVICE float noise_of(unsigned word) {
  // v in (0, 1], with all its bits near 0: there the noise is large and decides
  const float v = (static_cast<float>(word) + 0.5F) * 2.3283064365386962890625e-10F;  // 2^-32
  // -ln(1 - v): the series below 1/16 (next term 1.6e-7 of it), the logarithm above
  float series = fmaf(v, 0.2F, 0.25F);
  series = fmaf(v, series, 0.333333333F);
  series = fmaf(v, series, 0.5F);
  series = fmaf(v, series, 1.0F);
  const float exponential = v < 0.0625F ? v * series : -kLn2 * log2_fast(1.0F - v);
  return -log2_fast(exponential);
}

/// What a position's random words are for: draws for one are independent of those for another.
enum class DrawPurpose : unsigned { token = 0, acceptance = 1, recovered_token = 2 };

FLEETSIM_DEVICE uint4 random_words(std::uint64_t seed, std::uint64_t position, DrawPurpose purpose,
                                   unsigned number) {
  return philox({number, static_cast<unsigned>(position), static_cast<unsigned>(position >> 32),
                 static_cast<unsigned>(purpose)},
                seed);
}

FLEETSIM_DEVICE float4 noise_of_four(const SamplingRow& row, unsigned first_id,
                                     DrawPurpose purpose = DrawPurpose::token) {
  const uint4 words = random_words(row.seed, row.position, purpose, first_id / 4);
  return {noise_of(words.x), noise_of(words.y), noise_of(words.z), noise_of(words.w)};
}

FLEETSIM_DEVICE Wide better(Wide a, Wide b) { return a > b ? a : b; }

/// The best of four tokens, of those whose bit in `kept` is set.
FLEETSIM_DEVICE Wide best_of_four(const RowRule& rule, const SamplingRow& row, unsigned first_id,
                                  const float4& logits, unsigned kept) {
  float4 noise = {0, 0, 0, 0};
  if (!rule.greedy && kept != 0) noise = noise_of_four(row, first_id);
  Wide best = 0;
  if ((kept & 1U) != 0) best = best_of(fmaf(logits.x, rule.per_bit, noise.x), first_id);
  if ((kept & 2U) != 0)
    best = better(best, best_of(fmaf(logits.y, rule.per_bit, noise.y), first_id + 1));
  if ((kept & 4U) != 0)
    best = better(best, best_of(fmaf(logits.z, rule.per_bit, noise.z), first_id + 2));
  if ((kept & 8U) != 0)
    best = better(best, best_of(fmaf(logits.w, rule.per_bit, noise.w), first_id + 3));
  return best;
}

/// Bits of those of four ids that lie before `end`.
FLEETSIM_DEVICE unsigned ids_before(unsigned first_id, unsigned end) {
  return end - first_id >= 4 ? 0xfU : (1U << (end - first_id)) - 1U;
}

}  // namespace fleetsim::kernels::sampling
