// A thread's item is 8 elements of a head's first half and their 8 partners of the second: two
// 16-byte reads, whole sectors across a warp, and the pairs of a rotation in one thread. In e4m3
// two neighbouring lanes swap halves, so that stores are 16 bytes there too. Big batches give a
// thread two items, so that enough reads are in flight; small ones spread over all SMs.

#include "kernels/device/memory_access.h"
#include "kernels/device/warp.h"
#include "kernels/operators/rope_kv_write.h"

namespace fleetsim::kernels {
namespace {

constexpr int kThreads = 128;
constexpr unsigned kItemElements = 8;  // of each half

template <class Element>
struct Parameters {
  RopeKvWriteArguments<Element> arguments;
  float inverse_key_scale, inverse_value_scale;
  unsigned items, items_per_token, items_per_head;
  int page_shift;  // log2(page_tokens)
};

struct Item {
  bool exists;                   // false behind the last one
  unsigned token, head, column;  // head: of Q, K, V in a row; column: which 8 elements
  int position;
  std::int64_t slot;
};

template <class Element>
FLEETSIM_DEVICE Item locate(const Parameters<Element>& p, unsigned number) {
  Item item{number < p.items, 0, 0, 0, 0, -1};
  if (!item.exists) return item;
  item.token = number / p.items_per_token;
  const unsigned within = number - item.token * p.items_per_token;
  item.head = within / p.items_per_head;
  item.column = within - item.head * p.items_per_head;
  item.slot = p.arguments.slots[item.token];
  item.position = p.arguments.positions[item.token];
  return item;
}

FLEETSIM_DEVICE void unpack(uint4 packed, float (&values)[8]) {
  const std::uint32_t words[4] = {packed.x, packed.y, packed.z, packed.w};
  FLEETSIM_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float2 two = unpack_bf16(words[i]);
    values[2 * i] = two.x;
    values[2 * i + 1] = two.y;
  }
}

FLEETSIM_DEVICE void load_8_floats(const float* from, float (&values)[8]) {
  FLEETSIM_UNROLL
  for (int i = 0; i < 2; ++i) {
    const uint4 bits = load_16(from + 4 * i);
    values[4 * i] = float_of_bits(bits.x);
    values[4 * i + 1] = float_of_bits(bits.y);
    values[4 * i + 2] = float_of_bits(bits.z);
    values[4 * i + 3] = float_of_bits(bits.w);
  }
}

/// The rotation of 8 pairs as the interface states it.
FLEETSIM_DEVICE void rotate(const float* table_row, unsigned first, unsigned half, float (&a)[8],
                            float (&b)[8]) {
  float cosines[8], sines[8];
  load_8_floats(table_row + first, cosines);
  load_8_floats(table_row + half + first, sines);
  FLEETSIM_UNROLL
  for (int i = 0; i < 8; ++i) {
    const float turned = fmaf(-b[i], sines[i], a[i] * cosines[i]);
    b[i] = fmaf(b[i], cosines[i], a[i] * sines[i]);
    a[i] = turned;
  }
}

FLEETSIM_DEVICE uint4 pack_8_bf16(const float (&v)[8]) {
  return {pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]),
          pack_bf16(v[6], v[7])};
}

FLEETSIM_DEVICE uint2 pack_8_e4m3(const float (&v)[8], float factor) {
  return {pack_e4m3(v[0] * factor, v[1] * factor, v[2] * factor, v[3] * factor),
          pack_e4m3(v[4] * factor, v[5] * factor, v[6] * factor, v[7] * factor)};
}

/// Where a token's vector of a KV head begins in its page.
template <class Element>
FLEETSIM_DEVICE Element* cache_vector(const Parameters<Element>& p, const Item& item,
                                      bool is_value) {
  const RopeKvWriteArguments<Element>& a = p.arguments;
  const unsigned kv_heads = static_cast<unsigned>(a.kv_heads);
  const unsigned head =
      item.head - static_cast<unsigned>(a.query_heads) - (is_value ? kv_heads : 0);
  const std::int64_t page = item.slot >> p.page_shift;
  const std::int64_t place = item.slot & (a.page_tokens - 1);
  Element* pages = is_value ? a.value_pages : a.key_pages;
  return pages + (((page * kv_heads + head) << p.page_shift) + place) * a.head_dim;
}

/// Writes one item; all lanes of a warp come here together (e4m3 lanes swap halves).
template <class Element>
FLEETSIM_DEVICE void finish(const Parameters<Element>& p, const Item& item, uint4 low, uint4 high) {
  const RopeKvWriteArguments<Element>& a = p.arguments;
  const unsigned half = static_cast<unsigned>(a.head_dim) / 2;
  const unsigned first = item.column * kItemElements;
  const bool is_query = item.head < static_cast<unsigned>(a.query_heads);
  const bool is_value = item.head >= static_cast<unsigned>(a.query_heads + a.kv_heads);
  float lower[8], upper[8];
  unpack(low, lower);
  unpack(high, upper);
  const bool written = item.slot >= 0;
  if (written && !is_value)
    rotate(a.table + static_cast<std::int64_t>(item.position) * a.head_dim, first, half, lower,
           upper);
  if (written && is_query) {
    Bf16* to = a.query + item.token * a.query_row + item.head * a.head_dim + first;
    store_16(to, pack_8_bf16(lower));
    store_16(to + half, pack_8_bf16(upper));
  }
  const bool caches = written && !is_query;
  if constexpr (sizeof(Element) == sizeof(Bf16)) {
    if (!caches) return;
    Bf16* to = cache_vector(p, item, is_value) + first;
    store_16(to, is_value ? low : pack_8_bf16(lower));
    store_16(to + half, is_value ? high : pack_8_bf16(upper));
  } else {
    const float factor = is_value ? p.inverse_value_scale : p.inverse_key_scale;
    const uint2 own_low = pack_8_e4m3(lower, factor), own_high = pack_8_e4m3(upper, factor);
    // even columns take both lanes' lower halves, odd ones the upper
    const bool odd = item.column % 2 == 1;
    const unsigned theirs_x = shuffle_xor(odd ? own_low.x : own_high.x, 1);
    const unsigned theirs_y = shuffle_xor(odd ? own_low.y : own_high.y, 1);
    if (!caches) return;
    E4m3* to = cache_vector(p, item, is_value);
    if (odd)
      store_16(to + half + first - kItemElements, {theirs_x, theirs_y, own_high.x, own_high.y});
    else
      store_16(to + first, {own_low.x, own_low.y, theirs_x, theirs_y});
  }
}

template <class Element, int kItems>
__global__ void __launch_bounds__(kThreads)
    rope_kv_write_kernel(const __grid_constant__ Parameters<Element> p) {
  wait_for_kernel_before();
  let_next_kernel_start();
  const unsigned first = blockIdx.x * (kThreads * kItems) + threadIdx.x;
  const std::int64_t row =
      static_cast<std::int64_t>(p.items_per_token) * (2 * kItemElements);  // elements of qkv
  Item items[kItems];
  uint4 low[kItems], high[kItems];
  FLEETSIM_UNROLL
  for (int i = 0; i < kItems; ++i) {
    items[i] = locate(p, first + i * kThreads);
    low[i] = high[i] = {0, 0, 0, 0};
    if (!items[i].exists) continue;  // padding is read, not written: no wait for its slot
    const Bf16* from = p.arguments.qkv + items[i].token * row +
                       items[i].head * p.arguments.head_dim + items[i].column * kItemElements;
    low[i] = load_16_once(from);
    high[i] = load_16_once(from + p.arguments.head_dim / 2);
  }
  FLEETSIM_UNROLL
  for (int i = 0; i < kItems; ++i) finish(p, items[i], low[i], high[i]);
}

template <class Element>
void launch_for(const RopeKvWriteArguments<Element>& a, Stream stream) {
  CHECK(a.tokens >= 0 && a.query_heads >= 1 && a.kv_heads >= 1);
  CHECK(a.head_dim >= 32 && a.head_dim % 32 == 0, "rotation works on pieces of 32 elements");
  CHECK(a.page_tokens >= 1 && (a.page_tokens & (a.page_tokens - 1)) == 0);
  CHECK(a.query_row % 8 == 0 &&
        a.query_row >= static_cast<std::int64_t>(a.query_heads) * a.head_dim);
  CHECK(a.key_scale > 0 && a.value_scale > 0);
  CHECK(sizeof(Element) == 1 || (a.key_scale == 1 && a.value_scale == 1), "bf16 has no scale");
  if (a.tokens == 0) return;
  Parameters<Element> p{};
  p.arguments = a;
  p.inverse_key_scale = 1.0F / a.key_scale;
  p.inverse_value_scale = 1.0F / a.value_scale;
  p.items_per_head = static_cast<unsigned>(a.head_dim) / (2 * kItemElements);
  p.items_per_token = static_cast<unsigned>(a.query_heads + 2 * a.kv_heads) * p.items_per_head;
  while (1 << p.page_shift < a.page_tokens) ++p.page_shift;
  const std::int64_t items = static_cast<std::int64_t>(a.tokens) * p.items_per_token;
  CHECK(items < (std::int64_t{1} << 31), "too many tokens for one launch");
  p.items = static_cast<unsigned>(items);
  // from two full waves of threads on, reads in flight count for more than spreading
  const unsigned wave = static_cast<unsigned>(device_facts().sms) * 2048;
  LaunchShape shape;
  shape.block = {kThreads, 1, 1};
  shape.stream = stream;
  shape.after_trigger = true;
  if (p.items >= 2 * wave) {
    shape.grid = {ceil_div(p.items, 2U * kThreads), 1, 1};
    launch(rope_kv_write_kernel<Element, 2>, shape, p);
  } else {
    shape.grid = {ceil_div(p.items, static_cast<unsigned>(kThreads)), 1, 1};
    launch(rope_kv_write_kernel<Element, 1>, shape, p);
  }
}

}  // namespace

void launch_rope_kv_write(const RopeKvWriteArguments<Bf16>& arguments, Stream stream) {
  launch_for(arguments, stream);
}
void launch_rope_kv_write(const RopeKvWriteArguments<E4m3>& arguments, Stream stream) {
  launch_for(arguments, stream);
}

}  // namespace fleetsim::kernels
