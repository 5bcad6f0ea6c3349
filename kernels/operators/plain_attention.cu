#include "kernels/device/memory_access.h"
#include "kernels/device/warp.h"
#include "kernels/operators/plain_attention.h"

namespace fleetsim::kernels {
namespace {

constexpr int kWarps = 4;

/// Lane i holds dimensions i, i + 32, ...; tokens one after the other with a running maximum.
template <class Element, int kHeadDim>
__global__ void __launch_bounds__(kWarps* kWarpLanes)
    plain_attention_kernel(const PlainAttentionArguments<Element> a) {
  constexpr int kOwn = kHeadDim / kWarpLanes;
  const std::int64_t task =
      static_cast<std::int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarpLanes;
  if (task >= static_cast<std::int64_t>(a.rows) * a.query_heads) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const std::int64_t row = task / a.query_heads;
  const int head = static_cast<int>(task % a.query_heads);
  const int kv_head = head / (a.query_heads / a.kv_heads);
  const int* pages =
      a.page_table + static_cast<std::int64_t>(a.sequence_of_row[row]) * a.pages_per_sequence;
  const int visible = a.visible[row];

  float query[kOwn], sum[kOwn];
  FLEETSIM_UNROLL
  for (int i = 0; i < kOwn; ++i) {
    query[i] =
        to_float(a.query[task * kHeadDim + lane + kWarpLanes * i]) * a.softmax_scale * a.key_scale;
    sum[i] = 0;
  }
  float largest = -__builtin_inff(), weight = 0;
  const int first = a.first == nullptr ? 0 : a.first[row];
  const int tree_begin = a.tree_begin == nullptr ? visible : a.tree_begin[row];
  for (int token = first; token < visible; ++token) {
    if (token >= tree_begin && (a.tree_masks[row] >> (token - tree_begin) & 1) == 0) continue;
    const std::int64_t at =
        ((static_cast<std::int64_t>(pages[token / a.page_tokens]) * a.kv_heads + kv_head) *
             a.page_tokens +
         token % a.page_tokens) *
            kHeadDim +
        lane;
    float score = 0;
    FLEETSIM_UNROLL
    for (int i = 0; i < kOwn; ++i) score += query[i] * to_float(a.key_pages[at + kWarpLanes * i]);
    score = warp_sum(score);
    const float next = fmaxf(largest, score);
    const float keep = expf(largest - next), add = expf(score - next);
    largest = next;
    weight = weight * keep + add;
    FLEETSIM_UNROLL
    for (int i = 0; i < kOwn; ++i)
      sum[i] = sum[i] * keep + add * to_float(a.value_pages[at + kWarpLanes * i]);
  }
  FLEETSIM_UNROLL
  for (int i = 0; i < kOwn; ++i)
    a.out[task * kHeadDim + lane + kWarpLanes * i] =
        visible > 0 ? sum[i] * a.value_scale / weight : 0.0F;
  if (lane == 0 && a.log_sum_exp != nullptr)
    a.log_sum_exp[task] = visible > 0 ? largest + logf(weight) : largest;
}

}  // namespace

template <class Element>
void launch_plain_attention(const PlainAttentionArguments<Element>& a, Stream stream) {
  CHECK(a.head_dim == 64 || a.head_dim == 128);
  CHECK(a.kv_heads >= 1 && a.query_heads % a.kv_heads == 0 && a.page_tokens >= 1 && a.rows >= 0);
  CHECK(a.softmax_scale > 0 && a.key_scale > 0 && a.value_scale > 0);
  if (a.rows == 0) return;
  LaunchShape shape;
  shape.grid = dim3{static_cast<unsigned>(ceil_div(
                        static_cast<std::int64_t>(a.rows) * a.query_heads, std::int64_t{kWarps})),
                    1, 1};
  shape.block = dim3{kWarps * kWarpLanes, 1, 1};
  shape.stream = stream;
  if (a.head_dim == 64)
    launch(plain_attention_kernel<Element, 64>, shape, a);
  else
    launch(plain_attention_kernel<Element, 128>, shape, a);
}

template void launch_plain_attention(const PlainAttentionArguments<Bf16>&, Stream);
template void launch_plain_attention(const PlainAttentionArguments<E4m3>&, Stream);

}  // namespace fleetsim::kernels
