#pragma once
// Batches of drafts through the rejection-sampling kernel against float64, and generated tokens
// against the distribution of the target; a fault can be planted, so that a test sees that the
// comparison finds it.

#include "kernels/checks/check.h"
#include "kernels/checks/sampling_check.h"

namespace fleetsim::kernels {

enum class DraftFault {
  none,
  hotter,              // the target's temperature is 50 % higher than the kernel is told
  other_distribution,  // drafts come from another distribution than the kernel is told
};

struct RejectionCase {
  LogitShape shape = LogitShape::normal;  // masked: also rows with infinite logits, of NaN alone
  int requests = 1, nodes_max = 1;        // trees by chance and chains, of 0 to nodes_max nodes
  int vocab = 1, row_stride = 1;
  bool with_probabilities = false;
};

/// Every accepted node and token of random drafts, greedy requests among them. error: requests that
/// contradict the reference where it is clear; limit 0. Also: a second run and reversed requests
/// give the same tokens, and most requests are clear.
CheckReport check_rejection_case(const RejectionCase& c, std::uint64_t seed);

/// Two tokens generated behind a root with `children` children, of which each has as many, many
/// times; the target's second token depends on its first. With probabilities drafts are drawn,
/// otherwise they are always the same, two siblings with one token among them. error: -log10 of the
/// chance of counts as uneven (Pearson), of first tokens or of pairs, whichever is worse; limit 4.
CheckReport check_rejection_draws(int children, bool with_probabilities, int requests,
                                  std::uint64_t seed, DraftFault fault = DraftFault::none);

}  // namespace fleetsim::kernels
