#include "kernels/reference/experts.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "hw_models/check.h"

namespace fleetsim::kernels {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

ExpertScores reference_expert_scores(const std::vector<float>& logits,
                                     const std::vector<float>& bias, bool by_sigmoid) {
  CHECK(bias.empty() || bias.size() == logits.size());
  ExpertScores result;
  double largest = kNever, sum = 0;
  for (const float logit : logits) {
    result.score.push_back(std::isnan(logit) ? kNever : static_cast<double>(logit));
    largest = std::max(largest, result.score.back());
  }
  for (const double x : result.score) sum += std::exp(x - largest);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    double& x = result.score[i];
    if (!by_sigmoid) {
      result.weight.push_back(std::exp(x - largest) / sum);
    } else {
      x = sigmoid(x);
      result.weight.push_back(x);
      if (!bias.empty()) x += static_cast<double>(bias[i]);
    }
  }
  return result;
}

int standing(double score_a, int a, double score_b, int b, double tolerance) {
  if (score_a == score_b) return a < b ? 1 : -1;
  if (std::fabs(score_a - score_b) <= tolerance) return 0;
  return score_a > score_b ? 1 : -1;
}

std::vector<int> reference_open_groups(const std::vector<double>& scores, int groups, int chosen,
                                       double tolerance) {
  const std::size_t size = scores.size() / static_cast<std::size_t>(groups);
  std::vector<double> sums;
  for (int group = 0; group < groups; ++group) {
    const auto begin = scores.begin() + group * static_cast<std::ptrdiff_t>(size);
    std::vector<double> own(begin, begin + static_cast<std::ptrdiff_t>(size));
    std::sort(own.rbegin(), own.rend());
    sums.push_back(own[0] + (size > 1 ? own[1] : 0));
  }
  std::vector<int> open;
  for (int group = 0; group < groups; ++group) {
    int before = 0, perhaps = 0;
    for (int other = 0; other < groups; ++other) {
      if (other == group) continue;
      const int stands = standing(sums[static_cast<std::size_t>(other)], other,
                                  sums[static_cast<std::size_t>(group)], group, tolerance);
      before += stands > 0 ? 1 : 0;
      perhaps += stands == 0 ? 1 : 0;
    }
    open.push_back(before >= chosen ? -1 : before + perhaps < chosen ? 1 : 0);
  }
  return open;
}

ReferenceExpertOrder reference_expert_order(const std::vector<std::int32_t>& ids, int first_expert,
                                            int local_experts) {
  ReferenceExpertOrder order;
  order.offsets = {0};
  order.row_of_slot.assign(ids.size(), -1);
  for (int expert = first_expert; expert < first_expert + local_experts; ++expert) {
    for (std::size_t slot = 0; slot < ids.size(); ++slot)
      if (ids[slot] == expert) {
        order.row_of_slot[slot] = static_cast<std::int32_t>(order.slot_of_row.size());
        order.slot_of_row.push_back(static_cast<std::int32_t>(slot));
      }
    order.offsets.push_back(static_cast<std::int32_t>(order.slot_of_row.size()));
  }
  return order;
}

std::vector<double> reference_row_combine(const std::vector<Bf16>& rows,
                                          const std::vector<std::int32_t>& row_of_slot,
                                          const std::vector<float>& weights, int experts_per_token,
                                          int hidden) {
  CHECK(row_of_slot.size() == weights.size());
  const auto picks = static_cast<std::size_t>(experts_per_token);
  const auto columns = static_cast<std::size_t>(hidden);
  std::vector<double> out(row_of_slot.size() / picks * columns, 0.0);
  for (std::size_t slot = 0; slot < row_of_slot.size(); ++slot) {
    if (row_of_slot[slot] < 0) continue;
    const std::size_t row = static_cast<std::size_t>(row_of_slot[slot]);
    for (std::size_t column = 0; column < columns; ++column)
      out[slot / picks * columns + column] +=
          static_cast<double>(weights[slot]) *
          static_cast<double>(to_float(rows[row * columns + column]));
  }
  return out;
}

int group_of_row(const std::vector<std::int32_t>& offsets, int row) {
  const auto behind = std::upper_bound(offsets.begin(), offsets.end(), row);
  CHECK(behind != offsets.begin() && behind != offsets.end());
  return static_cast<int>(behind - offsets.begin()) - 1;
}

}  // namespace fleetsim::kernels
