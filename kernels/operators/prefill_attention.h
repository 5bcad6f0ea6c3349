#pragma once
// Paged prefill attention: new tokens of a ragged batch attend to their cached context and to each
// other.

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// Which kernel runs. `best`: the fastest for this GPU. The others are kept to measure what each
/// step brought (kernels/README.md); those with consumers need sm_90 and head_dim 128.
enum class PrefillVariant { best, portable, one_consumer, two_consumers };

/// The new tokens of a batch, and what they see.
///
/// out = softmax(softmax_scale * Q K^T + mask) V for each sequence and query head. The keys and
/// values of the new tokens already stand in their pages, behind those of the cached ones: a
/// sequence with c cached and q new tokens has c + q keys. All pointers are to device memory and
/// 16-byte aligned; every length is read there, so a captured launch stays valid while lengths
/// change within total_tokens and sequences.
struct PrefillBatch {
  const Bf16* query = nullptr;      // [total_tokens][query_heads][head_dim]
  const int* page_table = nullptr;  // [sequences][pages_per_sequence]; entries beyond a sequence's
                                    // keys are not read
  const int* query_starts = nullptr;  // [sequences + 1]: row of `query` where each sequence begins,
                                      // ascending from 0; a sequence may have no new tokens
  const int* cached_lengths = nullptr;  // [sequences]: c of each, >= 0
  Bf16* out = nullptr;                  // as query; rows from query_starts[sequences] on stay as
                                        // they are
  float* log_sum_exp = nullptr;         // [total_tokens][query_heads], natural logarithm, of scaled
                                        // scores; nullptr: not wanted
  int sequences = 0;
  int total_tokens = 0;  // at least query_starts[sequences]
  int query_heads = 0;   // a multiple of kv_heads, at most 64 times as many
  int kv_heads = 0;
  int head_dim = 0;     // 64 or 128
  int page_tokens = 0;  // a multiple of 16
  int pages_per_sequence = 0;
  float softmax_scale = 0;  // > 0, usually 1 / sqrt(head_dim)
  bool causal = true;       // new token i of a sequence sees c + i + 1 keys; else all c + q
  int window = 0;  // > 0, causal only: of those a new token sees the last `window`, its own
                   // included. Pages that hold no key that a new token sees are not read,
                   // nor are their entries of page_table
  // Draft trees, causal and without window only: [total_tokens], or nullptr. Bit j of new token i
  // says that it sees new token j of its own sequence, for j <= i; bit i is set, and bits behind it
  // do not matter: nodes stand behind their ancestors. All cached keys are seen. A sequence of more
  // than 64 new tokens is no tree: its masks are not read and it is plainly causal, so that chunks
  // of prompts stand beside trees in one launch.
  const std::uint64_t* tree_masks = nullptr;
  // prefill_attention_workspace_bytes(), prepared once; one launch at a time may use it. nullptr:
  // none, and then sm_90 neither shares the keys of few rows with a long context out over several
  // multiprocessors, nor hands out work as it gets done: slower, but for large even batches
  void* workspace = nullptr;
  PrefillVariant variant = PrefillVariant::best;
};

/// The batch over pages of Element, Bf16 or E4m3.
///
/// GPUs of sm_90 take a kernel of their own (wgmma, tensor copies), all others the portable one.
/// E4m3 needs sm_90 and head_dim 128, and is multiplied as it is: K = key_scale * codes, V =
/// value_scale * codes; queries become query_scale * codes, and probabilities 8 bits too (rounded
/// to nearest, queries beyond 448 * query_scale saturated).
template <class Element>
struct PrefillArguments : PrefillBatch {
  const Element* key_pages = nullptr;    // [pages][kv_heads][page_tokens][head_dim]
  const Element* value_pages = nullptr;  // the same
  float query_scale = 1, key_scale = 1, value_scale = 1;  // > 0; 1 for Bf16
};
using PrefillAttentionArguments = PrefillArguments<Bf16>;

/// New tokens of a sequence up to which tree_masks apply: the bits of a mask.
inline constexpr int kTreeTokensMax = 64;

/// Tiles of 128 (new token, query head) rows that one launch can compute for a KV head; a batch
/// needs at most total_tokens * query_heads / kv_heads / 128 + sequences.
inline constexpr int kPrefillTilesMax = 65535;

/// Whether this GPU has the variant, and it takes these heads, pages, masks and numbers of
/// sequences and `total_tokens` (which arguments.total_tokens need not be able to hold); other
/// fields are not looked at.
template <class Element>
bool prefill_attention_supports(const PrefillArguments<Element>& arguments,
                                std::int64_t total_tokens);

/// Bytes of workspace for this head_dim on this GPU, at least 256; lengths and batch do not matter.
template <class Element>
std::size_t prefill_attention_workspace_bytes(const PrefillArguments<Element>& arguments);
/// Once for a workspace, before the first launch that uses it (and after a launch that failed).
template <class Element>
void prepare_prefill_attention_workspace(const PrefillArguments<Element>& arguments, Stream stream);

/// Starts it on `stream`; sm_80 or later. CHECKs that the arguments are supported and sound.
/// Errors: CudaError.
/// Source: FlashAttention-2 (Dao 2023), the online softmax of Milakov and Gimelshein (2018).
template <class Element>
void launch_prefill_attention(const PrefillArguments<Element>& arguments, Stream stream);

}  // namespace fleetsim::kernels
