#pragma once
// Rotary embedding of Q and K, and the write of K and V into the paged cache, in one launch.

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// For each token t with a slot: Q of all heads is rotated by positions[t] into `query`, K likewise
/// into its slot of `key_pages`, V goes unrotated into `value_pages`. Element is Bf16 or E4m3. All
/// pointers are to device memory and 16-byte aligned (positions and slots: 8).
///
/// Arithmetic, in fp32, with c and s from the table and the pair (a, b) = (x[i], x[i + d/2]):
///   a' = fma(-b, s, a * c)    b' = fma(b, c, a * s)    (the inner product is rounded first)
/// then rounded to nearest even to bf16, or multiplied by 1 / scale (a quotient rounded to fp32)
/// and converted to e4m3, saturating at +-448. V in bf16 keeps its bits. A reader multiplies codes
/// by the scale.
template <class Element>
struct RopeKvWriteArguments {
  const Bf16* qkv = nullptr;   // [tokens][(query_heads + 2 kv_heads) * head_dim]: Q, K, V heads, as
                               // the QKV GEMM leaves them
  Bf16* query = nullptr;       // [tokens][query_row]; may be qkv itself: then in place
  std::int64_t query_row = 0;  // elements between tokens of `query`, a multiple of 8
  Element* key_pages = nullptr;         // [pages][kv_heads][page_tokens][head_dim]
  Element* value_pages = nullptr;       // the same
  const std::int64_t* slots = nullptr;  // [tokens]: page * page_tokens + place in the page, each at
                                        // most once; -1: padding, nothing of it is written
  const int* positions = nullptr;       // [tokens], rows of the table; of padding: anything
  const float* table = nullptr;         // rotary_table() of kernels/reference/rope.h
  float key_scale = 1, value_scale = 1;  // > 0; 1 for Bf16
  int tokens = 0;                        // >= 0
  int query_heads = 0, kv_heads = 0;
  int head_dim = 0;     // a multiple of 32
  int page_tokens = 0;  // a power of two
};

/// Starts it on `stream`; sm_80 or later. CHECKs the arguments. Errors: CudaError.
/// Bytes at least: tokens * head_dim * (4 query_heads + kv_heads * (4 + 2 sizeof(Element))).
/// Source: what engines call rotary_embedding + reshape_and_cache (vLLM), fused.
void launch_rope_kv_write(const RopeKvWriteArguments<Bf16>& arguments, Stream stream);
void launch_rope_kv_write(const RopeKvWriteArguments<E4m3>& arguments, Stream stream);

}  // namespace fleetsim::kernels
