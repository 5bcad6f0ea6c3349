// Points of `prefill_attention` and `verify_attention`: shuffled page tables, pools drawn on the
// device, a sample of (token, KV head) pairs in float64.

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <set>

#include "kernels/checks/check.h"
#include "kernels/device/device_memory.h"
#include "kernels/measure/attention_sets.h"
#include "kernels/measure/operator_points.h"
#include "kernels/operators/prefill_attention.h"
#include "kernels/reference/attention.h"
#include "kernels/reference/draft_tree.h"

namespace fleetsim::kernels {
namespace {

/// Pairs that the check computes in float64 with all query heads of their group: the last token of
/// the longest context, the first token, others by chance. Each copies its head's keys to the host.
constexpr int kSampledPairs = 6;

/// Over pages of Element.
template <class Element>
struct Prefill {
  PageTable table;                 // of keys: cached and new tokens
  std::vector<int> query_starts;   // [sequences + 1]
  std::vector<AttentionRow> rows;  // a new token each
  std::vector<PrefillArguments<Element>> sets;

  std::size_t width() const {
    return static_cast<std::size_t>(sets[0].query_heads) * sets[0].head_dim;
  }
};

std::vector<int> narrowed(const std::vector<std::int64_t>& lengths) {
  return {lengths.begin(), lengths.end()};
}

/// The keys or values of one sequence and KV head, page after page: [pages][page_tokens][head_dim].
template <class Element>
std::vector<float> head_of_cache(const Prefill<Element>& prefill, const Element* cache,
                                 int sequence, int kv_head) {
  const PrefillArguments<Element>& a = prefill.sets[0];
  const std::size_t page = static_cast<std::size_t>(a.page_tokens) * a.head_dim;
  const int pages =
      ceil_div(prefill.table.lengths[static_cast<std::size_t>(sequence)], a.page_tokens);
  std::vector<Element> bits(static_cast<std::size_t>(pages) * page);
  for (int i = 0; i < pages; ++i) {
    const std::size_t number =
        static_cast<std::size_t>(prefill.table.page_of(sequence, i * a.page_tokens));
    copy_to_host(bits.data() + static_cast<std::size_t>(i) * page,
                 cache + (number * a.kv_heads + kv_head) * page, page * sizeof(Element));
  }
  std::vector<float> values(bits.size());
  std::transform(bits.begin(), bits.end(), values.begin(), [](Element v) { return to_float(v); });
  return values;
}

/// The elements of one new token that belong to the group of a KV head.
template <class Element>
std::vector<float> group_of_row(const Prefill<Element>& prefill, const Bf16* matrix,
                                std::size_t row, int kv_head) {
  const PrefillArguments<Element>& a = prefill.sets[0];
  const std::size_t count = prefill.width() / static_cast<std::size_t>(a.kv_heads);
  std::vector<Bf16> bits(count);
  copy_to_host(bits.data(), matrix + row * prefill.width() + kv_head * count, count * sizeof(Bf16));
  std::vector<float> values(count);
  std::transform(bits.begin(), bits.end(), values.begin(), [](Bf16 v) { return to_float(v); });
  return values;
}

template <class Element>
std::vector<double> reference_of(const Prefill<Element>& prefill, std::size_t row, int kv_head) {
  const PrefillArguments<Element>& a = prefill.sets[0];
  const AttentionRow& seen = prefill.rows[row];
  AttentionInputs inputs;
  inputs.shape = {a.query_heads / a.kv_heads, 1, a.head_dim, static_cast<double>(a.softmax_scale)};
  inputs.rows = {seen};
  inputs.rows[0].sequence = 0;
  inputs.queries = group_of_row(prefill, a.query, row, kv_head);
  if constexpr (sizeof(Element) == 1)  // queries are multiplied as e4m3 too
    for (float& query : inputs.queries) query = to_float(to_e4m3(query));
  inputs.keys = head_of_cache(prefill, a.key_pages, seen.sequence, kv_head);
  inputs.values = head_of_cache(prefill, a.value_pages, seen.sequence, kv_head);
  PageTable& table = inputs.table;  // the pages were put in order
  table.page_tokens = a.page_tokens;
  table.lengths = {prefill.table.lengths[static_cast<std::size_t>(seen.sequence)]};
  table.pool_pages = table.row_pages = ceil_div(table.lengths[0], a.page_tokens);
  for (int page = 0; page < table.pool_pages; ++page) table.pages.push_back(page);
  return reference_attention(inputs).out;
}

/// Runs set 0 on a poisoned output.
template <class Element>
double check_error(const Prefill<Element>& prefill, std::uint64_t seed) {
  const PrefillArguments<Element>& a = prefill.sets[0];
  const std::size_t rows = prefill.rows.size();
  device_fill(a.out, 0xFF, rows * prefill.width() * sizeof(Bf16), {});
  launch_prefill_attention(a, {});
  device_synchronize();
  if (!all_finite(a.out, rows * prefill.width())) return std::numeric_limits<double>::infinity();
  if (rows == 0) return 0;

  RandomInputs random(seed, "prefill_attention sample");
  const auto longest = std::max_element(
      prefill.rows.begin(), prefill.rows.end(),
      [](const AttentionRow& x, const AttentionRow& y) { return x.visible < y.visible; });
  std::set<std::pair<std::size_t, int>> pairs = {
      {static_cast<std::size_t>(longest - prefill.rows.begin()), 0}, {0, a.kv_heads - 1}};
  for (int i = static_cast<int>(pairs.size()); i < kSampledPairs; ++i)
    pairs.emplace(random.below(static_cast<std::uint32_t>(rows)),
                  static_cast<int>(random.below(static_cast<std::uint32_t>(a.kv_heads))));
  std::vector<float> out;
  std::vector<double> reference;
  for (const auto& [row, kv_head] : pairs) {
    const std::vector<float> own = group_of_row(prefill, a.out, row, kv_head);
    const std::vector<double> exact = reference_of(prefill, row, kv_head);
    out.insert(out.end(), own.begin(), own.end());
    reference.insert(reference.end(), exact.begin(), exact.end());
  }
  return compare(out, reference).relative_error;
}

/// The heads and pages that a point names.
template <class Element>
PrefillArguments<Element> shape_of(const Point& point) {
  PrefillArguments<Element> shape;
  shape.query_heads = static_cast<int>(point.integer("query_heads"));
  shape.kv_heads = static_cast<int>(point.integer("kv_heads"));
  shape.head_dim = static_cast<int>(point.integer("head_dim"));
  shape.page_tokens = static_cast<int>(point.integer("page_tokens"));
  shape.softmax_scale = 1.0F / std::sqrt(static_cast<float>(shape.head_dim));
  return shape;
}

PrefillVariant variant_of(const std::string& word) {
  if (word == "portable") return PrefillVariant::portable;
  if (word == "one_consumer") return PrefillVariant::one_consumer;
  if (word == "two_consumers") return PrefillVariant::two_consumers;
  return PrefillVariant::best;
}

/// `masks`: of draft trees; empty: none.
template <class Element>
PreparedPoint prepare(PrefillArguments<Element> shape, const std::vector<int>& new_lengths,
                      const std::vector<int>& cached_lengths,
                      const std::vector<std::uint64_t>& masks, Arena& arena, std::uint64_t seed) {
  shape.sequences = static_cast<int>(new_lengths.size());
  const auto prefill = std::make_shared<Prefill<Element>>();
  prefill->query_starts.push_back(0);
  std::vector<int> keys;
  std::int64_t total = 0;
  for (std::size_t i = 0; i < new_lengths.size(); ++i) {
    total += new_lengths[i];
    prefill->query_starts.push_back(static_cast<int>(total));
    keys.push_back(new_lengths[i] + cached_lengths[i]);
  }
  if (!prefill_attention_supports(shape, total))
    throw NotSupportedHere(
        "the prefill kernel takes heads of 64 or 128 elements, pages of a multiple of 16 tokens, "
        "at most 64 query heads per KV head and " +
        std::to_string(kPrefillTilesMax) +
        " tiles of 128 rows; e4m3, and stages with consumers, heads of 128 on sm_90");
  shape.total_tokens = static_cast<int>(total);

  RandomInputs random(seed, "prefill_attention pages");
  prefill->table = shuffled_page_table(keys, shape.page_tokens, random);
  prefill->rows = shape.window > 0 ? windowed_rows(new_lengths, cached_lengths, shape.window)
                  : masks.empty()  ? prefill_rows(new_lengths, cached_lengths, shape.causal)
                                   : tree_rows(new_lengths, cached_lengths, masks);
  shape.pages_per_sequence = prefill->table.row_pages;
  shape.page_table = take(prefill->table.pages, arena);
  shape.query_starts = take(prefill->query_starts, arena);
  shape.cached_lengths = take(cached_lengths, arena);
  if (!masks.empty()) shape.tree_masks = take(masks, arena);
  shape.workspace = arena.take<unsigned char>(prefill_attention_workspace_bytes(shape));
  prepare_prefill_attention_workspace(shape, {});

  const std::size_t head_dim = static_cast<std::size_t>(shape.head_dim);
  const std::size_t rows = static_cast<std::size_t>(total) * shape.query_heads * head_dim;
  const std::size_t pool = static_cast<std::size_t>(prefill->table.pool_pages) * shape.kv_heads *
                           shape.page_tokens * head_dim;
  prefill->sets = attention_sets<Element>(shape, rows, pool, arena, seed);

  PreparedPoint prepared;
  prepared.copies = static_cast<int>(prefill->sets.size());
  prepared.launch = [prefill](Stream stream, int copy) {
    launch_prefill_attention(prefill->sets[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [prefill, seed] { return check_error(*prefill, seed); };
  // probabilities of e4m3: kernels/checks/prefill_attention_check.cpp
  prepared.error_limit = sizeof(Element) == 1 ? 4e-2 : 5e-3;
  return prepared;
}

}  // namespace

PreparedPoint prepare_prefill_attention(const Point& point, Arena& arena, std::uint64_t seed) {
  const auto prepare_over = [&]<class Element>(Element) {
    PrefillArguments<Element> shape = shape_of<Element>(point);
    shape.causal = point.integer("causal") == 1;
    shape.window = static_cast<int>(point.integer("window"));
    shape.variant = variant_of(point.word("variant"));
    return prepare(shape, narrowed(point.lengths("new_lengths")),
                   narrowed(point.lengths("cached_lengths")), {}, arena, seed);
  };
  return point.word("kv_dtype") == "e4m3" ? prepare_over(E4m3{}) : prepare_over(Bf16{});
}

PreparedPoint prepare_verify_attention(const Point& point, Arena& arena, std::uint64_t seed) {
  const std::vector<int> cached_lengths = narrowed(point.lengths("lengths"));
  const int tokens = static_cast<int>(point.integer("draft_tokens"));
  std::vector<std::uint64_t> masks;
  if (point.word("draft") == "tree")  // a chain is plain causal attention
    for (std::size_t i = 0; i < cached_lengths.size(); ++i)
      for (const std::uint64_t mask : tree_masks(level_tree(tokens, 4))) masks.push_back(mask);
  return prepare(shape_of<Bf16>(point), std::vector<int>(cached_lengths.size(), tokens),
                 cached_lengths, masks, arena, seed);
}

}  // namespace fleetsim::kernels
