#pragma once
// Verification of draft trees in float64, as the scheme is written in its papers: a distribution a
// node, from which the draft's is taken away and which is normalised anew after each rejection.

#include <cstdint>
#include <vector>

#include "kernels/reference/draft_tree.h"

namespace fleetsim::kernels {

/// A request as launch_rejection_sampling (kernels/operators/rejection_sampling.h) gets it.
struct DraftInputs {
  DraftTree tree;
  std::vector<int> tokens;                              // [nodes]; the root's is not read
  std::vector<std::vector<float>> logits;               // [nodes][vocab]
  std::vector<std::vector<float>> draft_probabilities;  // [nodes][vocab]; empty: drafts without
  double temperature = 1;                               // below 1e-5: greedy
  std::uint64_t seed = 0, position = 0;
};

struct DraftVerdict {
  std::vector<int> nodes;   // the accepted ones, in order
  std::vector<int> tokens;  // theirs, and the next one
  bool clear = true;  // no decision was so close that rounding to fp32 could have turned it: 1e-5
                      // of the probabilities that were compared
};

/// The kernel's draws (Philox by seed, position and purpose) against these probabilities.
DraftVerdict rejection_reference(const DraftInputs& inputs);

/// The softmax of logits / temperature; NaN counts as minus infinity. All of it on the lowest id of
/// the largest logit when greedy, or when that logit is infinite.
std::vector<double> target_distribution(const std::vector<float>& logits, double temperature);

}  // namespace fleetsim::kernels
