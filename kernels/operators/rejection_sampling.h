#pragma once
// Verification of speculative drafts: which tokens of a draft tree are accepted, and which token
// follows them, so that the output is distributed as if the target model alone had drawn it.

#include "kernels/device/launch.h"
#include "kernels/operators/sampling.h"

namespace fleetsim::kernels {

/// Nodes of a request's draft, its root included.
inline constexpr int kDraftNodesMax = 64;

/// Requests r with their draft trees: node n of r is row node_starts[r] + n of what is said per
/// row. Node 0 is the root, the last token that is certain; the others stand behind their parents.
/// The row of a node holds what the models say about the token behind it.
///
/// From the root on, the children of the node reached are tried in the order in which they stand.
/// With p the softmax of the node's logits / temperature, and q its row of draft probabilities:
///   drafts with probabilities: child x is accepted with probability min(1, p(x) / q(x)); otherwise
///       p becomes max(p - q, 0), normalised, for the next child. Lossless where the children of a
///       node are independent draws from q. After k rejections p is max(p - c q, 0) / Z with
///       c = 1 + Z_1 + ... + Z_(k-1), Z_i the sum of what is left after i: one row of q, a number;
///   drafts without (n-grams, suffixes; draft_probabilities = nullptr): x is accepted with p(x);
///       otherwise p(x) becomes 0, normalised;
///   greedy rows: x is accepted where it is the largest logit, of equal ones the lowest id.
/// Where no child is accepted, or none is there, the next token is drawn from what p has become:
/// the bonus token behind a whole path, the recovered one after rejections. Where rounding leaves
/// nothing of it, the most probable token follows.
///
/// Draws are Philox by (seed, position + depth in the tree, which draw) and by none of the draws of
/// launch_sampling at these positions, so drafts may come from there: neither the other requests
/// nor their order change a request's tokens. NaN logits count as minus infinity; a row whose
/// largest logit is infinite is taken as greedy. Draft probabilities that are negative or NaN count
/// as 0.
struct RejectionSamplingArguments {
  const float* logits = nullptr;     // [rows][row_stride], 16-byte aligned: the target's
  const int* node_starts = nullptr;  // [requests + 1]: ascending from 0; a request may be empty,
                                     // and gets nothing then
  const int* parents = nullptr;      // [rows]: node of the same request; the root's is not read
  const std::int32_t* draft_tokens = nullptr;  // [rows], 0 to vocab - 1; the root's is not read
  const float* draft_probabilities = nullptr;  // [rows][row_stride], aligned as logits; rows of
                                               // nodes without children are not read
  const SamplingRow* parameters = nullptr;     // [requests]: temperature, seed, position of the
                                               // token behind the root; the rest is not read
  int requests = 0;
  int rows = 0;                    // at least node_starts[requests]
  int nodes_max = 0;               // most nodes of a request, 1 to kDraftNodesMax
  int vocab = 0;                   // 1 to 2^24
  std::int64_t row_stride = 0;     // >= vocab; reads of 16 bytes when a multiple of 4
  std::int32_t* tokens = nullptr;  // [requests][nodes_max]: the accepted ones, then the next one
  std::int32_t* nodes = nullptr;   // [requests][nodes_max]: the accepted nodes; nullptr: not wanted
  std::int32_t* accepted = nullptr;  // [requests]: how many
  void* workspace =
      nullptr;  // rejection_sampling_workspace_bytes(), 256-byte aligned; zeros before
                // its first use with these shapes, left so that it may be used again
};

std::size_t rejection_sampling_workspace_bytes(const RejectionSamplingArguments& arguments);

/// Starts three kernels on `stream`; sm_80 or later. CHECKs the arguments. Errors: CudaError.
/// Bytes at least: 4 * rows * vocab, and the rows of logits and draft probabilities that next
/// tokens are drawn from once more; siblings behind a rejected one read both again.
/// Sources: Leviathan, Kalman, Matias 2023 and Chen et al. 2023 (chains); SpecInfer (Miao et al.
/// 2024), multi-step speculative sampling (trees).
void launch_rejection_sampling(const RejectionSamplingArguments& arguments, Stream stream);

}  // namespace fleetsim::kernels
