#pragma once
// float64 rounded to the device's number formats in one step, to nearest even.

#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// float32 "to odd": inexact results get an odd last bit, so that a further rounding to fewer bits
/// falls as if it came from the float64. Source: Boldo and Melquiond, IEEE ToC 57 (2008).
inline float rounded_to_odd(double value) {
  const auto nearest = static_cast<float>(value);
  if (static_cast<double>(nearest) == value || value != value || std::isinf(nearest))
    return nearest;
  std::uint32_t bits = bits_of(nearest);
  if (std::fabs(static_cast<double>(nearest)) > std::fabs(value)) --bits;  // towards zero
  return float_of_bits(bits | 1U);
}

inline Bf16 nearest_bf16(double value) { return to_bf16(rounded_to_odd(value)); }

}  // namespace fleetsim::kernels
