#pragma once
// Physical quantities as types with only the meaningful operators. GB = 10^9 bytes, GiB = 2^30
// bytes. Money, counts and ratios are plain numbers whose names carry the unit.

#include <compare>
#include <cstdint>

namespace fleetsim {

/// A duration as a real number of seconds; costs are summed in it and rounded once to SimTime.
struct Seconds {
  double value = 0;
  friend constexpr Seconds operator+(Seconds a, Seconds b) { return {a.value + b.value}; }
  friend constexpr Seconds operator-(Seconds a, Seconds b) { return {a.value - b.value}; }
  friend constexpr Seconds operator*(double factor, Seconds a) { return {factor * a.value}; }
  friend constexpr Seconds operator*(Seconds a, double factor) { return {factor * a.value}; }
  friend constexpr double operator/(Seconds a, Seconds b) { return a.value / b.value; }
  constexpr Seconds& operator+=(Seconds b) {
    value += b.value;
    return *this;
  }
  constexpr auto operator<=>(const Seconds&) const = default;
};

/// A whole number of bytes (memory sizes are exact).
struct Bytes {
  std::int64_t value = 0;
  friend constexpr Bytes operator+(Bytes a, Bytes b) { return {a.value + b.value}; }
  friend constexpr Bytes operator-(Bytes a, Bytes b) { return {a.value - b.value}; }
  friend constexpr Bytes operator*(std::int64_t factor, Bytes a) { return {factor * a.value}; }
  constexpr auto operator<=>(const Bytes&) const = default;
};

struct BytesPerSecond {
  double value = 0;
  constexpr auto operator<=>(const BytesPerSecond&) const = default;
};

/// Floating-point operations (a multiply-add counts two). Real, because sums exceed 2^63 quickly.
struct Flops {
  double value = 0;
  friend constexpr Flops operator+(Flops a, Flops b) { return {a.value + b.value}; }
  constexpr auto operator<=>(const Flops&) const = default;
};

struct FlopsPerSecond {
  double value = 0;
  constexpr auto operator<=>(const FlopsPerSecond&) const = default;
};

constexpr Seconds operator/(Bytes bytes, BytesPerSecond rate) {
  return {static_cast<double>(bytes.value) / rate.value};
}
constexpr Seconds operator/(Flops flops, FlopsPerSecond rate) { return {flops.value / rate.value}; }

}  // namespace fleetsim
