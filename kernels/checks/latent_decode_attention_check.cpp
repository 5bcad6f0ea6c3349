// Decode attention on latents against float64 on shuffled page tables, where all that must not be
// read is NaN: tokens behind a sequence's end, pages that nobody owns, queries of sequences without
// tokens; and page numbers behind a row's end point nowhere.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/checks/latent_attention_check.h"
#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/operators/latent_decode_attention.h"
#include "kernels/reference/attention.h"

namespace fleetsim::kernels {
namespace {

constexpr Bf16 kNan{0x7fc0};
/// Draws of a cache, repeated when it is larger; a prime, so that repetitions never meet pages.
constexpr std::size_t kDistinctDraws = 1048573;
constexpr std::size_t kRow = kLatentRowElements;
constexpr std::size_t kValue = kLatentElements;
/// Scores of standard normal queries and keys then have a standard deviation of about 1.7, as wide
/// as DeepSeek-V3's scale leaves them.
const float kSoftmaxScale = 1.0F / std::sqrt(192.0F);

/// What the operands follow from, with the seed.
std::string name_of(const LatentDecodeCase& c) {
  std::string lengths;
  for (std::size_t i = 0; i < c.lengths.size() && i < 8; ++i)
    lengths += (i == 0 ? "" : ",") + std::to_string(c.lengths[i]);
  if (c.lengths.size() > 8) lengths += ",... (" + std::to_string(c.lengths.size()) + ")";
  return std::to_string(c.heads) + " heads, " + std::to_string(c.query_tokens) +
         " query tokens, pages of " + std::to_string(c.page_tokens) + ", lengths " + lengths;
}

/// Rows of all sequences: a query token of a sequence each, and what it sees.
std::vector<AttentionRow> rows_of(const LatentDecodeCase& c) {
  std::vector<AttentionRow> rows;
  for (std::size_t i = 0; i < c.lengths.size(); ++i)
    for (int token = 0; token < c.query_tokens; ++token)
      rows.push_back(
          {static_cast<int>(i), std::max(0, c.lengths[i] - (c.query_tokens - 1 - token))});
  return rows;
}

LatentDecodeOperands draw(const LatentDecodeCase& c, const PageTable& table, RandomInputs& random) {
  LatentDecodeOperands operands;
  const std::size_t per_sequence =
      static_cast<std::size_t>(c.query_tokens) * static_cast<std::size_t>(c.heads) * kRow;
  operands.query = random.normals_bf16(c.lengths.size() * per_sequence, c.query_scale);
  for (std::size_t i = 0; i < c.lengths.size(); ++i)
    if (c.lengths[i] == 0)
      std::fill_n(operands.query.begin() + static_cast<std::ptrdiff_t>(i * per_sequence),
                  per_sequence, kNan);
  const std::size_t page = static_cast<std::size_t>(c.page_tokens) * kRow;
  operands.cache.resize(static_cast<std::size_t>(table.pool_pages) * page);
  const std::vector<Bf16> drawn =
      random.normals_bf16(std::min(operands.cache.size(), kDistinctDraws));
  for (std::size_t i = 0; i < operands.cache.size(); ++i)
    operands.cache[i] = drawn[i % drawn.size()];
  for (std::size_t i = 0; i < static_cast<std::size_t>(table.pool_pages); ++i)
    std::fill(operands.cache.begin() +
                  static_cast<std::ptrdiff_t>(
                      i * page + static_cast<std::size_t>(table.valid_tokens[i]) * kRow),
              operands.cache.begin() + static_cast<std::ptrdiff_t>((i + 1) * page), kNan);
  operands.page_table = table.pages;
  operands.lengths = c.lengths;
  return operands;
}

/// Runs the operator twice on poisoned outputs and workspace. Says what is wrong beside its
/// numbers.
AttentionResult run_operator(const LatentDecodeCase& c, const LatentDecodeOperands& operands,
                             const PageTable& table, std::string& problem) {
  const DeviceBuffer<Bf16> query(operands.query), cache(operands.cache);
  const DeviceBuffer<int> page_table(operands.page_table), lengths(operands.lengths);
  LatentDecodeArguments arguments;
  arguments.query = query.data();
  arguments.cache_pages = cache.data();
  arguments.page_table = page_table.data();
  arguments.lengths = lengths.data();
  arguments.sequences = static_cast<int>(c.lengths.size());
  arguments.query_tokens = c.query_tokens;
  arguments.heads = c.heads;
  arguments.pages = table.pool_pages;
  arguments.page_tokens = c.page_tokens;
  arguments.pages_per_sequence = table.row_pages;
  arguments.softmax_scale = kSoftmaxScale;
  arguments.blocks = c.blocks;
  const DeviceBuffer<std::uint8_t> workspace(latent_decode_workspace_bytes(arguments));
  arguments.workspace = workspace.data();
  const std::size_t heads = c.lengths.size() * static_cast<std::size_t>(c.query_tokens) *
                            static_cast<std::size_t>(c.heads);
  AttentionResult result;
  for (int i = 0; i < 2; ++i) {
    const DeviceBuffer<Bf16> out(heads * kValue);
    const DeviceBuffer<float> log_sum_exp(heads);
    arguments.out = out.data();
    arguments.log_sum_exp = c.wants_log_sum_exp ? log_sum_exp.data() : nullptr;
    launch_latent_decode(arguments, {});
    device_synchronize();
    const AttentionResult now{out.values(),
                              c.wants_log_sum_exp ? log_sum_exp.values() : std::vector<float>()};
    if (i > 0 && !(now == result)) problem = "a second launch gave other bytes";
    result = now;
    if (!out.guards_intact() || !log_sum_exp.guards_intact() || !workspace.guards_intact())
      problem = "wrote outside its output or workspace";
  }
  return result;
}

/// Rows that see nothing: zeros, and minus infinity. compare() has no eye for either.
std::string problem_of_blind_rows(const LatentDecodeCase& c, const AttentionResult& result) {
  const std::vector<AttentionRow> rows = rows_of(c);
  const std::size_t heads = static_cast<std::size_t>(c.heads);
  for (std::size_t row = 0; row < rows.size(); ++row)
    for (std::size_t head = row * heads; head < (row + 1) * heads; ++head) {
      const bool sees = rows[row].visible > 0;
      for (std::size_t i = head * kValue; i < (head + 1) * kValue; ++i) {
        if (!sees && result.out[i].bits != 0) return "a row that sees nothing got no zeros";
        if (sees && !std::isfinite(to_float(result.out[i]))) return "left elements not finite";
      }
      if (!sees && c.wants_log_sum_exp &&
          result.log_sum_exp[head] != -std::numeric_limits<float>::infinity())
        return "a row that sees nothing got a log-sum-exp";
    }
  return "";
}

/// The first 512 elements of each row of `width`.
std::vector<double> values_part(const std::vector<double>& rows) {
  std::vector<double> part;
  for (std::size_t at = 0; at < rows.size(); at += kRow)
    part.insert(part.end(), rows.begin() + static_cast<std::ptrdiff_t>(at),
                rows.begin() + static_cast<std::ptrdiff_t>(at + kValue));
  return part;
}

CheckReport largest_error_report(std::string what, Comparison comparison, double limit) {
  comparison.relative_error = comparison.largest_error;
  return report_of(std::move(what), comparison, limit);
}

std::vector<LatentDecodeCase> cases_at(Scale scale) {
  std::vector<LatentDecodeCase> cases = {
      // a tile, a page: one less, exactly, one more; one token; none
      {1, 1, 64, {63, 0, 64, 65, 1, 129}},
      {16, 1, 16, {15, 16, 17, 100}},
      {5, 1, 32, {31, 33, 0, 128}, 1},
      {3, 1, 128, {127, 128, 129}},
      // rows that fill blocks, and more
      {64, 1, 64, {70}},
      {65, 1, 64, {130, 9}},
      {128, 1, 64, {200, 0, 3}, 2},
      // drafted tokens: edges where only some rows see a tile; fewer tokens than queries
      {16, 4, 64, {65, 64, 66, 67, 2, 3, 0}},
      {40, 2, 16, {129, 1, 128}},
      {128, 2, 64, {66}},
      // cut units: odd and even numbers of tiles, parts that some rows see nothing of
      {8, 1, 64, {700}, 4},
      {20, 3, 64, {64 * 6 + 1, 30}, 6},
      {2, 2, 16, {64 * 5 + 1, 64 * 9 + 1, 0, 64 * 5}, 7},
      // sequences that share pages; nobody asks for log-sum-exps; nearly all weight on one token
      {4, 1, 16, {200, 190, 50}, 0, 11},
      {4, 1, 64, {100}, 0, 0, 0, 1, false},
      {6, 2, 64, {400}, 3, 0, 0, 12},
      // nothing to do
      {8, 1, 64, {0, 0}},
  };
  if (scale == Scale::device) {
    const std::vector<LatentDecodeCase> big = {
        {16, 1, 64, std::vector<int>(32, 3000), 0, 0, 96},
        {128, 1, 64, {32768, 512, 0, 700, 5000}, 0, 0, 64},
        {128, 2, 64, std::vector<int>(30, 1500), 0, 0, 96},
        {16, 4, 16, {65536}, 0, 0, 24},
        {64, 1, 32, {1, 100, 9000, 63, 3000, 8191, 8192, 8193}, 0, 0, 64},
        {128, 1, 64, {100000}, 0, 0, 16},
        {20, 3, 64, {7777, 20000, 65}, 0, 0, 48},
    };
    cases.insert(cases.end(), big.begin(), big.end());
    RandomInputs random(1, "latent_decode_attention many");
    LatentDecodeCase many{16, 1, 64, {}, 0, 0, 128};
    for (int i = 0; i < 300; ++i)
      many.lengths.push_back(static_cast<int>(random.below(i % 10 == 0 ? 6000 : 300)));
    cases.push_back(many);
  }
  return cases;
}

}  // namespace

std::vector<CheckReport> check_latent_decode_case(const LatentDecodeCase& c, std::uint64_t seed,
                                                  void (*spoil)(LatentDecodeOperands&),
                                                  AttentionResult* result_out) {
  const std::string what = name_of(c) +
                           (c.blocks > 0 ? ", " + std::to_string(c.blocks) + " blocks" : "") +
                           " seed " + std::to_string(seed);
  RandomInputs random(seed, "latent_decode_attention " + name_of(c));
  PageTable table = shuffled_page_table(c.lengths, c.page_tokens, random);
  if (c.shared_pages > 0) share_first_pages(table, 0, 1, c.shared_pages);
  LatentDecodeOperands operands = draw(c, table, random);

  // (query token, head) pairs as rows of one head: keys are whole rows, values their first part
  AttentionInputs inputs;
  inputs.shape = {1, 1, kLatentRowElements, static_cast<double>(kSoftmaxScale)};
  inputs.table = table;
  inputs.keys = inputs.values = floats_of(operands.cache);
  const std::vector<AttentionRow> rows = rows_of(c);
  const std::size_t heads = static_cast<std::size_t>(c.heads);
  std::vector<std::size_t> pairs;
  if (c.sampled == 0)
    for (std::size_t i = 0; i < rows.size() * heads; ++i) pairs.push_back(i);
  for (int i = 0; i < c.sampled; ++i)
    pairs.push_back(random.below(static_cast<std::uint32_t>(rows.size() * heads)));
  for (const std::size_t pair : pairs) {
    inputs.rows.push_back(rows[pair / heads]);
    for (std::size_t i = 0; i < kRow; ++i)
      inputs.queries.push_back(to_float(operands.query[pair * kRow + i]));
  }
  const AttentionOutputs exact = reference_attention(inputs);
  const AttentionOutputs in_steps = reference_attention(inputs, AttentionRounding::bf16_steps);

  if (spoil != nullptr) spoil(operands);
  std::string problem;
  const AttentionResult result = run_operator(c, operands, table, problem);
  if (problem.empty()) problem = problem_of_blind_rows(c, result);
  if (result_out != nullptr) *result_out = result;

  std::vector<float> out, log_sum_exp;
  for (const std::size_t pair : pairs) {
    for (std::size_t i = 0; i < kValue; ++i) out.push_back(to_float(result.out[pair * kValue + i]));
    if (c.wants_log_sum_exp) log_sum_exp.push_back(result.log_sum_exp[pair]);
  }
  const std::vector<double> reference = values_part(exact.out), steps = values_part(in_steps.out);
  const Comparison output = compare(out, reference);
  std::vector<CheckReport> reports = {
      report_of(what, output, 5e-3),
      largest_error_report(
          what + ": largest error, twice that of bf16 in steps", output,
          2 * compare(std::vector<float>(steps.begin(), steps.end()), reference).largest_error)};
  if (c.wants_log_sum_exp)
    reports.push_back(
        largest_error_report(what + ": log-sum-exp", compare(log_sum_exp, exact.lse), 1e-3));
  if (!problem.empty()) reports.front().problem = problem;
  return reports;
}

std::vector<CheckReport> check_latent_decode_attention(std::uint64_t seed, Scale scale) {
  std::vector<CheckReport> reports;
  for (const LatentDecodeCase& c : cases_at(scale))
    for (CheckReport& report : check_latent_decode_case(c, seed))
      reports.push_back(std::move(report));
  return reports;
}

}  // namespace fleetsim::kernels
