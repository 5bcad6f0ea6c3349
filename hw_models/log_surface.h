#pragma once
// A smooth positive factor over positive coordinates: the logarithm of the factor at the knots of a
// grid, linear in between in the logarithms of the coordinates, held constant outside.

#include <array>
#include <cstddef>
#include <string>
#include <vector>

namespace fleetsim {

inline constexpr std::size_t kMostAxes = 4;

class LogSurface {
 public:
  struct Axis {
    std::string name;
    std::vector<double> knots;  // positive, ascending, at least one
  };
  /// How a point lies to the measurements behind the surface.
  enum class Place { at_knot, inside, outside };
  struct Value {
    double factor = 1;
    Place place = Place::inside;
  };
  /// The corners around a point and their weights, for fitting: values().size() unknowns.
  struct Corners {
    std::array<std::size_t, std::size_t{1} << kMostAxes> index = {};
    std::array<double, std::size_t{1} << kMostAxes> weight = {};
    std::size_t count = 0;
  };

  /// The constant 1, without axes.
  LogSurface();
  /// `ln_factor` and `measured`: one entry a knot of the grid, the last axis fastest. A knot that
  /// is not measured was filled in by smoothness alone: near it a point counts as outside.
  LogSurface(std::vector<Axis> axes, std::vector<double> ln_factor, std::vector<char> measured);

  Value at(const std::array<double, kMostAxes>& coordinates) const;
  Corners corners(const std::array<double, kMostAxes>& coordinates) const;

  const std::vector<Axis>& axes() const { return axes_; }
  const std::vector<double>& ln_factor() const { return ln_factor_; }
  const std::vector<char>& measured() const { return measured_; }

 private:
  std::vector<Axis> axes_;
  std::vector<std::vector<double>> ln_knots_;
  std::vector<double> ln_factor_;
  std::vector<char> measured_;
};

}  // namespace fleetsim
