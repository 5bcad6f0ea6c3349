// A penalised least-squares problem a surface, solved again with less weight on outliers.

#include "calibrate/surface_fit.h"

#include <algorithm>
#include <cmath>

#include "calibrate/least_squares.h"
#include "hw_models/check.h"

namespace fleetsim {
namespace {

constexpr double kSupport = 0.25;           // of a point's weight, for a knot to count as measured
constexpr double kUnmeasuredWeight = 1e-3;  // of a measured knot's, when a curve is made to rise

std::size_t size_of(const std::vector<LogSurface::Axis>& axes) {
  std::size_t size = 1;
  for (const LogSurface::Axis& axis : axes) size *= axis.knots.size();
  return size;
}

/// Distance in the flat index between neighbours along `axis`.
std::size_t stride_of(const std::vector<LogSurface::Axis>& axes, std::size_t axis) {
  std::size_t stride = 1;
  for (std::size_t a = axis + 1; a < axes.size(); ++a) stride *= axes[a].knots.size();
  return stride;
}

/// Calls `each(first)` with the flat index of the first knot of every curve along `axis`.
template <class Each>
void each_curve(const std::vector<LogSurface::Axis>& axes, std::size_t axis, const Each& each) {
  const std::size_t stride = stride_of(axes, axis), length = axes[axis].knots.size();
  for (std::size_t outer = 0; outer < size_of(axes); outer += stride * length)
    for (std::size_t inner = 0; inner < stride; ++inner) each(outer + inner);
}

void add_penalties(const std::vector<LogSurface::Axis>& axes, const SmoothingRule& rule,
                   SparseLeastSquares& problem) {
  for (std::size_t a = 0; a < axes.size(); ++a) {
    const std::vector<double>& knots = axes[a].knots;
    const std::size_t stride = stride_of(axes, a);
    for (std::size_t j = 0; j + 1 < knots.size(); ++j) {
      const double right = std::log(knots[j + 1] / knots[j]);
      if (knots[j + 1] < kToothRatio * knots[j]) continue;
      each_curve(axes, a, [&](std::size_t first) {
        const std::size_t here = first + j * stride;
        problem.add({{here, -1}, {here + stride, 1}}, 0, rule.slope / right);
      });
      if (j == 0 || knots[j] < kToothRatio * knots[j - 1]) continue;
      // second derivative of the parabola through three knots, over the half intervals around
      const double left = std::log(knots[j] / knots[j - 1]);
      const double below = 2 / (left * (left + right)), above = 2 / (right * (left + right));
      each_curve(axes, a, [&](std::size_t first) {
        const std::size_t here = first + j * stride;
        problem.add({{here - stride, below}, {here, -below - above}, {here + stride, above}}, 0,
                    rule.bending * (left + right) / 2);
      });
    }
  }
}

}  // namespace

LogSurface fit_surface(const std::vector<SurfacePoint>& points, std::vector<LogSurface::Axis> axes,
                       const SmoothingRule& rule) {
  const std::size_t size = size_of(axes);
  const LogSurface grid(axes, std::vector<double>(size, 0), std::vector<char>(size, 0));
  SparseLeastSquares problem(size);
  std::vector<LogSurface::Corners> corners;
  corners.reserve(points.size());
  std::vector<double> support(size, 0);
  std::vector<SparseLeastSquares::Term> terms;
  for (const SurfacePoint& point : points) {
    corners.push_back(grid.corners(point.at));
    const LogSurface::Corners& around = corners.back();
    terms.clear();
    for (std::size_t i = 0; i < around.count; ++i) {
      terms.emplace_back(around.index[i], around.weight[i]);
      support[around.index[i]] += around.weight[i];
    }
    problem.add(terms, point.ln_factor, 1);
  }
  add_penalties(axes, rule, problem);

  std::vector<double> values, weights(points.size(), 1);
  for (int round = 0; round < rule.rounds; ++round) {
    problem.reweigh(weights);
    values = problem.solve(values);
    for (std::size_t p = 0; p < points.size(); ++p) {
      double predicted = 0;
      for (std::size_t i = 0; i < corners[p].count; ++i)
        predicted += corners[p].weight[i] * values[corners[p].index[i]];
      const double off = std::abs(predicted - points[p].ln_factor);
      weights[p] = off > rule.outlier ? rule.outlier / off : 1;
    }
  }
  std::vector<char> measured(size);
  for (std::size_t i = 0; i < size; ++i) measured[i] = support[i] >= kSupport;
  return {std::move(axes), std::move(values), std::move(measured)};
}

std::vector<double> non_decreasing(const std::vector<double>& values,
                                   const std::vector<double>& weights) {
  CHECK(values.size() == weights.size(), std::to_string(weights.size()));
  struct Pool {
    double sum, weight;
    std::size_t count;
  };
  std::vector<Pool> pools;
  for (std::size_t i = 0; i < values.size(); ++i) {
    pools.push_back({weights[i] * values[i], weights[i], 1});
    while (pools.size() > 1) {
      const Pool last = pools.back();
      Pool& before = pools[pools.size() - 2];
      if (before.sum * last.weight <= last.sum * before.weight) break;
      before.sum += last.sum;
      before.weight += last.weight;
      before.count += last.count;
      pools.pop_back();
    }
  }
  std::vector<double> result;
  for (const Pool& pool : pools) result.insert(result.end(), pool.count, pool.sum / pool.weight);
  return result;
}

LogSurface made_monotone(const LogSurface& surface, const std::vector<double>& ln_base,
                         std::size_t axis) {
  const std::vector<LogSurface::Axis>& axes = surface.axes();
  std::vector<double> ln_factor = surface.ln_factor();
  CHECK(axis < axes.size() && ln_base.size() == ln_factor.size(), std::to_string(axis));
  const std::size_t stride = stride_of(axes, axis), length = axes[axis].knots.size();
  each_curve(axes, axis, [&](std::size_t first) {
    std::vector<double> curve, weights;
    for (std::size_t j = 0; j < length; ++j) {
      const std::size_t knot = first + j * stride;
      curve.push_back(ln_base[knot] + ln_factor[knot]);
      weights.push_back(surface.measured()[knot] != 0 ? 1 : kUnmeasuredWeight);
    }
    curve = non_decreasing(curve, weights);
    for (std::size_t j = 0; j < length; ++j)
      ln_factor[first + j * stride] = curve[j] - ln_base[first + j * stride];
  });
  return {axes, std::move(ln_factor), surface.measured()};
}

}  // namespace fleetsim
