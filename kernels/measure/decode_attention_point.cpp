// Points of `decode_attention`: shuffled page tables, pools drawn on the device, a sample of
// (sequence, KV head) pairs in float64.

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <set>

#include "kernels/checks/check.h"
#include "kernels/device/device_memory.h"
#include "kernels/measure/attention_sets.h"
#include "kernels/measure/operator_points.h"
#include "kernels/operators/decode_attention.h"
#include "kernels/reference/attention.h"

namespace fleetsim::kernels {
namespace {

/// Pairs that the check computes in float64 with all query heads of their group: the longest
/// sequence, the first, another by chance. Each copies its head's keys and values to the host.
constexpr int kSampledPairs = 3;

template <class Element>
struct Decode {
  PageTable table;
  std::vector<DecodeAttentionArguments<Element>> sets;

  std::size_t group_elements() const {
    return static_cast<std::size_t>(sets[0].query_heads / sets[0].kv_heads) * sets[0].head_dim;
  }
};

template <class Format>
std::vector<float> floats_at(const Format* device, std::size_t count) {
  std::vector<Format> bits(count);
  copy_to_host(bits.data(), device, count * sizeof(Format));
  std::vector<float> values(count);
  std::transform(bits.begin(), bits.end(), values.begin(), [](Format v) { return to_float(v); });
  return values;
}

/// Keys or values of one sequence and KV head, page after page: [pages][page_tokens][head_dim].
template <class Element>
std::vector<float> head_of_cache(const Decode<Element>& decode, const Element* cache, float scale,
                                 int sequence, int kv_head) {
  const auto& a = decode.sets[0];
  const std::size_t page = static_cast<std::size_t>(a.page_tokens) * a.head_dim;
  std::vector<float> values;
  const int length = decode.table.lengths[static_cast<std::size_t>(sequence)];
  for (int token = 0; token < length; token += a.page_tokens) {
    const std::size_t number = static_cast<std::size_t>(decode.table.page_of(sequence, token));
    for (const float value : floats_at(cache + (number * a.kv_heads + kv_head) * page, page))
      values.push_back(value * scale);
  }
  return values;
}

template <class Element>
std::vector<double> reference_of(const Decode<Element>& decode, int sequence, int kv_head,
                                 std::size_t group_offset) {
  const auto& a = decode.sets[0];
  const int length = decode.table.lengths[static_cast<std::size_t>(sequence)];
  AttentionInputs inputs;
  inputs.shape = {a.query_heads / a.kv_heads, 1, a.head_dim, static_cast<double>(a.softmax_scale)};
  inputs.rows = {{0, length}};
  inputs.queries = floats_at(a.query + group_offset, decode.group_elements());
  inputs.keys = head_of_cache(decode, a.key_pages, a.key_scale, sequence, kv_head);
  inputs.values = head_of_cache(decode, a.value_pages, a.value_scale, sequence, kv_head);
  PageTable& table = inputs.table;  // the pages were put in order
  table.page_tokens = a.page_tokens;
  table.lengths = {length};
  table.pool_pages = table.row_pages = ceil_div(length, a.page_tokens);
  for (int page = 0; page < table.pool_pages; ++page) table.pages.push_back(page);
  return reference_attention(inputs).out;
}

/// Runs set 0 on a poisoned output.
template <class Element>
double check_error(const Decode<Element>& decode, std::uint64_t seed) {
  const auto& a = decode.sets[0];
  const std::size_t elements =
      static_cast<std::size_t>(a.sequences) * a.query_heads * static_cast<std::size_t>(a.head_dim);
  device_fill(a.out, 0xFF, elements * sizeof(Bf16), {});
  launch_decode_attention(a, {});
  device_synchronize();
  for (const float value : floats_at(a.out, elements))
    if (!std::isfinite(value)) return std::numeric_limits<double>::infinity();

  RandomInputs random(seed, "decode_attention sample");
  const std::vector<int>& lengths = decode.table.lengths;
  const auto longest = std::max_element(lengths.begin(), lengths.end());
  std::set<std::pair<int, int>> pairs = {{static_cast<int>(longest - lengths.begin()), 0},
                                         {0, a.kv_heads - 1}};
  for (int i = static_cast<int>(pairs.size()); i < kSampledPairs; ++i)
    pairs.emplace(static_cast<int>(random.below(static_cast<std::uint32_t>(a.sequences))),
                  static_cast<int>(random.below(static_cast<std::uint32_t>(a.kv_heads))));
  std::vector<float> out;
  std::vector<double> reference;
  for (const auto& [sequence, kv_head] : pairs) {
    const std::size_t offset =
        (static_cast<std::size_t>(sequence) * a.kv_heads + kv_head) * decode.group_elements();
    const std::vector<float> own = floats_at(a.out + offset, decode.group_elements());
    const std::vector<double> exact = reference_of(decode, sequence, kv_head, offset);
    out.insert(out.end(), own.begin(), own.end());
    reference.insert(reference.end(), exact.begin(), exact.end());
  }
  return compare(out, reference).relative_error;
}

/// Codes are drawn with variance 1 and scales are 1, as engines run e4m3 caches by default.
template <class Element>
PreparedPoint prepare(const Point& point, Arena& arena, std::uint64_t seed) {
  DecodeAttentionArguments<Element> shape;
  shape.query_heads = static_cast<int>(point.integer("query_heads"));
  shape.kv_heads = static_cast<int>(point.integer("kv_heads"));
  shape.head_dim = static_cast<int>(point.integer("head_dim"));
  shape.page_tokens = static_cast<int>(point.integer("page_tokens"));
  shape.softmax_scale = 1.0F / std::sqrt(static_cast<float>(shape.head_dim));
  const std::vector<std::int64_t> given = point.lengths("lengths");
  const std::vector<int> lengths(given.begin(), given.end());
  shape.sequences = static_cast<int>(lengths.size());

  const auto decode = std::make_shared<Decode<Element>>();
  RandomInputs random(seed, "decode_attention pages");
  decode->table = shuffled_page_table(lengths, shape.page_tokens, random);
  shape.pages_per_sequence = decode->table.row_pages;
  if (!decode_attention_supports(shape))
    throw NotSupportedHere(
        "the decode kernel takes heads of 64 or 128 elements, pages of a power of two of at least "
        "16 tokens, at most 16 query heads per KV head, and batches whose tiles 32 bits can count");
  shape.page_table = take(decode->table.pages, arena);
  shape.lengths = take(lengths, arena);
  // launches of a stream follow each other: one workspace for all sets
  shape.workspace = arena.take<std::uint8_t>(decode_attention_workspace_bytes(shape));
  prepare_decode_attention_workspace(shape, {});

  const std::size_t head_dim = static_cast<std::size_t>(shape.head_dim);
  const std::size_t rows = lengths.size() * static_cast<std::size_t>(shape.query_heads) * head_dim;
  const std::size_t pool = static_cast<std::size_t>(decode->table.pool_pages) * shape.kv_heads *
                           shape.page_tokens * head_dim;
  decode->sets = attention_sets<Element>(shape, rows, pool, arena, seed);

  PreparedPoint prepared;
  prepared.copies = static_cast<int>(decode->sets.size());
  prepared.launch = [decode](Stream stream, int copy) {
    launch_decode_attention(decode->sets[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [decode, seed] { return check_error(*decode, seed); };
  prepared.error_limit = sizeof(Element) == 2 ? 5e-3 : 1e-2;
  return prepared;
}

}  // namespace

PreparedPoint prepare_decode_attention(const Point& point, Arena& arena, std::uint64_t seed) {
  return point.word("kv_dtype") == "bf16" ? prepare<Bf16>(point, arena, seed)
                                          : prepare<E4m3>(point, arena, seed);
}

}  // namespace fleetsim::kernels
