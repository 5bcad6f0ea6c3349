// Prefill attention on expanded latents against float64 on ragged batches, where all that must not
// be read is NaN: rows of keys and values between and behind the sequences, unused queries.

#include <algorithm>
#include <cmath>

#include "kernels/checks/latent_attention_check.h"
#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/operators/latent_prefill_attention.h"
#include "kernels/reference/attention.h"

namespace fleetsim::kernels {
namespace {

constexpr Bf16 kNan{0x7fc0};
constexpr std::size_t kKey = kLatentKeyWidth, kValue = kLatentValueWidth;
constexpr int kUnusedRows = 2;  // of query and out behind the last sequence, of keys between two
const float kSoftmaxScale = 1.0F / std::sqrt(static_cast<float>(kLatentKeyWidth));

/// What the operands follow from, with the seed.
std::string name_of(const LatentPrefillCase& c) {
  return std::to_string(c.heads) + " heads" + (c.causal ? ", causal, new " : ", all keys, new ") +
         list_of(c.new_lengths) + " cached " + list_of(c.cached_lengths);
}

/// Draws of an operand, repeated when it is larger; a prime, so that repetitions never meet rows.
constexpr std::size_t kDistinctDraws = 1048573;

/// Rows of width [heads][width], normal where `owned`, NaN elsewhere.
std::vector<Bf16> owned_rows(const std::vector<bool>& owned, std::size_t width, float scale,
                             RandomInputs& random) {
  std::vector<Bf16> rows(owned.size() * width);
  const std::vector<Bf16> drawn = random.normals_bf16(std::min(rows.size(), kDistinctDraws), scale);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = drawn[i % drawn.size()];
  for (std::size_t row = 0; row < owned.size(); ++row)
    if (!owned[row])
      std::fill_n(rows.begin() + static_cast<std::ptrdiff_t>(row * width), width, kNan);
  return rows;
}

AttentionResult run_operator(const LatentPrefillCase& c, const LatentPrefillOperands& operands,
                             std::string& problem) {
  const DeviceBuffer<Bf16> query(operands.query), keys(operands.keys), values(operands.values);
  const DeviceBuffer<int> query_starts(operands.query_starts), cached(operands.cached_lengths),
      key_starts(operands.key_starts);
  const std::size_t heads = static_cast<std::size_t>(c.heads);
  const std::size_t rows = operands.query.size() / (heads * kKey);
  const DeviceBuffer<Bf16> out(rows * heads * kValue);
  const DeviceBuffer<float> log_sum_exp(rows * heads);
  const DeviceBuffer<std::uint8_t> workspace(kLatentPrefillWorkspaceBytes);
  LatentPrefillArguments arguments;
  arguments.query = query.data();
  arguments.keys = keys.data();
  arguments.values = values.data();
  arguments.query_starts = query_starts.data();
  arguments.cached_lengths = cached.data();
  arguments.key_starts = key_starts.data();
  arguments.out = out.data();
  arguments.log_sum_exp = log_sum_exp.data();
  arguments.workspace = workspace.data();
  arguments.sequences = static_cast<int>(c.new_lengths.size());
  arguments.total_tokens = static_cast<int>(rows);
  arguments.total_keys = static_cast<int>(operands.keys.size() / (heads * kKey));
  arguments.heads = c.heads;
  arguments.softmax_scale = kSoftmaxScale;
  arguments.causal = c.causal;
  arguments.blocks = c.blocks;
  prepare_latent_prefill_workspace(workspace.data(), {});
  AttentionResult result;
  for (int i = 0; i < 2; ++i) {
    device_fill(out.data(), 0xff, rows * heads * kValue * sizeof(Bf16), {});
    device_fill(log_sum_exp.data(), 0xff, rows * heads * sizeof(float), {});
    launch_latent_prefill(arguments, {});
    device_synchronize();
    const AttentionResult now{out.values(), log_sum_exp.values()};
    if (i > 0 && !(now == result)) problem = "a second launch gave other bytes";
    result = now;
  }
  if (!out.guards_intact() || !log_sum_exp.guards_intact() || !workspace.guards_intact())
    problem = "wrote outside its output or workspace";
  const std::size_t used = static_cast<std::size_t>(operands.query_starts.back()) * heads;
  for (std::size_t i = 0; i < rows * heads; ++i) {
    const bool owned = i < used;
    if (std::isfinite(result.log_sum_exp[i]) != owned)
      problem = owned ? "left log-sum-exps that are not finite" : "wrote behind the last sequence";
    for (std::size_t j = i * kValue; j < (i + 1) * kValue; ++j)
      if (std::isfinite(to_float(result.out[j])) != owned)
        problem = owned ? "left elements that are not finite" : "wrote behind the last sequence";
  }
  return result;
}

CheckReport largest_error_report(std::string what, Comparison comparison, double limit) {
  comparison.relative_error = comparison.largest_error;
  return report_of(std::move(what), comparison, limit);
}

/// The first 128 elements of each row of 192.
std::vector<double> values_part(const std::vector<double>& rows) {
  std::vector<double> part;
  for (std::size_t at = 0; at < rows.size(); at += kKey)
    part.insert(part.end(), rows.begin() + static_cast<std::ptrdiff_t>(at),
                rows.begin() + static_cast<std::ptrdiff_t>(at + kValue));
  return part;
}

std::vector<LatentPrefillCase> cases_at(Scale scale) {
  std::vector<LatentPrefillCase> cases = {
      // query tile, half of it, key tile: one less, exactly, one more, none
      {1, {127, 128, 129}, {0, 0, 0}},
      {2, {63, 0, 65}, {1, 7, 64}},
      {1, {1, 2, 64}, {126, 126, 65}},
      {3, {130}, {200}},
      // a piece of a context: all keys, fewer than queries too
      {2, {70, 3}, {60, -2}, false},
      {1, {150}, {-22}, false, 1},
      // one block takes everything; more blocks than tiles
      {2, {140, 20, 1}, {0, 300, 5}, true, 1},
      {1, {200}, {10}, true, 9},
      // nearly all weight on one key; nothing new
      {2, {40}, {100}, true, 0, 0, 12},
      {4, {0, 0}, {3, 0}},
      // more sequences than lanes of a warp, most of one token
      {1,
       {1, 0, 2, 1, 1, 0, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2,
        1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 70},
       {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16,
        17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 35},
       true,
       2},
  };
  if (scale == Scale::device) {
    const std::vector<LatentPrefillCase> big = {
        {16, {2048}, {0}, true, 0, 256},
        {16, {1000, 1, 0, 500, 17}, {1000, 4000, 5, 0, 9000}, true, 0, 128},
        {16, {777}, {4095}, false, 0, 96},
        {32, {512, 513}, {4096, 2048}, true, 0, 96},
        {8, {16384}, {0}, true, 0, 96},
        {128, {2048}, {0}, true, 0, 256},
    };
    cases.insert(cases.end(), big.begin(), big.end());
    LatentPrefillCase many{16, {}, {}, true, 0, 400};  // a batch of many short chunks
    RandomInputs random(1, "latent_prefill_attention many");
    for (int i = 0; i < 150; ++i) {
      many.new_lengths.push_back(static_cast<int>(random.below(40)));
      many.cached_lengths.push_back(static_cast<int>(random.below(600)));
    }
    cases.push_back(many);
  }
  return cases;
}

}  // namespace

std::vector<CheckReport> check_latent_prefill_case(const LatentPrefillCase& c, std::uint64_t seed,
                                                   void (*spoil)(LatentPrefillOperands&),
                                                   AttentionResult* result_out) {
  const std::string what = name_of(c) +
                           (c.blocks > 0 ? ", " + std::to_string(c.blocks) + " blocks" : "") +
                           " seed " + std::to_string(seed);
  RandomInputs random(seed, "latent_prefill_attention " + name_of(c));
  const std::size_t heads = static_cast<std::size_t>(c.heads);
  LatentPrefillOperands operands;
  operands.cached_lengths = c.cached_lengths;
  operands.query_starts.push_back(0);
  std::vector<bool> owned_keys, owned_queries;
  // a page a row and head, as the reference takes it: the layout is the same
  AttentionInputs inputs;
  inputs.table.page_tokens = 1;
  for (std::size_t i = 0; i < c.new_lengths.size(); ++i) {
    const int keys = c.new_lengths[i] == 0 ? 0 : c.new_lengths[i] + c.cached_lengths[i];
    operands.query_starts.push_back(operands.query_starts.back() + c.new_lengths[i]);
    operands.key_starts.push_back(static_cast<int>(owned_keys.size()));
    inputs.table.lengths.push_back(keys);
    inputs.table.row_pages = std::max(inputs.table.row_pages, keys + 1);
    owned_keys.insert(owned_keys.end(), static_cast<std::size_t>(keys), true);
    owned_keys.insert(owned_keys.end(), kUnusedRows, false);
    owned_queries.insert(owned_queries.end(), static_cast<std::size_t>(c.new_lengths[i]), true);
  }
  owned_queries.insert(owned_queries.end(), kUnusedRows, false);
  operands.query = owned_rows(owned_queries, heads * kKey, c.query_scale, random);
  operands.keys = owned_rows(owned_keys, heads * kKey, 1.0F, random);
  operands.values = owned_rows(owned_keys, heads * kValue, 1.0F, random);

  inputs.shape = {c.heads, c.heads, kLatentKeyWidth, static_cast<double>(kSoftmaxScale)};
  for (std::size_t i = 0; i < c.new_lengths.size(); ++i)
    for (int page = 0; page < inputs.table.row_pages; ++page)
      inputs.table.pages.push_back(operands.key_starts[i] + page);
  inputs.table.pool_pages = static_cast<int>(owned_keys.size());
  for (std::size_t i = 0; i < operands.keys.size(); ++i) {
    inputs.keys.push_back(to_float(operands.keys[i]));
    const std::size_t column = i % kKey;  // values are padded with zeros to the keys' width
    inputs.values.push_back(column < kValue ? to_float(operands.values[i / kKey * kValue + column])
                                            : 0.0F);
  }
  // rows to compare with all their heads
  const std::vector<AttentionRow> rows = prefill_rows(c.new_lengths, c.cached_lengths, c.causal);
  std::vector<std::size_t> compared;
  const std::size_t wanted = static_cast<std::size_t>(ceil_div(c.sampled, c.heads));
  for (std::size_t i = 0; i < (c.sampled == 0 ? rows.size() : wanted); ++i)
    compared.push_back(c.sampled == 0 ? i : random.below(static_cast<std::uint32_t>(rows.size())));
  for (const std::size_t row : compared) {
    inputs.rows.push_back(rows[row]);
    for (std::size_t i = row * heads * kKey; i < (row + 1) * heads * kKey; ++i)
      inputs.queries.push_back(to_float(operands.query[i]));
  }
  const AttentionOutputs exact = reference_attention(inputs);
  const AttentionOutputs in_steps = reference_attention(inputs, AttentionRounding::bf16_steps);

  if (spoil != nullptr) spoil(operands);
  std::string problem;
  const AttentionResult result = run_operator(c, operands, problem);
  if (result_out != nullptr) *result_out = result;

  std::vector<float> out, log_sum_exp;
  for (const std::size_t row : compared) {
    for (std::size_t i = row * heads * kValue; i < (row + 1) * heads * kValue; ++i)
      out.push_back(to_float(result.out[i]));
    for (std::size_t i = row * heads; i < (row + 1) * heads; ++i)
      log_sum_exp.push_back(result.log_sum_exp[i]);
  }
  const std::vector<double> reference = values_part(exact.out), steps = values_part(in_steps.out);
  const Comparison output = compare(out, reference);
  std::vector<CheckReport> reports = {
      report_of(what, output, 5e-3),
      largest_error_report(
          what + ": largest error, twice that of bf16 in steps", output,
          2 * compare(std::vector<float>(steps.begin(), steps.end()), reference).largest_error),
      largest_error_report(what + ": log-sum-exp", compare(log_sum_exp, exact.lse), 1e-3)};
  if (!problem.empty()) reports.front().problem = problem;
  return reports;
}

std::vector<CheckReport> check_latent_prefill_attention(std::uint64_t seed, Scale scale) {
  std::vector<CheckReport> reports;
  for (const LatentPrefillCase& c : cases_at(scale))
    for (CheckReport& report : check_latent_prefill_case(c, seed))
      reports.push_back(std::move(report));
  return reports;
}

}  // namespace fleetsim::kernels
