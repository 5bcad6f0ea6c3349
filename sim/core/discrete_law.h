#pragma once
// Laws over whole numbers that need preparation: weights in a table, and Zipf over a long range.

#include <cmath>
#include <cstdint>
#include <vector>

#include "hw_models/check.h"
#include "sim/core/random.h"

namespace fleetsim {

/// Index i with probability weights[i] / sum. Inverts the distribution function with a guide table
/// (H. C. Chen, Y. Asau 1974): one draw, expected constant time.
/// Errors: CHECK that weights are finite, not negative and not all zero.
class DiscreteTable {
 public:
  explicit DiscreteTable(const std::vector<double>& weights) {
    double sum = 0;
    for (const double weight : weights) {
      CHECK(std::isfinite(weight) && weight >= 0);
      cumulative_.push_back(sum += weight);
      if (weight > 0) last_ = cumulative_.size() - 1;
    }
    CHECK(sum > 0 && std::isfinite(sum));
    for (double& value : cumulative_) value /= sum;
    std::size_t index = 0;
    for (std::size_t bucket = 0; bucket < cumulative_.size(); ++bucket) {
      const double low = static_cast<double>(bucket) / static_cast<double>(cumulative_.size());
      while (index < last_ && cumulative_[index] <= low) ++index;
      guide_.push_back(index);
    }
  }

  std::size_t at(double uniform) const {
    std::size_t index =
        guide_[static_cast<std::size_t>(uniform * static_cast<double>(guide_.size()))];
    while (index < last_ && cumulative_[index] <= uniform) ++index;
    return index;
  }

 private:
  std::vector<double> cumulative_;
  std::vector<std::size_t> guide_;
  std::size_t last_ = 0;
};

/// Weights 1, 2^-s, 3^-s, ... of `count` ranks.
inline std::vector<double> zipf_weights(std::int64_t count, double exponent) {
  std::vector<double> weights;
  for (std::int64_t rank = 1; rank <= count; ++rank) {
    weights.push_back(std::pow(static_cast<double>(rank), -exponent));
  }
  return weights;
}

/// Zipf over 1..max: probability of k proportional to k^-exponent; exponent >= 0.
/// Memory does not grow with max.
/// Source: W. Hörmann, G. Derflinger, "Rejection-inversion to generate variates from monotone
/// discrete
///         distributions", ACM TOMACS 6 (1996), with the shifted hat of their §3
class ZipfLaw {
 public:
  ZipfLaw(double exponent, std::int64_t max) : exponent_(exponent), max_(static_cast<double>(max)) {
    CHECK(max >= 1 && exponent >= 0);
    low_ = hat(1.5) - 1;
    high_ = hat(max_ + 0.5);
    shortcut_ = 2 - hat_inverse(hat(2.5) - std::pow(2.0, -exponent_));
  }

  std::int64_t draw(const RandomStream& stream) const {
    for (std::uint64_t trial = 0;; ++trial) {
      const double u = high_ + stream.uniform(trial) * (low_ - high_);
      const double x = hat_inverse(u);
      const double k = std::fmin(std::fmax(std::floor(x + 0.5), 1), max_);
      if (k - x <= shortcut_ || u >= hat(k + 0.5) - std::pow(k, -exponent_)) {
        return static_cast<std::int64_t>(k);
      }
    }
  }

 private:
  /// The integral of x^-s from 1, by expm1 so that it stays exact near s = 1.
  double hat(double x) const {
    const double log_x = std::log(x);
    const double power = (1 - exponent_) * log_x;
    return std::fabs(power) < 1e-12 ? log_x : std::expm1(power) / (1 - exponent_);
  }
  double hat_inverse(double area) const {
    const double scaled = std::fmax(area * (1 - exponent_), -1);
    return std::exp(std::fabs(scaled) < 1e-12 ? area : std::log1p(scaled) / (1 - exponent_));
  }

  double exponent_, max_, low_ = 0, high_ = 0, shortcut_ = 0;
};

}  // namespace fleetsim
