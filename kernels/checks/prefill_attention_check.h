#pragma once
// One case of the prefill-attention check, so that tests can run cases of their own and spoil them.

#include <string>
#include <vector>

#include "kernels/checks/check.h"
#include "kernels/device/number_formats.h"
#include "kernels/operators/prefill_attention.h"

namespace fleetsim::kernels {

/// What the new tokens of a sequence see of each other.
enum class DraftShape { none, chains, stars, random };

struct PrefillCase {
  int query_heads, kv_heads, head_dim, page_tokens;
  std::vector<int> new_lengths, cached_lengths;  // by sequence
  bool causal = true;
  int shared_pages = 0;   // the second sequence holds the first so many pages of the first
  int sampled_rows = 0;   // compared with float64: so many of the new tokens, and all of them with
                          // the plain kernel; 0: all with float64
  float query_scale = 1;  // standard deviation of the queries; large: peaked softmax
  int window = 0;         // as PrefillAttentionArguments
  DraftShape drafts = DraftShape::none;  // of sequences of at most 64 new tokens
  bool workspace = true;                 // given to the kernel
  PrefillVariant variant = PrefillVariant::best;
  bool e4m3 = false;  // keys and values
};

/// What the device gets of a case. Codes of e4m3 stand here as bf16, which holds them all.
struct PrefillOperands {
  std::vector<Bf16> query, keys, values;
  std::vector<int> page_table, query_starts, cached_lengths;
  std::vector<std::uint64_t> tree_masks;  // empty: no trees
};

/// Runs a case twice and compares every element with float64 (of a sample, when there is one): the
/// output's relative error, its largest error against that of an implementation in separate bf16
/// steps, the log-sum-exp. Where a window hides nothing, or all trees are chains, the bytes must be
/// those of plain causal attention. `spoil`, when given, changes what the device gets, not the
/// reference.
std::vector<CheckReport> check_prefill_case(const PrefillCase& c, std::uint64_t seed,
                                            void (*spoil)(PrefillOperands& operands) = nullptr);

}  // namespace fleetsim::kernels
