#pragma once
// Statistics of relative errors, and of orders.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace fleetsim {

/// A value that was measured and what the simulation says of it; both positive.
struct MeasuredPair {
  double measured = 0, predicted = 0;
  double error() const { return predicted / measured - 1; }
};

/// Errors of a class of pairs, as shares of the measured value.
struct ErrorScores {
  std::int64_t count = 0;
  double median = 0, p90 = 0;  // of |error|
  double bias = 0;             // median of the signed error
};
/// nullopt without pairs. Percentiles by linear interpolation.
std::optional<ErrorScores> error_scores(std::span<const MeasuredPair> pairs);

/// Spearman's rank correlation of measured and predicted; ties share their mean rank. nullopt with
/// fewer than three pairs or when one side is constant.
std::optional<double> rank_correlation(std::span<const MeasuredPair> pairs);

}  // namespace fleetsim
