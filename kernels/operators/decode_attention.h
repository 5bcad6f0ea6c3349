#pragma once
// Paged decode attention: one new token a sequence attends to all of its cached context.

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// out = softmax(softmax_scale * q K^T) V for each sequence and query head, with K = key_scale *
/// codes and V = value_scale * codes. Element is Bf16 or E4m3. The key and value of the newest
/// token already stand in their page. All pointers are to device memory and 16-byte aligned;
/// lengths and page table are read there, so that a captured launch stays valid while they change.
///
/// Keys and values are two arrays: the prefill kernel and the KV write take them so, and a page of
/// one head is contiguous in each, which is all that copies ask for.
template <class Element>
struct DecodeAttentionArguments {
  const Bf16* query = nullptr;           // [sequences][query_heads][head_dim]; |q| <= 65504 (fp16's
                                         // largest) for E4m3
  const Element* key_pages = nullptr;    // [pages][kv_heads][page_tokens][head_dim]
  const Element* value_pages = nullptr;  // the same
  const int* page_table = nullptr;       // [sequences][pages_per_sequence]; entries beyond a
                                         // sequence's tokens are not read
  const int* lengths = nullptr;          // [sequences]: tokens of each, 0 to pages_per_sequence *
                                         // page_tokens; beyond a length pages are not read
  Bf16* out = nullptr;                   // as query; zeros for a sequence without tokens
  float* log_sum_exp = nullptr;          // [sequences][query_heads]: natural logarithm, of scaled
                                 // scores; minus infinity without tokens; nullptr: not wanted
  void* workspace = nullptr;  // decode_attention_workspace_bytes(), prepared once; one launch at a
                              // time may use it
  int sequences = 0;          // 0: nothing is launched
  int query_heads = 0;        // 1 to 16 times kv_heads
  int kv_heads = 0;
  int head_dim = 0;     // 64 or 128
  int page_tokens = 0;  // a power of two, at least 16
  int pages_per_sequence = 0;
  float softmax_scale = 0;               // > 0, usually 1 / sqrt(head_dim)
  float key_scale = 1, value_scale = 1;  // > 0; 1 for Bf16
  int blocks = 0;  // > 0: exactly so many share the work, as far as it goes (decode_schedule.h);
                   // 0: at most two a multiprocessor. Equal inputs and blocks give equal bits
};

/// Tokens of a tile, the piece in which contexts are read and shared out: 32 KiB of keys and values
/// (half of that for 64 x e4m3).
template <class Element>
constexpr int decode_tile_tokens(int head_dim) {
  return head_dim * sizeof(Element) == 256 ? 64 : 128;
}

/// Whether head counts, head_dim, pages and the batch's largest total are within what the arguments
/// say; pointers and scales do not matter.
template <class Element>
bool decode_attention_supports(const DecodeAttentionArguments<Element>& arguments);

/// Bytes of workspace for these head counts and blocks; lengths and batch do not matter.
template <class Element>
std::size_t decode_attention_workspace_bytes(const DecodeAttentionArguments<Element>& arguments);

/// Once for a workspace, before the first launch that uses it (and after a launch that failed).
template <class Element>
void prepare_decode_attention_workspace(const DecodeAttentionArguments<Element>& arguments,
                                        Stream stream);

/// Starts it on `stream`; sm_80 or later (E4m3 is fast from sm_89 on). CHECKs the arguments.
/// Errors: CudaError.
///
/// Bytes at least: 2 * kv_heads * head_dim * sizeof(Element) * sum of lengths. Source: split-KV
/// decoding (Dao et al., "Flash-Decoding", 2023), query heads of a group packed into the rows of a
/// tensor-core tile, the online softmax of Milakov and Gimelshein (2018).
template <class Element>
void launch_decode_attention(const DecodeAttentionArguments<Element>& arguments, Stream stream);

}  // namespace fleetsim::kernels
