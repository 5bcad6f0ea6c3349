// Multilinear interpolation on a grid of logarithms.

#include "hw_models/log_surface.h"

#include <algorithm>
#include <cmath>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

/// Coordinates this close to a knot, relatively, are at it.
constexpr double kAtKnot = 1e-6;

}  // namespace

LogSurface::LogSurface() : ln_factor_{0.0}, measured_{1} {}

LogSurface::LogSurface(std::vector<Axis> axes, std::vector<double> ln_factor,
                       std::vector<char> measured)
    : axes_(std::move(axes)), ln_factor_(std::move(ln_factor)), measured_(std::move(measured)) {
  CHECK(axes_.size() <= kMostAxes, "axes");
  std::size_t size = 1;
  for (const Axis& axis : axes_) {
    CHECK(!axis.knots.empty() && axis.knots.front() > 0, axis.name);
    CHECK(std::is_sorted(axis.knots.begin(), axis.knots.end()), axis.name);
    size *= axis.knots.size();
    std::vector<double> logs;
    for (const double knot : axis.knots) logs.push_back(std::log(knot));
    ln_knots_.push_back(std::move(logs));
  }
  CHECK(ln_factor_.size() == size && measured_.size() == size, std::to_string(size));
}

LogSurface::Corners LogSurface::corners(const std::array<double, kMostAxes>& coordinates) const {
  Corners result;
  result.count = 1;
  result.weight[0] = 1;
  for (std::size_t a = 0; a < axes_.size(); ++a) {
    const std::vector<double>& logs = ln_knots_[a];
    CHECK(coordinates[a] > 0, axes_[a].name);
    const double x = std::log(coordinates[a]);
    std::size_t low = 0;
    double share = 0;  // of the upper knot
    if (x >= logs.back()) {
      low = logs.size() - 1;
    } else if (x > logs.front()) {
      low = static_cast<std::size_t>(std::upper_bound(logs.begin(), logs.end(), x) - logs.begin()) -
            1;
      share = (x - logs[low]) / (logs[low + 1] - logs[low]);
    }
    const std::size_t before = result.count;
    for (std::size_t i = 0; i < before; ++i) {
      const std::size_t base = result.index[i] * logs.size() + low;
      if (share > 0) {
        result.index[result.count] = base + 1;
        result.weight[result.count++] = result.weight[i] * share;
      }
      result.index[i] = base;
      result.weight[i] *= 1 - share;
    }
  }
  return result;
}

LogSurface::Value LogSurface::at(const std::array<double, kMostAxes>& coordinates) const {
  const Corners around = corners(coordinates);
  double ln = 0;
  bool known = true, at_knot = false;
  for (std::size_t i = 0; i < around.count; ++i) {
    ln += around.weight[i] * ln_factor_[around.index[i]];
    if (around.weight[i] > kAtKnot && measured_[around.index[i]] == 0) known = false;
    if (around.weight[i] > 1 - kAtKnot) at_knot = true;
  }
  for (std::size_t a = 0; a < axes_.size(); ++a) {
    const double lowest = axes_[a].knots.front(), highest = axes_[a].knots.back();
    if (coordinates[a] < lowest * (1 - kAtKnot) || coordinates[a] > highest * (1 + kAtKnot))
      known = false;
  }
  const Place place = !known ? Place::outside : at_knot ? Place::at_knot : Place::inside;
  return {std::exp(ln), place};
}

}  // namespace fleetsim
