// Eigen behind two functions.

#include "calibrate/least_squares.h"

#include <Eigen/Dense>
#include <Eigen/IterativeLinearSolvers>
#include <Eigen/SparseCore>
#include <algorithm>
#include <cmath>
#include <string>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

using Index = Eigen::Index;
/// A gradient this small, relative to the columns and the target, is none.
constexpr double kGradient = 1e-10;

/// Least squares over the columns in `chosen`; zeros elsewhere.
Eigen::VectorXd over_columns(const Eigen::MatrixXd& a, const Eigen::VectorXd& b,
                             const std::vector<Index>& chosen) {
  Eigen::MatrixXd some(a.rows(), static_cast<Index>(chosen.size()));
  for (std::size_t i = 0; i < chosen.size(); ++i)
    some.col(static_cast<Index>(i)) = a.col(chosen[i]);
  const Eigen::VectorXd found = some.colPivHouseholderQr().solve(b);
  Eigen::VectorXd all = Eigen::VectorXd::Zero(a.cols());
  for (std::size_t i = 0; i < chosen.size(); ++i) all[chosen[i]] = found[static_cast<Index>(i)];
  return all;
}

}  // namespace

std::vector<double> non_negative_least_squares(const std::vector<std::vector<double>>& columns,
                                               const std::vector<double>& target) {
  const Index rows = static_cast<Index>(target.size()), count = static_cast<Index>(columns.size());
  Eigen::MatrixXd a(rows, count);
  std::vector<double> scale(columns.size(), 0);  // columns of very different units
  for (Index j = 0; j < count; ++j) {
    const std::vector<double>& column = columns[static_cast<std::size_t>(j)];
    CHECK(column.size() == target.size(), std::to_string(column.size()));
    a.col(j) = Eigen::Map<const Eigen::VectorXd>(column.data(), rows);
    double& norm = scale[static_cast<std::size_t>(j)];
    norm = a.col(j).norm();
    if (norm > 0) a.col(j) /= norm;
  }
  const Eigen::VectorXd b = Eigen::Map<const Eigen::VectorXd>(target.data(), rows);
  const double least_gradient = kGradient * b.norm();

  std::vector<Index> chosen;  // may be above 0; ascending
  Eigen::VectorXd x = Eigen::VectorXd::Zero(count);
  // Each round lowers the residual, so no set of columns comes twice; the bound is for bad luck in
  // the last bits.
  for (Index round = 0; round < 3 * count + 3; ++round) {
    const Eigen::VectorXd gradient = a.transpose() * (b - a * x);
    Index best = -1;
    for (Index j = 0; j < count; ++j) {
      if (std::find(chosen.begin(), chosen.end(), j) != chosen.end()) continue;
      if (gradient[j] > least_gradient && (best < 0 || gradient[j] > gradient[best])) best = j;
    }
    if (best < 0) break;
    chosen.insert(std::lower_bound(chosen.begin(), chosen.end(), best), best);
    while (!chosen.empty()) {
      const Eigen::VectorXd wanted = over_columns(a, b, chosen);
      // as far towards it as nothing falls below 0
      double step = 1;
      for (const Index j : chosen)
        if (wanted[j] <= 0) step = std::min(step, x[j] / (x[j] - wanted[j] + 1e-300));
      x += step * (wanted - x);
      if (step >= 1) break;
      std::vector<Index> kept;
      for (const Index j : chosen) {
        if (wanted[j] > 0 || x[j] > 1e-14) {
          kept.push_back(j);
        } else {
          x[j] = 0;
        }
      }
      if (kept.size() == chosen.size()) break;
      chosen = std::move(kept);
    }
  }
  std::vector<double> result(columns.size(), 0);
  for (std::size_t j = 0; j < result.size(); ++j)
    if (scale[j] > 0) result[j] = std::max(0.0, x[static_cast<Index>(j)]) / scale[j];
  return result;
}

void SparseLeastSquares::add(const std::vector<Term>& terms, double target, double weight) {
  for (const Term& term : terms) CHECK(term.first < unknowns_, std::to_string(term.first));
  terms_.insert(terms_.end(), terms.begin(), terms.end());
  begins_.push_back(terms_.size());
  targets_.push_back(target);
  weights_.push_back(weight);
}

void SparseLeastSquares::reweigh(const std::vector<double>& weights) {
  CHECK(weights.size() <= weights_.size(), std::to_string(weights.size()));
  std::copy(weights.begin(), weights.end(), weights_.begin());
}

std::vector<double> SparseLeastSquares::solve(const std::vector<double>& guess) const {
  const Index unknowns = static_cast<Index>(unknowns_);
  std::vector<Eigen::Triplet<double>> triplets;
  triplets.reserve(terms_.size());
  Eigen::VectorXd right(static_cast<Index>(targets_.size()));
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    const double root = std::sqrt(weights_[i]);
    right[static_cast<Index>(i)] = root * targets_[i];
    for (std::size_t t = begins_[i]; t < begins_[i + 1]; ++t)
      triplets.emplace_back(static_cast<int>(i), static_cast<int>(terms_[t].first),
                            root * terms_[t].second);
  }
  Eigen::SparseMatrix<double> equations(right.size(), unknowns);
  equations.setFromTriplets(triplets.begin(), triplets.end());
  Eigen::SparseMatrix<double> normal = equations.transpose() * equations;
  Eigen::SparseMatrix<double> ridge(unknowns, unknowns);
  ridge.setIdentity();
  normal += kRidge * ridge;
  const Eigen::VectorXd projected = equations.transpose() * right;

  // Conjugate gradients: grids of four axes fill a factorisation up, and one digit beyond the
  // file's thousandths is enough.
  Eigen::ConjugateGradient<Eigen::SparseMatrix<double>, Eigen::Lower | Eigen::Upper> solver;
  solver.setTolerance(1e-6);
  solver.setMaxIterations(20 * unknowns + 1000);
  solver.compute(normal);
  Eigen::VectorXd start = Eigen::VectorXd::Zero(unknowns);
  if (!guess.empty()) {
    CHECK(guess.size() == unknowns_, std::to_string(guess.size()));
    start = Eigen::Map<const Eigen::VectorXd>(guess.data(), unknowns);
  }
  const Eigen::VectorXd found = solver.solveWithGuess(projected, start);
  CHECK(solver.info() == Eigen::Success, std::to_string(solver.error()));
  return {found.data(), found.data() + found.size()};
}

}  // namespace fleetsim
