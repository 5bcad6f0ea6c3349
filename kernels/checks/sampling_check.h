#pragma once
// One batch through the sampling kernel against float64, and draws against their distribution; a
// fault can be planted, so that a test sees that the comparison finds it.

#include "kernels/checks/check.h"
#include "kernels/operators/sampling.h"

namespace fleetsim::kernels {

enum class SamplingFault {
  none,
  one_more_kept,    // the reference keeps one token more than top_k says
  larger_top_p,     // the reference's top_p is 0.01 larger
  hotter,           // the reference's temperature is 25 % higher
  last_of_the_tie,  // the reference takes the highest id of equal logits
};

/// Tokens of a row [vocab] (no NaN) about which the kernel's `token` and `cut` and float64 say
/// different things.
std::int64_t sampling_contradictions(const std::vector<float>& logits, const SamplingRow& row,
                                     std::int32_t token, float cut,
                                     SamplingFault fault = SamplingFault::none);

/// The shape of a row's logits.
enum class LogitShape {
  normal,  // standard deviation 3
  coarse,  // multiples of 1/8: some are equal
  lumps,   // multiples of 3: a third are equal
  flat,    // all equal
  masked,  // normal, every third minus infinity, a few NaN
  peaked,  // one far above the rest
};

struct SamplingCase {
  LogitShape shape = LogitShape::normal;
  int rows = 1, vocab = 1, row_stride = 1;
  int splits = 0;
};

/// Kept sets, cuts and tokens of random rows: greedy, top-k, top-p, both, neither, mixed in one
/// batch. error: tokens that contradict the reference; limit 0. Also: a second run, other splits
/// and reversed rows give the same tokens, bit for bit.
CheckReport check_sampling_case(const SamplingCase& shape, std::uint64_t seed,
                                SamplingFault fault = SamplingFault::none);

/// Draws of one distribution over a small vocabulary. error: -log10 of the chance of counts as
/// uneven (Pearson); limit 4.
CheckReport check_sampling_draws(const SamplingRow& row, SamplingMethod method, int vocab,
                                 int draws, std::uint64_t seed,
                                 SamplingFault fault = SamplingFault::none);

}  // namespace fleetsim::kernels
