#include "sim/validation/error_scores.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace fleetsim {
namespace {

/// `values` ascending and not empty.
double percentile(const std::vector<double>& values, double share) {
  const double place = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

/// Rank of each value from 1; equal values share the mean of their ranks.
std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    const double rank = static_cast<double>(begin + 1 + end) / 2;
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = rank;
    begin = end;
  }
  return ranks;
}

}  // namespace

std::optional<ErrorScores> error_scores(std::span<const MeasuredPair> pairs) {
  if (pairs.empty()) return std::nullopt;
  std::vector<double> absolute, with_sign;
  for (const MeasuredPair& pair : pairs) {
    with_sign.push_back(pair.error());
    absolute.push_back(std::abs(pair.error()));
  }
  std::sort(absolute.begin(), absolute.end());
  std::sort(with_sign.begin(), with_sign.end());
  ErrorScores scores;
  scores.count = static_cast<std::int64_t>(pairs.size());
  scores.median = percentile(absolute, 0.5);
  scores.p90 = percentile(absolute, 0.9);
  scores.bias = percentile(with_sign, 0.5);
  return scores;
}

std::optional<double> rank_correlation(std::span<const MeasuredPair> pairs) {
  if (pairs.size() < 3) return std::nullopt;
  std::vector<double> measured, predicted;
  for (const MeasuredPair& pair : pairs) {
    measured.push_back(pair.measured);
    predicted.push_back(pair.predicted);
  }
  const std::vector<double> a = ranks(measured), b = ranks(predicted);
  const double mean = static_cast<double>(a.size() + 1) / 2;
  double covariance = 0, spread_a = 0, spread_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    covariance += (a[i] - mean) * (b[i] - mean);
    spread_a += (a[i] - mean) * (a[i] - mean);
    spread_b += (b[i] - mean) * (b[i] - mean);
  }
  if (spread_a == 0 || spread_b == 0) return std::nullopt;
  return covariance / std::sqrt(spread_a * spread_b);
}

}  // namespace fleetsim
