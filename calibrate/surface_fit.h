#pragma once
// Smooth surfaces through scattered measurements.

#include <array>
#include <vector>

#include "hw_models/log_surface.h"

namespace fleetsim {

/// ln(measured time / base time) at a place.
struct SurfacePoint {
  std::array<double, kMostAxes> at = {};
  double ln_factor = 0;
};

struct SmoothingRule {
  /// Weight of the integrated squared second derivative along each axis, in units of a point's
  /// weight; more where an axis has few points for a knot.
  double bending = 0.03;
  /// Where nothing is measured a surface is drawn flat.
  double slope = 1e-3;
  /// Deviations beyond this count linearly (Huber): noise of single measurements.
  double outlier = 0.05;
  int rounds = 4;  // of reweighting
};

/// Knots closer than this, as a ratio, are two sides of a tooth: nothing smooths across.
inline constexpr double kToothRatio = 1.07;

/// Least squares over the points with a penalty for bending. A knot counts as measured when
/// points' weights there add up to a quarter.
LogSurface fit_surface(const std::vector<SurfacePoint>& points, std::vector<LogSurface::Axis> axes,
                       const SmoothingRule& rule);

/// Makes ln_base + surface non-decreasing along `axis` on every curve of knots, by pooling adjacent
/// violators (means of the logarithms). Knots that are not measured give way to those that are.
/// `ln_base`: one a knot.
LogSurface made_monotone(const LogSurface& surface, const std::vector<double>& ln_base,
                         std::size_t axis);

/// The values nearest to `values` (least squares, weights above 0) that never fall.
std::vector<double> non_decreasing(const std::vector<double>& values,
                                   const std::vector<double>& weights);

}  // namespace fleetsim
