#pragma once
// Attention over a paged KV cache in float64, for decode and prefill.
//
// Both operators are sets of query rows, each of which sees the first so many tokens of one
// sequence: decode has a row a sequence that sees all of it, prefill a row a new token. A sliding
// window hides the first of these tokens, a draft tree some of the last.

#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/reference/page_table.h"

namespace fleetsim::kernels {

struct AttentionShape {
  int query_heads = 0;  // a multiple of kv_heads; head h reads KV head h / (query_heads / kv_heads)
  int kv_heads = 0;
  int head_dim = 0;
  double softmax_scale = 0;  // scores are scale * (q . k)
};

/// A row of queries: all its heads see tokens first to visible - 1 of `sequence`, but of those from
/// tree_begin on only the ones whose bit is set: bit j of tree_mask is token tree_begin + j.
/// visible may be 0.
struct AttentionRow {
  int sequence = 0;
  int visible = 0;
  int first = 0;
  int tree_begin = std::numeric_limits<int>::max();  // no tree
  std::uint64_t tree_mask = 0;

  bool sees(int token) const {
    if (token < first || token >= visible) return false;
    return token < tree_begin || (tree_mask >> (token - tree_begin) & 1) != 0;
  }
  bool operator==(const AttentionRow&) const = default;
};

/// A row a sequence, which sees lengths[i] tokens.
std::vector<AttentionRow> decode_rows(const std::vector<int>& lengths);
/// new_lengths[i] rows of sequence i, sequence after sequence; its context holds cached_lengths[i]
/// tokens and the new ones. Causal: row j sees cached + j + 1 of them, otherwise all.
std::vector<AttentionRow> prefill_rows(const std::vector<int>& new_lengths,
                                       const std::vector<int>& cached_lengths, bool causal);
/// Causal rows that see the last `window` >= 1 of their tokens.
std::vector<AttentionRow> windowed_rows(const std::vector<int>& new_lengths,
                                        const std::vector<int>& cached_lengths, int window);
/// Causal rows of draft trees: masks[i] is what row i sees of its sequence's new tokens. Sequences
/// of more than 64 new tokens are no trees.
std::vector<AttentionRow> tree_rows(const std::vector<int>& new_lengths,
                                    const std::vector<int>& cached_lengths,
                                    const std::vector<std::uint64_t>& masks);

/// Operands, dequantised. What `rows` do not see may be anything, NaN too.
struct AttentionInputs {
  AttentionShape shape;
  PageTable table;
  std::vector<AttentionRow> rows;
  std::vector<float> queries;  // [rows][query_heads][head_dim]
  std::vector<float> keys;     // [pool_pages][kv_heads][page_tokens][head_dim]
  std::vector<float> values;   // the same
};

struct AttentionOutputs {
  std::vector<double> out;  // [rows][query_heads][head_dim]; zeros of a row that sees nothing
  std::vector<double> lse;  // [rows][query_heads]: ln(sum of e^score); minus infinity of such a row
};

/// How the reference rounds.
enum class AttentionRounding {
  none,        // float64 throughout
  bf16_steps,  // as a bf16 implementation in separate steps: scores, probabilities and outputs are
               // rounded to bf16, sums are exact. A kernel may err twice as much (the rule of
               // FlashAttention's own tests, kernels-and-cost-models §4.7)
  e4m3_steps   // as one that multiplies values by probabilities in e4m3, of which the largest is
               // 2^8 (E4m3's largest is 448); sums of probabilities are exact, outputs bf16
};

/// Errors: CHECK when sizes do not fit together.
AttentionOutputs reference_attention(const AttentionInputs& inputs,
                                     AttentionRounding rounding = AttentionRounding::none);

}  // namespace fleetsim::kernels
