#pragma once
// Mixtures of experts in float64: which experts a token may have, their weights, the order of rows,
// products of groups, the weighted sum.

#include <cstdint>
#include <vector>

#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// What the choice of one token goes by. Units: none.
struct ExpertScores {
  std::vector<double> score;   // sigmoid: its value + bias; else, of softmax: the logits
  std::vector<double> weight;  // before renormalising: probability, or sigmoid without bias
};
/// By sigmoid, or else by softmax. logits: [experts], NaN as minus infinity. bias: [experts] or
/// empty.
ExpertScores reference_expert_scores(const std::vector<float>& logits,
                                     const std::vector<float>& bias, bool sigmoid);

/// How `a` stands to `b` in a choice whose scores fp32 knows within `tolerance`: 1 before, -1
/// behind, 0 either. Equal scores go by id.
int standing(double score_a, int a, double score_b, int b, double tolerance);

/// Whether a group is looked at: 1 surely, -1 surely not, 0 either. By the sum of its two best.
std::vector<int> reference_open_groups(const std::vector<double>& scores, int groups, int chosen,
                                       double tolerance);

/// Where rows go; the names are those of ExpertOrder.
struct ReferenceExpertOrder {
  std::vector<std::int32_t> offsets, row_of_slot, slot_of_row;
};
ReferenceExpertOrder reference_expert_order(const std::vector<std::int32_t>& ids, int first_expert,
                                            int local_experts);

/// [tokens][hidden] of launch_row_combine.
std::vector<double> reference_row_combine(const std::vector<Bf16>& rows,
                                          const std::vector<std::int32_t>& row_of_slot,
                                          const std::vector<float>& weights, int experts_per_token,
                                          int hidden);

/// The number of the group that `row` lies in; offsets: [groups + 1], row below the last.
int group_of_row(const std::vector<std::int32_t>& offsets, int row);

}  // namespace fleetsim::kernels
