#include "kernels/reference/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "hw_models/check.h"

namespace fleetsim::kernels {
namespace {

void check_sizes(const AttentionInputs& inputs) {
  const AttentionShape& shape = inputs.shape;
  CHECK(shape.kv_heads >= 1 && shape.query_heads % shape.kv_heads == 0 && shape.head_dim >= 1);
  const std::size_t row = static_cast<std::size_t>(shape.query_heads) * shape.head_dim;
  CHECK(inputs.queries.size() == inputs.rows.size() * row);
  const PageTable& table = inputs.table;
  const std::size_t pool = static_cast<std::size_t>(table.pool_pages) * shape.kv_heads *
                           table.page_tokens * shape.head_dim;
  CHECK(inputs.keys.size() == pool && inputs.values.size() == pool);
  for (const AttentionRow& seen : inputs.rows)
    CHECK(seen.visible >= 0 &&
          seen.visible <= table.lengths.at(static_cast<std::size_t>(seen.sequence)));
}

double rounded(double value, AttentionRounding rounding) {
  if (rounding == AttentionRounding::none) return value;
  return static_cast<double>(to_float(to_bf16(static_cast<float>(value))));
}

/// A probability relative to the largest of its row, as values are multiplied by it.
double rounded_weight(double weight, double sum, AttentionRounding rounding) {
  if (rounding != AttentionRounding::e4m3_steps) return rounded(weight / sum, rounding);
  constexpr double kLargest = 256;
  return to_float(to_e4m3(static_cast<float>(weight * kLargest))) / kLargest / sum;
}

}  // namespace

std::vector<AttentionRow> decode_rows(const std::vector<int>& lengths) {
  std::vector<AttentionRow> rows;
  for (std::size_t i = 0; i < lengths.size(); ++i)
    rows.push_back({static_cast<int>(i), lengths[i]});
  return rows;
}

std::vector<AttentionRow> prefill_rows(const std::vector<int>& new_lengths,
                                       const std::vector<int>& cached_lengths, bool causal) {
  CHECK(new_lengths.size() == cached_lengths.size());
  std::vector<AttentionRow> rows;
  for (std::size_t i = 0; i < new_lengths.size(); ++i)
    for (int j = 0; j < new_lengths[i]; ++j)
      rows.push_back({static_cast<int>(i), cached_lengths[i] + (causal ? j + 1 : new_lengths[i])});
  return rows;
}

std::vector<AttentionRow> windowed_rows(const std::vector<int>& new_lengths,
                                        const std::vector<int>& cached_lengths, int window) {
  CHECK(window >= 1);
  std::vector<AttentionRow> rows = prefill_rows(new_lengths, cached_lengths, true);
  for (AttentionRow& row : rows) row.first = std::max(0, row.visible - window);
  return rows;
}

std::vector<AttentionRow> tree_rows(const std::vector<int>& new_lengths,
                                    const std::vector<int>& cached_lengths,
                                    const std::vector<std::uint64_t>& masks) {
  std::vector<AttentionRow> rows = prefill_rows(new_lengths, cached_lengths, true);
  CHECK(masks.size() == rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto sequence = static_cast<std::size_t>(rows[i].sequence);
    if (new_lengths[sequence] > 64) continue;
    rows[i].tree_begin = cached_lengths[sequence];
    rows[i].tree_mask = masks[i];
  }
  return rows;
}

AttentionOutputs reference_attention(const AttentionInputs& inputs, AttentionRounding rounding) {
  check_sizes(inputs);
  const AttentionShape& shape = inputs.shape;
  const std::size_t dim = static_cast<std::size_t>(shape.head_dim);
  const int group = shape.query_heads / shape.kv_heads;
  AttentionOutputs outputs;
  outputs.out.assign(inputs.queries.size(), 0.0);
  std::vector<double> weights;
  for (std::size_t row = 0; row < inputs.rows.size(); ++row) {
    const AttentionRow& seen = inputs.rows[row];
    for (int head = 0; head < shape.query_heads; ++head) {
      const std::size_t at = (row * static_cast<std::size_t>(shape.query_heads) + head) * dim;
      const auto place = [&](int token) {
        const std::size_t page =
            static_cast<std::size_t>(inputs.table.page_of(seen.sequence, token));
        return ((page * shape.kv_heads + head / group) * inputs.table.page_tokens +
                token % inputs.table.page_tokens) *
               dim;
      };
      constexpr double kUnseen = -std::numeric_limits<double>::infinity();
      weights.assign(static_cast<std::size_t>(seen.visible), kUnseen);
      double largest = kUnseen;
      for (int token = seen.first; token < seen.visible; ++token) {
        if (!seen.sees(token)) continue;
        const float* key = &inputs.keys[place(token)];
        double score = 0;
        for (std::size_t i = 0; i < dim; ++i)
          score += static_cast<double>(inputs.queries[at + i]) * static_cast<double>(key[i]);
        score *= shape.softmax_scale;
        if (rounding == AttentionRounding::bf16_steps) score = rounded(score, rounding);
        weights[static_cast<std::size_t>(token)] = score;
        largest = std::max(largest, score);
      }
      double sum = 0;
      for (double& weight : weights) sum += weight = std::exp(weight - largest);
      outputs.lse.push_back(seen.visible > 0 ? largest + std::log(sum) : largest);
      for (int token = seen.first; token < seen.visible; ++token) {
        if (!seen.sees(token)) continue;
        const double weight =
            rounded_weight(weights[static_cast<std::size_t>(token)], sum, rounding);
        const float* value = &inputs.values[place(token)];
        for (std::size_t i = 0; i < dim; ++i)
          outputs.out[at + i] += weight * static_cast<double>(value[i]);
      }
      for (std::size_t i = 0; i < dim; ++i)
        outputs.out[at + i] = rounded(outputs.out[at + i], rounding);
    }
  }
  return outputs;
}

}  // namespace fleetsim::kernels
