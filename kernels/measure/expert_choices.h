#pragma once
// Which experts the tokens of a point choose: drawn from the law that the simulator prices with
// (hw_models/matrix_work.h, routing skew), the same for a point wherever it is measured, so that
// what it must do is known beforehand.

#include <cstdint>
#include <vector>

#include "kernels/measure/point.h"

namespace fleetsim::kernels {

/// A layer of experts as one of the GPUs sees it that share them: the busiest, which holds the most
/// popular expert and of the rest an even share of what is chosen. Ids 0 to local_experts - 1 are
/// its own.
struct ExpertLayer {
  std::int64_t tokens = 1, experts = 8, local_experts = 8, experts_per_token = 2;
  double skew = 0;  // exponent of a power law of popularity; 0: all alike
};
/// From the axes tokens, experts, local_experts, experts_per_token and skew_hundredths.
ExpertLayer expert_layer(const Point& point);

/// The chance that a token picks each expert, the most popular first: rank^-skew, in parts that add
/// up to `picks`. A token picks nobody twice: what popular ones would have above 1 goes to those
/// behind them. Restates expert_chances of hw_models/matrix_work.cpp; a test holds the two equal.
std::vector<double> expert_chances(std::int64_t experts, std::int64_t picks, double skew);

/// Ids [tokens][experts_per_token], distinct for each token, each expert with its chance. Tokens
/// choose independently (of one token by systematic sampling, Madow 1949, which meets given chances
/// exactly).
std::vector<std::int32_t> expert_choices(const ExpertLayer& layer);

/// What the choices bring to this GPU.
struct LocalRows {
  std::vector<std::int32_t> rows;  // of each own expert
  std::int64_t all = 0;            // their sum
  std::int64_t experts_met = 0;    // own experts with any
  std::int64_t tokens_met = 0;     // tokens with any row here
};
LocalRows local_rows(const ExpertLayer& layer, const std::vector<std::int32_t>& choices);

}  // namespace fleetsim::kernels
