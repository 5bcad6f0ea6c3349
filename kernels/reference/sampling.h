#pragma once
// Sampling in float64: which tokens top-k and top-p keep, how probable each is, and whether draws
// agree.

#include <cstdint>
#include <vector>

namespace fleetsim::kernels {

/// As SamplingRow of kernels/operators/sampling.h, where the rules are written.
struct SamplingRule {
  double temperature = 1;  // > 0
  double top_p = 1;        // 1 or more: off
  int top_k = 0;           // 0 or less: off
};

/// `either`: the token lies within 1e-6 (of probability, of its logarithm at the far end) of a cut,
/// where another precision may fall either way.
enum class Kept { no, either, yes };

struct SamplingReference {
  std::vector<Kept> kept;           // [vocab]
  std::vector<double> probability;  // [vocab], of the draw: sums to 1; `either` counts as kept
};

/// Logits may be minus infinity; at least one is finite.
SamplingReference sampling_reference(const std::vector<float>& logits, const SamplingRule& rule);

/// log2(e) * logit / temperature + base-2 Gumbel noise, of each id; the noise is that of
/// launch_sampling (Philox by seed, position and id), in float64.
std::vector<double> gumbel_scores(const std::vector<float>& logits, double temperature,
                                  std::uint64_t seed, std::uint64_t position);

/// The lowest id of the largest logit.
int greedy_reference(const std::vector<float>& logits);

/// Probability that a chi-square variable of `freedom` degrees is at least `statistic`.
double chi_square_tail(double statistic, double freedom);

/// The chance of counts as uneven as these or more, were `probability` true: Pearson's test, cells
/// that expect less than 5 merged. 0 when something impossible was drawn.
double agreement(const std::vector<std::int64_t>& counts, const std::vector<double>& probability);

}  // namespace fleetsim::kernels
