#pragma once
// The two least-squares problems of fits, and the only door to Eigen. Both give the same bits for
// the same input: nothing in them depends on threads or on time.

#include <cstddef>
#include <utility>
#include <vector>

namespace fleetsim {

/// x >= 0 that minimises |sum_j x_j columns[j] - target| (Lawson-Hanson). Columns of equal length,
/// few; a column of zeros gets 0. CHECKs on lengths.
std::vector<double> non_negative_least_squares(const std::vector<std::vector<double>>& columns,
                                               const std::vector<double>& target);

/// sum of `weight` x (sum_i coefficient_i x value[unknown_i] - target)^2 over equations, to be
/// minimised over the unknowns. Every unknown is also drawn to 0 by kRidge, so that one which
/// stands in no equation gets 0.
class SparseLeastSquares {
 public:
  using Term = std::pair<std::size_t, double>;  // unknown, coefficient
  static constexpr double kRidge = 1e-7;

  explicit SparseLeastSquares(std::size_t unknowns) : unknowns_(unknowns) {}
  /// Terms of an unknown that stands twice are added up.
  void add(const std::vector<Term>& terms, double target, double weight);
  std::size_t equations() const { return targets_.size(); }
  /// Replaces the weights of the first weights.size() equations.
  void reweigh(const std::vector<double>& weights);
  /// Starts from `guess` (empty: from 0); to 1e-6 of the right side, or CHECK fails.
  std::vector<double> solve(const std::vector<double>& guess = {}) const;

 private:
  std::size_t unknowns_;
  std::vector<std::size_t> begins_ = {0};  // of an equation's terms; one more than equations
  std::vector<Term> terms_;
  std::vector<double> targets_, weights_;
};

}  // namespace fleetsim
