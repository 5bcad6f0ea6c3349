#pragma once
// A function of two positive numbers, tabulated for lookups of a few nanoseconds: knots at
// 2^e (1 + j / 8), bilinear in the numbers themselves between them. No logarithm is taken.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace fleetsim {

/// One axis from 1 to 2^octaves, eight knots an octave: every whole number to 16 is a knot.
class OctaveAxis {
 public:
  static constexpr int kBits = 3;

  /// Covers 1 to at least `largest`.
  explicit OctaveAxis(double largest = 1);
  std::size_t size() const { return size_; }
  double knot(std::size_t index) const;

  struct Position {
    std::size_t low;
    double share;  // of the knot above `low`; beyond 1 over the last knot
  };
  /// x > 0. Under 1 the first knot stands; over the last one its interval is continued.
  Position position(double x) const {
    if (x < 1) x = 1;
    const std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
    constexpr int kShift = 52 - kBits;
    const std::uint64_t index = (bits >> kShift) - (std::uint64_t{1023} << kBits);
    if (index + 1 < size_) {
      const std::uint64_t rest = bits & ((std::uint64_t{1} << kShift) - 1);
      return {index, static_cast<double>(rest) * (1.0 / (std::uint64_t{1} << kShift))};
    }
    const std::size_t low = size_ - 2;
    return {low, (x - knot(low)) / (knot(low + 1) - knot(low))};
  }

 private:
  std::size_t size_ = 2;
};

class OctaveTable {
 public:
  OctaveTable() = default;
  /// Tabulates `value` from 1 to `largest_x` and to `largest_y`.
  OctaveTable(double largest_x, double largest_y,
              const std::function<double(double, double)>& value);

  double at(double x, double y) const {
    const OctaveAxis::Position px = x_.position(x), py = y_.position(y);
    const double* low = &values_[px.low * y_.size() + py.low];
    const double* high = low + y_.size();
    const double a = low[0] + py.share * (low[1] - low[0]);
    const double b = high[0] + py.share * (high[1] - high[0]);
    return a + px.share * (b - a);
  }
  bool empty() const { return values_.empty(); }

 private:
  OctaveAxis x_, y_;
  std::vector<double> values_;
};

}  // namespace fleetsim
