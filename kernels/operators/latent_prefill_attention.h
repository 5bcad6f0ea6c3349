#pragma once
// Prefill attention of multi-head latent attention, not absorbed: keys and values of all heads were
// expanded from the latents before, keys 192 wide (128 and 64 rotated), values 128.

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// DeepSeek-V2 and later, Kimi K2: width of a query's or key's head, and of a value's.
inline constexpr int kLatentKeyWidth = 192;
inline constexpr int kLatentValueWidth = 128;

/// out = softmax(softmax_scale * Q K^T + mask) V for each sequence and head. Every head has keys
/// and values of its own. A sequence with q new tokens has c + q keys, one row behind the other;
/// causal: new token i sees the first c + i + 1. Contexts too long to be expanded at once are given
/// in pieces, which are not causal, and merged by their log-sum-exps. All pointers are to device
/// memory and 16-byte aligned; every length is read there, so a captured launch stays valid while
/// lengths change within total_tokens, total_keys and sequences.
struct LatentPrefillArguments {
  const Bf16* query = nullptr;          // [total_tokens][heads][192]
  const Bf16* keys = nullptr;           // [total_keys][heads][192]
  const Bf16* values = nullptr;         // [total_keys][heads][128]
  const int* query_starts = nullptr;    // [sequences + 1]: row of `query` where each sequence
                                        // begins, ascending from 0; a sequence may have no new
                                        // tokens
  const int* cached_lengths = nullptr;  // [sequences]: c of each; below 0 only when not causal;
                                        // c + q >= 1 where there are new tokens
  const int* key_starts = nullptr;      // [sequences]: row of `keys` and `values` where each begins
  Bf16* out = nullptr;                  // [total_tokens][heads][128]; rows from
                                        // query_starts[sequences] on stay as they are
  float* log_sum_exp = nullptr;         // [total_tokens][heads], natural logarithm, of scaled
                                        // scores; nullptr: not wanted
  void* workspace = nullptr;            // kLatentPrefillWorkspaceBytes, prepared once; one launch
                                        // at a time may use it
  int sequences = 0;
  int total_tokens = 0;     // at least query_starts[sequences]; 0: nothing is launched
  int total_keys = 0;       // rows of keys and values
  int heads = 0;            // 1 to 128, of this rank
  float softmax_scale = 0;  // > 0, usually 1 / sqrt(192)
  bool causal = true;       // else every new token sees all c + q keys
  int blocks = 0;  // > 0: exactly so many take query tiles in turn; 0: one a multiprocessor.
                   // Results do not depend on it
};

inline constexpr std::size_t kLatentPrefillWorkspaceBytes = 16;

/// Whether heads and sizes are within what the arguments say; pointers and scale do not matter.
bool latent_prefill_supports(const LatentPrefillArguments& arguments);

/// Once for a workspace, before the first launch that uses it (and after a launch that failed).
void prepare_latent_prefill_workspace(void* workspace, Stream stream);

/// Starts it on `stream`. CHECKs that the arguments are supported and sound. Errors:
/// NotSupportedHere on a GPU that is no sm_90; CudaError.
/// Source: FlashAttention-3 (Shah et al. 2024): a warpgroup that copies, two that compute in turns.
void launch_latent_prefill(const LatentPrefillArguments& arguments, Stream stream);

}  // namespace fleetsim::kernels
