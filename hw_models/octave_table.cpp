// Filling the knots.

#include "hw_models/octave_table.h"

#include <cmath>

#include "hw_models/check.h"

namespace fleetsim {

OctaveAxis::OctaveAxis(double largest) {
  CHECK(largest >= 1 && largest < 1e15, std::to_string(largest));
  while (knot(size_ - 1) < largest) ++size_;
}

double OctaveAxis::knot(std::size_t index) const {
  constexpr std::size_t kPerOctave = std::size_t{1} << kBits;
  const double within = 1 + static_cast<double>(index % kPerOctave) / kPerOctave;
  return std::ldexp(within, static_cast<int>(index / kPerOctave));
}

OctaveTable::OctaveTable(double largest_x, double largest_y,
                         const std::function<double(double, double)>& value)
    : x_(largest_x), y_(largest_y) {
  values_.reserve(x_.size() * y_.size());
  for (std::size_t i = 0; i < x_.size(); ++i)
    for (std::size_t j = 0; j < y_.size(); ++j) values_.push_back(value(x_.knot(i), y_.knot(j)));
}

}  // namespace fleetsim
