#pragma once
// Decode attention on a latent KV cache (multi-head latent attention as DeepSeek-V2 and later have
// it), absorbed: all heads attend to one row a token, whose first part is also its value.

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// DeepSeek-V2, -V3, -R1 and Kimi K2: elements of a cached row that are latent (the value), of its
/// rotated key part, and of both (the key).
inline constexpr int kLatentElements = 512;
inline constexpr int kRotaryElements = 64;
inline constexpr int kLatentRowElements = kLatentElements + kRotaryElements;
/// Query tokens a sequence: one, and up to three drafted ones behind it.
inline constexpr int kLatentQueryTokensMax = 4;
/// Tokens of a tile, the piece in which contexts are read and shared out.
inline constexpr int kLatentTileTokens = 64;

/// out = softmax(softmax_scale * q k^T) v for each sequence, query token and head, with k a cached
/// row and v its first 512 elements. The rows of the query tokens already stand in their pages, at
/// the end of the sequence: of n query tokens, token i sees all but the last n - 1 - i. All
/// pointers are to device memory and 16-byte aligned; lengths and page table are read there, so
/// that a captured launch stays valid while they change.
struct LatentDecodeArguments {
  const Bf16* query = nullptr;        // [sequences][query_tokens][heads][576]: the latent part
                                      // (multiplied by the key's expansion) before the rotated one
  const Bf16* cache_pages = nullptr;  // [pages][page_tokens][576]
  const int* page_table = nullptr;  // [sequences][pages_per_sequence]; entries beyond a sequence's
                                    // tokens are not read
  const int* lengths = nullptr;     // [sequences]: tokens of each, the query tokens among them, 0
                                    // to pages_per_sequence * page_tokens
  Bf16* out = nullptr;           // [sequences][query_tokens][heads][512]; zeros where no token is
                                 // seen
  float* log_sum_exp = nullptr;  // [sequences][query_tokens][heads]: natural logarithm, of scaled
                                 // scores; minus infinity where no token is seen; nullptr: not
                                 // wanted
  void* workspace = nullptr;     // latent_decode_workspace_bytes(); one launch at a time may use it
  int sequences = 0;             // 0: nothing is launched
  int query_tokens = 1;          // 1 to 4
  int heads = 0;                 // 1 to 128, of this rank
  int pages = 0;                 // of the pool
  int page_tokens = 0;           // a power of two, at least 16
  int pages_per_sequence = 0;
  float softmax_scale = 0;  // > 0; 1 / sqrt(192) before what stretched contexts multiply
  int blocks = 0;  // > 0: exactly so many share the tokens, as far as these go, for each 64
                   // (query token, head) rows of a sequence; 0: as many as there are
                   // multiprocessors. Equal inputs and blocks give equal bits
};

/// Whether heads, query tokens, pages and the batch's largest total are within what the arguments
/// say; pointers and scale do not matter.
bool latent_decode_supports(const LatentDecodeArguments& arguments);

/// Bytes of workspace for these heads, query tokens and blocks; lengths and batch do not matter. It
/// need not be prepared.
std::size_t latent_decode_workspace_bytes(const LatentDecodeArguments& arguments);

/// Starts it on `stream`: one launch, and a second that adds up parts unless blocks is 1. CHECKs
/// the arguments. Errors: NotSupportedHere on a GPU that is no sm_90; CudaError.
///
/// Bytes at least: 1152 * sum of lengths. Source: DeepSeek-V2 (2024), section 2.1; the two
/// warpgroups that take turns as FlashMLA describes it (docs/20250422-new-kernel-deep-dive).
void launch_latent_decode(const LatentDecodeArguments& arguments, Stream stream);

}  // namespace fleetsim::kernels
