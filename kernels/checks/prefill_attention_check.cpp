// Prefill attention against float64 on shuffled page tables, where all that must not be read is
// NaN: tokens behind a sequence's end, pages that nobody owns; and page numbers behind a row's end,
// or before every window, point nowhere.

#include "kernels/checks/prefill_attention_check.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "hw_models/check.h"
#include "kernels/checks/attention_result.h"
#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/operators/plain_attention.h"
#include "kernels/operators/prefill_attention.h"
#include "kernels/reference/attention.h"
#include "kernels/reference/draft_tree.h"

namespace fleetsim::kernels {
namespace {

constexpr Bf16 kNan{0x7fc0};
// Of e4m3. That of queries is a power of two, so that bf16 holds what is multiplied.
constexpr float kQueryScale = 0.0625F, kKeyScale = 0.375F, kValueScale = 0.75F;
constexpr int kUnusedRows = 2;  // rows of query and out behind the last sequence

std::string name_of(const PrefillCase& c, std::uint64_t seed) {
  const char* const drafts[] = {"", ", draft chains", ", draft stars", ", draft trees"};
  return std::to_string(c.query_heads) + "/" + std::to_string(c.kv_heads) + " heads of " +
         std::to_string(c.head_dim) + ", pages of " + std::to_string(c.page_tokens) +
         (c.e4m3 ? " of e4m3" : "") + (c.causal ? ", causal" : ", all keys") +
         (c.window > 0 ? ", window " + std::to_string(c.window) : "") +
         drafts[static_cast<int>(c.drafts)] + ", new " + list_of(c.new_lengths) + " cached " +
         list_of(c.cached_lengths) + " seed " + std::to_string(seed);
}

/// Codes of e4m3 for values / scale, as bf16.
std::vector<Bf16> codes_of(std::vector<Bf16> values, float scale) {
  for (Bf16& value : values) value = to_bf16(to_float(to_e4m3(to_float(value) / scale)));
  return values;
}

std::vector<float> scaled(std::vector<float> values, float scale) {
  for (float& value : values) value *= scale;
  return values;
}

template <class Element>
std::vector<Element> elements_of(const std::vector<Bf16>& values) {
  if constexpr (sizeof(Element) == 2) {
    return values;
  } else {
    std::vector<Element> codes(values.size());
    std::transform(values.begin(), values.end(), codes.begin(),
                   [](Bf16 v) { return to_e4m3(to_float(v)); });
    return codes;
  }
}

PageTable page_table_of(const PrefillCase& c, RandomInputs& random) {
  CHECK(c.new_lengths.size() == c.cached_lengths.size());
  std::vector<int> keys(c.new_lengths.size());
  for (std::size_t i = 0; i < keys.size(); ++i)  // no new tokens: nothing of the sequence is read
    keys[i] = c.new_lengths[i] == 0 ? 0 : c.new_lengths[i] + c.cached_lengths[i];
  PageTable table = shuffled_page_table(keys, c.page_tokens, random);
  if (c.shared_pages > 0) share_first_pages(table, 0, 1, c.shared_pages);
  return table;
}

/// Keys or values: normal where a sequence holds a token, NaN elsewhere.
std::vector<Bf16> cache_of(const PrefillCase& c, const PageTable& table, RandomInputs& random) {
  const std::size_t row = static_cast<std::size_t>(c.head_dim);
  std::vector<Bf16> cache = random.normals_bf16(static_cast<std::size_t>(table.pool_pages) *
                                                c.kv_heads * c.page_tokens * row);
  for (int page = 0; page < table.pool_pages; ++page)
    for (int head = 0; head < c.kv_heads; ++head) {
      const auto tokens = cache.begin() + static_cast<std::ptrdiff_t>(
                                              (static_cast<std::size_t>(page) * c.kv_heads + head) *
                                              c.page_tokens * row);
      std::fill(tokens + table.valid_tokens[static_cast<std::size_t>(page)] * c.head_dim,
                tokens + c.page_tokens * c.head_dim, kNan);
    }
  return cache;
}

/// What new tokens see of their trees, sequence after sequence; sequences that are none get masks
/// that would hide everything.
std::vector<std::uint64_t> masks_of(const PrefillCase& c, RandomInputs& random) {
  std::vector<std::uint64_t> masks;
  if (c.drafts == DraftShape::none) return masks;
  for (const int tokens : c.new_lengths) {
    if (tokens > kTreeTokensMax || tokens == 0) {
      masks.insert(masks.end(), static_cast<std::size_t>(tokens), 0);
      continue;
    }
    const DraftTree tree = c.drafts == DraftShape::chains  ? chain_tree(tokens)
                           : c.drafts == DraftShape::stars ? star_tree(tokens)
                                                           : random_tree(tokens, random);
    for (const std::uint64_t mask : tree_masks(tree)) masks.push_back(mask);
  }
  return masks;
}

std::vector<AttentionRow> rows_of_case(const PrefillCase& c,
                                       const std::vector<std::uint64_t>& masks) {
  if (c.window > 0) return windowed_rows(c.new_lengths, c.cached_lengths, c.window);
  if (!masks.empty()) return tree_rows(c.new_lengths, c.cached_lengths, masks);
  return prefill_rows(c.new_lengths, c.cached_lengths, c.causal);
}

/// Whether plain causal attention says the same.
bool is_plainly_causal(const PrefillCase& c) {
  if (c.drafts != DraftShape::none) return c.drafts == DraftShape::chains;
  if (c.window == 0) return false;
  for (std::size_t i = 0; i < c.new_lengths.size(); ++i)
    if (c.new_lengths[i] + c.cached_lengths[i] > c.window) return false;
  return true;
}

/// Takes pages that no window reaches from the table.
void forget_pages_before_windows(const PrefillCase& c, PrefillOperands& operands, int row_pages) {
  if (c.window == 0) return;
  for (std::size_t i = 0; i < c.new_lengths.size(); ++i) {
    const int first = std::max(0, c.cached_lengths[i] + 1 - c.window);
    for (int page = 0; page < first / c.page_tokens; ++page)
      operands
          .page_table[i * static_cast<std::size_t>(row_pages) + static_cast<std::size_t>(page)] =
          kNoPage;
  }
}

/// Numbers of the new tokens that are compared: all, or the first and last of each sequence and
/// others by chance.
std::vector<std::size_t> compared_rows(const PrefillCase& c, const std::vector<int>& starts,
                                       RandomInputs& random) {
  const auto total = static_cast<std::size_t>(starts.back());
  std::vector<std::size_t> rows(total);
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  if (c.sampled_rows == 0) return rows;
  rows.clear();
  for (std::size_t i = 0; i + 1 < starts.size(); ++i)
    if (starts[i] < starts[i + 1]) {
      rows.push_back(static_cast<std::size_t>(starts[i]));
      rows.push_back(static_cast<std::size_t>(starts[i + 1]) - 1);
    }
  while (rows.size() < static_cast<std::size_t>(c.sampled_rows))
    rows.push_back(random.below(static_cast<std::uint32_t>(total)));
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  return rows;
}

/// The rows `rows` of a matrix with rows of `width` elements.
template <class T>
std::vector<T> rows_of(const std::vector<T>& matrix, const std::vector<std::size_t>& rows,
                       std::size_t width) {
  std::vector<T> picked;
  for (const std::size_t row : rows)
    picked.insert(picked.end(), matrix.begin() + static_cast<std::ptrdiff_t>(row * width),
                  matrix.begin() + static_cast<std::ptrdiff_t>((row + 1) * width));
  return picked;
}

/// Runs the kernel on poisoned outputs; says what is wrong with the memory around and behind them.
template <class Element>
AttentionResult run_elements(const PrefillCase& c, const PrefillOperands& operands, int row_pages,
                             void* workspace, std::string& problem) {
  const std::size_t heads = static_cast<std::size_t>(c.query_heads);
  const std::size_t rows = operands.query.size() / (heads * static_cast<std::size_t>(c.head_dim));
  const DeviceBuffer<Bf16> query(operands.query);
  const DeviceBuffer<Element> keys(elements_of<Element>(operands.keys)),
      values(elements_of<Element>(operands.values));
  const DeviceBuffer<int> table(operands.page_table), starts(operands.query_starts),
      cached(operands.cached_lengths);
  const DeviceBuffer<std::uint64_t> masks(operands.tree_masks);
  const DeviceBuffer<Bf16> out(operands.query.size());
  const DeviceBuffer<float> log_sum_exp(rows * heads);
  PrefillArguments<Element> arguments;
  arguments.query = query.data();
  arguments.key_pages = keys.data();
  arguments.value_pages = values.data();
  arguments.page_table = table.data();
  arguments.query_starts = starts.data();
  arguments.cached_lengths = cached.data();
  arguments.out = out.data();
  arguments.log_sum_exp = log_sum_exp.data();
  arguments.sequences = static_cast<int>(c.new_lengths.size());
  arguments.total_tokens = static_cast<int>(rows);
  arguments.query_heads = c.query_heads;
  arguments.kv_heads = c.kv_heads;
  arguments.head_dim = c.head_dim;
  arguments.page_tokens = c.page_tokens;
  arguments.pages_per_sequence = row_pages;
  arguments.softmax_scale = 1.0F / std::sqrt(static_cast<float>(c.head_dim));
  if (c.e4m3) {
    arguments.query_scale = kQueryScale;
    arguments.key_scale = kKeyScale;
    arguments.value_scale = kValueScale;
  }
  arguments.causal = c.causal;
  arguments.window = c.window;
  if (!operands.tree_masks.empty()) arguments.tree_masks = masks.data();
  arguments.variant = c.variant;
  arguments.workspace = workspace;
  launch_prefill_attention(arguments, {});
  device_synchronize();
  AttentionResult result{out.values(), log_sum_exp.values()};

  const std::size_t used = static_cast<std::size_t>(operands.query_starts.back()) * heads;
  for (std::size_t i = used * static_cast<std::size_t>(c.head_dim); i < result.out.size(); ++i)
    if (result.out[i].bits != 0xffff) problem = "wrote rows that belong to no sequence";
  for (std::size_t i = used; i < result.log_sum_exp.size(); ++i)
    if (bits_of(result.log_sum_exp[i]) != 0xffffffffU)
      problem = "wrote log-sum-exps that belong to no sequence";
  for (std::size_t i = 0; i < used * static_cast<std::size_t>(c.head_dim); ++i)
    if (!std::isfinite(to_float(result.out[i]))) problem = "left elements that are not finite";
  if (!out.guards_intact() || !log_sum_exp.guards_intact()) problem = "wrote outside its output";
  return result;
}

AttentionResult run_on_device(const PrefillCase& c, const PrefillOperands& operands, int row_pages,
                              void* workspace, std::string& problem) {
  return c.e4m3 ? run_elements<E4m3>(c, operands, row_pages, workspace, problem)
                : run_elements<Bf16>(c, operands, row_pages, workspace, problem);
}

/// What the plain kernel makes of all new tokens.
AttentionOutputs run_plain_kernel(const PrefillCase& c, const PrefillOperands& operands,
                                  int row_pages) {
  std::vector<int> sequence_of_row, visible, first, tree_begin;
  std::vector<std::uint64_t> tree_masks;
  for (const AttentionRow& row : rows_of_case(c, operands.tree_masks)) {
    sequence_of_row.push_back(row.sequence);
    visible.push_back(row.visible);
    first.push_back(row.first);
    tree_begin.push_back(row.tree_begin);
    tree_masks.push_back(row.tree_mask);
  }
  const std::size_t heads = static_cast<std::size_t>(c.query_heads);
  const DeviceBuffer<Bf16> query(operands.query), keys(operands.keys), values(operands.values);
  const DeviceBuffer<int> table(operands.page_table), sequences(sequence_of_row), sees(visible),
      begins(first), trees(tree_begin);
  const DeviceBuffer<std::uint64_t> masks(tree_masks);
  const DeviceBuffer<float> out(visible.size() * heads * static_cast<std::size_t>(c.head_dim));
  const DeviceBuffer<float> log_sum_exp(visible.size() * heads);
  PlainAttentionArguments<Bf16> arguments;
  arguments.query = query.data();
  arguments.key_pages = keys.data();
  arguments.value_pages = values.data();
  arguments.page_table = table.data();
  arguments.sequence_of_row = sequences.data();
  arguments.visible = sees.data();
  arguments.first = begins.data();
  arguments.tree_begin = trees.data();
  arguments.tree_masks = masks.data();
  arguments.out = out.data();
  arguments.log_sum_exp = log_sum_exp.data();
  arguments.rows = static_cast<int>(visible.size());
  arguments.query_heads = c.query_heads;
  arguments.kv_heads = c.kv_heads;
  arguments.head_dim = c.head_dim;
  arguments.page_tokens = c.page_tokens;
  arguments.pages_per_sequence = row_pages;
  arguments.softmax_scale = 1.0F / std::sqrt(static_cast<float>(c.head_dim));
  if (c.e4m3) {
    arguments.key_scale = kKeyScale;
    arguments.value_scale = kValueScale;
  }
  launch_plain_attention(arguments, {});
  device_synchronize();
  const std::vector<float> outs = out.values(), sums = log_sum_exp.values();
  return {{outs.begin(), outs.end()}, {sums.begin(), sums.end()}};
}

/// Shapes that kernels for e4m3 are asked for: where there are any.
std::vector<PrefillCase> e4m3_cases(Scale scale) {
  std::vector<PrefillCase> cases = {
      {8, 2, 128, 16, {31, 0, 1, 33}, {5, 40, 70, 0}},
      {1, 1, 128, 64, {129, 1}, {63, 128}},
      {4, 1, 128, 128, {40, 1}, {1000, 90}},
      {4, 1, 128, 16, {20}, {130}, false, 0, 0, 12},
      {5, 1, 128, 48, {60, 2}, {17, 222}, true, 0, 0, 1, 50},
      {4, 1, 128, 16, {16, 1, 70}, {50, 20, 3}, true, 0, 0, 1, 0, DraftShape::random},
  };
  if (scale == Scale::device) {
    const std::vector<PrefillCase> big = {
        {32, 8, 128, 16, {2048}, {0}, true, 0, 48},
        {32, 8, 128, 64, {1000, 1, 0, 3000, 17}, {1000, 8191, 5, 0, 30001}, true, 0, 16},
        {64, 8, 128, 16, {512, 1}, {8192, 4096}, true, 0, 12, 1, 4096},
    };
    cases.insert(cases.end(), big.begin(), big.end());
  }
  for (PrefillCase& c : cases) c.e4m3 = true;
  return cases;
}

std::vector<PrefillCase> cases_at(Scale scale) {
  std::vector<PrefillCase> cases = {
      // a tile of 128 rows is 32 tokens of 4 heads: one below, one above, one alone, none; contexts
      // that are no multiples of anything
      {8, 2, 128, 16, {31, 0, 1, 33}, {5, 40, 70, 0}},
      {4, 1, 128, 64, {32, 1, 0}, {63, 64, 129}},
      {4, 1, 64, 16, {65}, {1}, false},
      // no group: tile and key tile, one less, one more; two sequences share their prefix
      {1, 1, 64, 64, {127, 128}, {65, 64}, true, 1},
      {2, 2, 128, 16, {129}, {15}, true},
      {1, 1, 128, 16, {5, 3}, {50, 80}, true, 3},
      {1, 1, 64, 64, {63, 0, 64}, {0, 0, 0}, false},
      // groups that are no powers of two, whose tokens cross tiles; groups of 8 and 16
      {5, 1, 64, 16, {60}, {17}},
      {14, 2, 64, 64, {0, 37, 0}, {9, 100, 0}},
      {8, 1, 128, 16, {1, 17}, {191, 3}},
      {16, 1, 64, 64, {8, 9}, {55, 56}, false},
      // a page size that is no power of two
      {4, 1, 64, 48, {50}, {47}},
      // nearly all weight on one key: sums that hang on the rescaling
      {4, 1, 64, 16, {40}, {60}, true, 0, 0, 12},
      // more sequences than lanes of a warp, most of one token
      {2,
       1,
       64,
       16,
       {1, 0, 2, 1, 1, 0, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1,
        1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 70},
       {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17,
        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 90, 35}},
      // a sample in float64, all rows against the plain kernel, as big shapes are checked
      {2, 1, 64, 16, {9, 0, 6}, {5, 2, 20}, true, 0, 6},
      // key tiles of 128: one key less, full, one more; pages as large as a tile, and larger
      {1, 1, 64, 16, {1, 1, 1, 1}, {126, 127, 128, 255}},
      {2, 1, 128, 128, {70}, {250}},
      {1, 1, 64, 256, {129}, {260}},
      {1, 1, 64, 32, {1}, {0}},
      // tiles of 42 tokens of 3 heads, with rows to spare
      {3, 1, 64, 16, {43, 42, 84}, {85, 86, 0}},
      // contexts that several blocks share, of few rows and of many; the same without a workspace
      {4, 1, 64, 64, {1, 40, 3}, {1990, 600, 0}},
      {2, 2, 128, 16, {100, 1}, {1100, 127}},
      {8, 2, 64, 16, {50, 1}, {300, 900}, true, 0, 0, 1, 0, DraftShape::none, false},
      {2, 1, 64, 16, {30, 1}, {1500, 1800}, true, 0, 0, 1, 1100},
      // nothing to do
      {4, 1, 64, 16, {0, 0}, {3, 0}},
      // windows: of the own token alone; as long as a key tile, one less and one more, over pages
      // that are gone; rows of a tile and of a warp whose windows begin tiles apart; within a chunk
      {4, 1, 64, 16, {37, 1, 0, 5}, {100, 200, 70, 0}, true, 0, 0, 1, 1},
      {4, 1, 128, 16, {33, 1}, {131, 300}, true, 0, 0, 1, 64},
      {8, 2, 64, 32, {20, 3}, {129, 64}, true, 0, 0, 1, 63},
      {1, 1, 64, 64, {150}, {70}, true, 0, 0, 1, 65},
      {1, 1, 128, 16, {140}, {0}, true, 0, 0, 1, 3},
      {5, 1, 64, 48, {60, 2}, {17, 222}, true, 0, 0, 1, 50},
      {4, 1, 64, 16, {40}, {60}, true, 0, 0, 12, 30},
      // longer than every context; the shortest such, and the longest that there can be
      {4, 1, 128, 16, {31, 1}, {69, 12}, true, 0, 0, 1, 100},
      {2, 1, 64, 64, {9, 70}, {120, 0}, true, 0, 0, 1, 0x7fffffff},
      {4, 1, 64, 16, {70, 0, 3}, {300, 8, 190}, true, 0, 5, 1, 100},
      // draft trees: chains, wide, by chance; alone, with the last bit of a mask, over key tiles;
      // without context; beside plain decodes, and a chunk that is no tree
      {4, 1, 128, 16, {5, 1, 64, 0, 2}, {60, 127, 1, 4, 0}, true, 0, 0, 1, 0, DraftShape::chains},
      {4, 1, 64, 16, {64, 8, 1}, {0, 63, 64}, true, 0, 0, 1, 0, DraftShape::stars},
      {8, 1, 128, 64, {64, 33}, {40, 100}, true, 0, 0, 1, 0, DraftShape::random},
      {5, 1, 64, 16, {64, 63}, {1, 0}, true, 0, 0, 1, 0, DraftShape::random},
      {1, 1, 64, 16, {64, 1, 1}, {65, 5, 0}, true, 0, 0, 1, 0, DraftShape::random},
      {4, 2, 64, 16, {1, 65, 1, 7}, {90, 30, 0, 200}, true, 0, 0, 1, 0, DraftShape::random},
      {4, 1, 64, 16, {16, 90}, {50, 20}, true, 0, 0, 12, 0, DraftShape::random},
      {2, 1, 64, 16, {12, 80, 1}, {30, 9, 44}, true, 0, 6, 1, 0, DraftShape::random},
  };
  if (scale == Scale::device) {
    const std::vector<PrefillCase> big = {
        {32, 8, 128, 16, {2048}, {0}, true, 0, 48},
        {32, 8, 128, 64, {1000, 1, 0, 3000, 17}, {1000, 8191, 5, 0, 30001}, true, 0, 16},
        {32, 8, 128, 16, {777}, {4095}, false, 0, 24},
        {64, 8, 128, 16, {512, 512}, {8192, 4096}, true, 128, 12},
        {64, 8, 64, 64, {4097}, {63}, true, 0, 24},
        {16, 16, 64, 16, {1500, 700}, {0, 100}, true, 0, 24},
        {8, 1, 128, 64, {16384}, {0}, true, 0, 32},
        {32, 8, 128, 16, {4096, 1}, {0, 9000}, true, 0, 32, 1, 1000},
        {32, 8, 128, 64, {512, 1, 1, 300}, {8192, 4097, 20, 3000}, true, 0, 24, 1, 4096},
        {64, 8, 64, 16, {3000}, {5000}, true, 0, 24, 1, 128},
        {32,
         8,
         128,
         16,
         {16, 64, 1, 4},
         {8192, 30000, 513, 0},
         true,
         0,
         24,
         1,
         0,
         DraftShape::random},
        {64,
         8,
         128,
         16,
         {8, 512, 8, 1},
         {2048, 8192, 4000, 700},
         true,
         0,
         24,
         1,
         0,
         DraftShape::random},
        {32, 8, 64, 64, {64, 5}, {4096, 900}, true, 0, 24, 1, 0, DraftShape::chains},
    };
    cases.insert(cases.end(), big.begin(), big.end());
    PrefillCase many{8, 2, 128, 16, {}, {}, true, 0, 400};  // a batch of many short chunks
    RandomInputs random(1, "prefill_attention many");
    for (int i = 0; i < 150; ++i) {
      many.new_lengths.push_back(static_cast<int>(random.below(40)));
      many.cached_lengths.push_back(static_cast<int>(random.below(600)));
    }
    cases.push_back(many);
  }
  return cases;
}

}  // namespace

std::vector<CheckReport> check_prefill_case(const PrefillCase& c, std::uint64_t seed,
                                            void (*spoil)(PrefillOperands&)) {
  const std::string what = name_of(c, seed);
  RandomInputs random(seed, "prefill_attention " + what);
  AttentionInputs inputs;
  inputs.shape = {c.query_heads, c.kv_heads, c.head_dim,
                  // as the kernel gets it
                  static_cast<double>(1.0F / std::sqrt(static_cast<float>(c.head_dim)))};
  inputs.table = page_table_of(c, random);

  PrefillOperands operands;
  operands.query_starts.push_back(0);
  for (const int tokens : c.new_lengths)
    operands.query_starts.push_back(operands.query_starts.back() + tokens);
  const auto total = static_cast<std::size_t>(operands.query_starts.back());
  const std::size_t heads = static_cast<std::size_t>(c.query_heads);
  const std::size_t width = heads * static_cast<std::size_t>(c.head_dim);
  operands.query = random.normals_bf16(total * width, c.query_scale);
  operands.query.resize((total + kUnusedRows) * width, kNan);
  operands.keys = cache_of(c, inputs.table, random);
  operands.values = cache_of(c, inputs.table, random);
  operands.page_table = inputs.table.pages;
  operands.cached_lengths = c.cached_lengths;
  operands.tree_masks = masks_of(c, random);

  const std::vector<std::size_t> rows = compared_rows(c, operands.query_starts, random);
  inputs.rows = rows_of(rows_of_case(c, operands.tree_masks), rows, 1);
  PrefillOperands as_multiplied = operands;
  if (c.e4m3) {
    operands.keys = as_multiplied.keys = codes_of(operands.keys, kKeyScale);
    operands.values = as_multiplied.values = codes_of(operands.values, kValueScale);
    as_multiplied.query = codes_of(operands.query, kQueryScale);
    for (Bf16& query : as_multiplied.query) query = to_bf16(to_float(query) * kQueryScale);
  }
  inputs.queries = floats_of(rows_of(as_multiplied.query, rows, width));
  inputs.keys = scaled(floats_of(operands.keys), c.e4m3 ? kKeyScale : 1.0F);
  inputs.values = scaled(floats_of(operands.values), c.e4m3 ? kValueScale : 1.0F);
  const AttentionOutputs exact = reference_attention(inputs);
  const AttentionOutputs in_steps = reference_attention(
      inputs, c.e4m3 ? AttentionRounding::e4m3_steps : AttentionRounding::bf16_steps);

  AttentionOutputs plain;
  if (c.sampled_rows > 0) plain = run_plain_kernel(c, as_multiplied, inputs.table.row_pages);
  forget_pages_before_windows(c, operands, inputs.table.row_pages);
  if (spoil != nullptr) spoil(operands);
  std::string problem;
  PrefillAttentionArguments of_workspace;
  of_workspace.head_dim = c.head_dim;
  of_workspace.variant = c.variant;
  const DeviceBuffer<unsigned char> workspace(prefill_attention_workspace_bytes(of_workspace));
  of_workspace.workspace = workspace.data();
  prepare_prefill_attention_workspace(of_workspace, {});
  const auto run = [&](const PrefillCase& one, const PrefillOperands& of_case) {
    return run_on_device(one, of_case, inputs.table.row_pages,
                         c.workspace ? workspace.data() : nullptr, problem);
  };
  const AttentionResult result = run(c, operands);
  const AttentionResult again = run(c, operands);
  if (!(result == again)) problem = "a second launch gave other bytes";
  if (is_plainly_causal(c)) {
    PrefillCase causal = c;
    causal.window = 0;
    PrefillOperands without_masks = operands;
    without_masks.tree_masks.clear();
    if (!(result == run(causal, without_masks)))
      problem = "other bytes than plain causal attention";
  }

  const Comparison output = compare(floats_of(rows_of(result.out, rows, width)), exact.out);
  const Comparison steps =
      compare(std::vector<float>(in_steps.out.begin(), in_steps.out.end()), exact.out);
  Comparison log_sum_exp = compare(rows_of(result.log_sum_exp, rows, heads), exact.lse);
  log_sum_exp.relative_error = log_sum_exp.largest_error;
  Comparison largest = output;
  largest.relative_error = output.largest_error;

  // Probabilities of e4m3 are off by up to 1/16, by 2.6 % in the mean square, and so is their
  // product with values that have nothing to do with each other: the 1e-2 of §4.7 is for kernels
  // that multiply in 16 bits. Sums on tensor cores keep 13 bits or so of scores of e4m3.
  const double limit = c.e4m3 ? 4e-2 : 5e-3, log_limit = c.e4m3 ? 5e-3 : 1e-3;
  std::vector<CheckReport> reports = {
      report_of(what, output, limit),
      report_of(what + ": largest error, twice that of one in separate steps", largest,
                2 * steps.largest_error),
      report_of(what + ": log-sum-exp", log_sum_exp, log_limit),
  };
  if (c.sampled_rows > 0) {  // float64 vouches for the sample, the plain kernel for every element
    const std::size_t elements = total * width;
    std::vector<float> all = floats_of({result.out.begin(), result.out.begin() + elements});
    reports.push_back(
        report_of(what + ": all rows, against the plain kernel", compare(all, plain.out), limit));
    all.assign(result.log_sum_exp.begin(), result.log_sum_exp.begin() + total * heads);
    Comparison sums = compare(all, plain.lse);
    sums.relative_error = sums.largest_error;
    reports.push_back(
        report_of(what + ": all log-sum-exps, against the plain kernel", sums, log_limit));
  }
  if (!workspace.guards_intact()) problem = "wrote outside its workspace";
  if (!problem.empty()) reports.front().problem = problem;
  return reports;
}

std::vector<CheckReport> check_prefill_attention(std::uint64_t seed, Scale scale) {
  std::vector<CheckReport> reports;
  std::vector<PrefillCase> cases = cases_at(scale);
  PrefillArguments<E4m3> any;
  any.query_heads = any.kv_heads = 1;
  any.head_dim = 128;
  any.page_tokens = 16;
  if (prefill_attention_supports(any, 1)) {
    const std::vector<PrefillCase> more = e4m3_cases(scale);
    cases.insert(cases.end(), more.begin(), more.end());
  }
  for (const PrefillCase& c : cases)
    for (CheckReport& report : check_prefill_case(c, seed, nullptr))
      reports.push_back(std::move(report));
  return reports;
}

}  // namespace fleetsim::kernels
