#pragma once
// Paged attention without any art, a warp a query row and head, in fp32: the oracle of the fast
// kernels at shapes that float64 on a CPU is too slow for. Proven against float64 itself.

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// As DecodeAttentionArguments, but each row says which tokens it sees: decode has a row a
/// sequence, prefill a row a new token (decode_rows() and prefill_rows() of
/// kernels/reference/attention.h).
template <class Element>
struct PlainAttentionArguments {
  const Bf16* query = nullptr;           // [rows][query_heads][head_dim]
  const Element* key_pages = nullptr;    // [pages][kv_heads][page_tokens][head_dim]
  const Element* value_pages = nullptr;  // the same
  const int* page_table = nullptr;       // [sequences][pages_per_sequence]
  const int* sequence_of_row = nullptr;  // [rows]
  const int* visible = nullptr;          // [rows]: the row sees tokens 0 to visible - 1, 0 allowed
  const int* first = nullptr;            // [rows]: but none before this one; nullptr: all
  const int* tree_begin = nullptr;       // [rows]: and of those from here on the ones whose bit is
                                         // set: bit j is token tree_begin + j; nullptr: all
  const std::uint64_t* tree_masks = nullptr;  // [rows], with tree_begin
  float* out = nullptr;                       // as query
  float* log_sum_exp = nullptr;               // [rows][query_heads]; nullptr: not wanted
  int rows = 0;
  int query_heads = 0;  // a multiple of kv_heads
  int kv_heads = 0;
  int head_dim = 0;  // 64 or 128
  int page_tokens = 0;
  int pages_per_sequence = 0;
  float softmax_scale = 0;
  float key_scale = 1, value_scale = 1;
};

/// Starts it on `stream`; any GPU. CHECKs the arguments. Errors: CudaError.
template <class Element>
void launch_plain_attention(const PlainAttentionArguments<Element>& arguments, Stream stream);

}  // namespace fleetsim::kernels
