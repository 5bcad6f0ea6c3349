// Points of `rope_kv_write`. Up to 256 tokens go to a page each, as those of a decode batch do;
// more fill whole pages, as those of a prefill.

#include <algorithm>
#include <memory>
#include <type_traits>

#include "kernels/device/device_memory.h"
#include "kernels/measure/operator_points.h"
#include "kernels/measure/row_sample.h"
#include "kernels/operators/rope_kv_write.h"
#include "kernels/reference/gemm.h"
#include "kernels/reference/random_inputs.h"
#include "kernels/reference/rope.h"
#include "kernels/reference/rounding.h"
#include "kernels/reference/row_operators.h"

namespace fleetsim::kernels {
namespace {

constexpr int kPositions = 8192;
constexpr int kDecodeTokensMax = 256;
constexpr float kE4m3Scale = 0.01F;  // 448 codes hold 4.48 standard deviations

RotaryEmbedding embedding_of(int head_dim) {  // Llama 3.1
  RotaryEmbedding embedding;
  embedding.head_dim = head_dim;
  embedding.stretch = 8;
  return embedding;
}

template <class Element>
struct Writes {
  std::vector<RopeKvWriteArguments<Element>> sets;
  std::vector<std::int64_t> slots;  // of set 0
  std::vector<int> positions;
};

template <class Element>
Element nearest_code(double value) {
  if constexpr (std::is_same_v<Element, Bf16>)
    return nearest_bf16(value);
  else  // as the operator defines it: values of few bits times 100 lie on ties, quotients beside
        // them
    return nearest_e4m3(value * static_cast<double>(1.0F / kE4m3Scale));
}

template <class T>
std::int64_t other_codes(const T* device, const std::vector<T>& expected) {
  std::vector<T> written(expected.size());
  copy_to_host(written.data(), device, written.size() * sizeof(T));
  std::int64_t count = 0;
  for (std::size_t i = 0; i < written.size(); ++i)
    count += written[i].bits != expected[i].bits ? 1 : 0;
  return count;
}

/// Share of codes of Q, K and V of the sampled tokens that differ from float64, rounded once.
template <class Element>
double check_error(const Writes<Element>& writes, std::uint64_t seed) {
  const RopeKvWriteArguments<Element>& a = writes.sets[0];
  const auto d = static_cast<std::size_t>(a.head_dim);
  const int heads = a.query_heads + 2 * a.kv_heads;
  device_fill(
      a.query, 0xFF,
      static_cast<std::size_t>(a.tokens) * static_cast<std::size_t>(a.query_row) * sizeof(Bf16),
      {});
  launch_rope_kv_write(a, {});
  device_synchronize();
  const std::vector<double> frequencies = inverse_frequencies(embedding_of(a.head_dim));
  const std::vector<int> tokens = sampled_indices(a.tokens, kSampledTokens, seed);
  const std::vector<Bf16> rows = rows_of(a.qkv, heads * a.head_dim, tokens);
  std::int64_t other = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto token = static_cast<std::size_t>(tokens[i]);
    const std::int64_t page = writes.slots[token] / a.page_tokens;
    const std::int64_t place = writes.slots[token] % a.page_tokens;
    for (int head = 0; head < heads; ++head) {
      const bool is_query = head < a.query_heads, is_value = head >= a.query_heads + a.kv_heads;
      std::vector<double> values(d);
      for (std::size_t k = 0; k < d; ++k)
        values[k] = static_cast<double>(to_float(
            rows[(i * static_cast<std::size_t>(heads) + static_cast<std::size_t>(head)) * d + k]));
      if (!is_value) values = rotated(values, writes.positions[token], frequencies);
      if (is_query) {
        std::vector<Bf16> expected(d);
        for (std::size_t k = 0; k < d; ++k) expected[k] = nearest_bf16(values[k]);
        other += other_codes(a.query + static_cast<std::int64_t>(token) * a.query_row +
                                 static_cast<std::int64_t>(head) * a.head_dim,
                             expected);
        continue;
      }
      std::vector<Element> expected(d);
      for (std::size_t k = 0; k < d; ++k) expected[k] = nearest_code<Element>(values[k]);
      const int kv_head = head - a.query_heads - (is_value ? a.kv_heads : 0);
      other += other_codes((is_value ? a.value_pages : a.key_pages) +
                               ((page * a.kv_heads + kv_head) * a.page_tokens + place) * a.head_dim,
                           expected);
    }
  }
  return static_cast<double>(other) /
         static_cast<double>(tokens.size() * static_cast<std::size_t>(heads) * d);
}

template <class Element>
PreparedPoint prepare(const Point& point, Arena& arena, std::uint64_t seed) {
  RopeKvWriteArguments<Element> a;
  a.tokens = static_cast<int>(point.integer("tokens"));
  a.query_heads = static_cast<int>(point.integer("query_heads"));
  a.kv_heads = static_cast<int>(point.integer("kv_heads"));
  a.head_dim = static_cast<int>(point.integer("head_dim"));
  a.page_tokens = static_cast<int>(point.integer("page_tokens"));
  if (a.head_dim % 32 != 0 || (a.page_tokens & (a.page_tokens - 1)) != 0)
    throw NotSupportedHere(
        "the rotary kernel takes head sizes that are multiples of 32 and pages of a power of two");
  a.query_row = static_cast<std::int64_t>(a.query_heads) * a.head_dim;
  if (std::is_same_v<Element, E4m3>) a.key_scale = a.value_scale = kE4m3Scale;

  const auto tokens = static_cast<std::size_t>(a.tokens);
  const auto qkv_row = static_cast<std::size_t>((a.query_heads + 2 * a.kv_heads) * a.head_dim);
  const std::size_t cache_row =
      static_cast<std::size_t>(a.kv_heads * a.head_dim) * sizeof(Element) * 2;
  const int copies = rotation_copies(
      tokens * ((qkv_row + static_cast<std::size_t>(a.query_row)) * sizeof(Bf16) + cache_row));
  const bool decode = a.tokens <= kDecodeTokensMax;
  const int pages_per_copy = decode ? a.tokens : ceil_div(a.tokens, a.page_tokens);
  const int pages = pages_per_copy * copies;
  const std::size_t cache = static_cast<std::size_t>(pages) *
                            static_cast<std::size_t>(a.page_tokens) *
                            static_cast<std::size_t>(a.kv_heads * a.head_dim);
  a.key_pages = arena.take<Element>(cache);
  a.value_pages = arena.take<Element>(cache);
  const std::vector<float> table = rotary_table(embedding_of(a.head_dim), kPositions);
  float* device_table = arena.take<float>(table.size());
  copy_to_device(device_table, table.data(), table.size() * sizeof(float));
  a.table = device_table;

  RandomInputs random(seed, "rope_kv_write point");
  const std::vector<int> order = random.shuffled(pages);
  const auto writes = std::make_shared<Writes<Element>>();
  for (int copy = 0; copy < copies; ++copy) {
    std::vector<std::int64_t> slots(tokens);
    std::vector<int> positions(tokens);
    for (int token = 0; token < a.tokens; ++token) {
      const int page = order[static_cast<std::size_t>(copy * pages_per_copy +
                                                      (decode ? token : token / a.page_tokens))];
      const int place =
          decode ? static_cast<int>(random.below(static_cast<std::uint32_t>(a.page_tokens)))
                 : token % a.page_tokens;
      slots[static_cast<std::size_t>(token)] = std::int64_t{page} * a.page_tokens + place;
      positions[static_cast<std::size_t>(token)] =
          decode ? static_cast<int>(random.below(kPositions)) : token % kPositions;
    }
    Bf16* qkv = arena.take<Bf16>(tokens * qkv_row);
    fill_normal(qkv, tokens * qkv_row, 1.0F, seed + static_cast<std::uint64_t>(copy), {});
    std::int64_t* device_slots = arena.take<std::int64_t>(tokens);
    int* device_positions = arena.take<int>(tokens);
    copy_to_device(device_slots, slots.data(), tokens * sizeof(std::int64_t));
    copy_to_device(device_positions, positions.data(), tokens * sizeof(int));
    a.qkv = qkv;
    a.query = arena.take<Bf16>(tokens * static_cast<std::size_t>(a.query_row));
    a.slots = device_slots;
    a.positions = device_positions;
    writes->sets.push_back(a);
    if (copy == 0) writes->slots = slots, writes->positions = positions;
  }
  device_synchronize();

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [writes](Stream stream, int copy) {
    launch_rope_kv_write(writes->sets[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [writes, seed] { return check_error(*writes, seed); };
  // one code in ten thousand, and one that falls the other way in a small sample
  prepared.error_limit =
      1e-4 + 1.0 / static_cast<double>(std::min<std::size_t>(tokens, kSampledTokens) * qkv_row);
  return prepared;
}

}  // namespace

PreparedPoint prepare_rope_kv_write(const Point& point, Arena& arena, std::uint64_t seed) {
  return point.word("kv_dtype") == "bf16" ? prepare<Bf16>(point, arena, seed)
                                          : prepare<E4m3>(point, arena, seed);
}

}  // namespace fleetsim::kernels
