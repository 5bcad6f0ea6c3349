// A unit is a power of ten and a whole factor. The power of ten is joined to the written digits
// before they become a double, so that 20us is the double nearest to 0.00002 and 0.1s is exactly
// 10^8 ns.

#include "sim/scenario/quantity.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>

namespace fleetsim {
namespace {

struct Unit {
  const char* name;
  int exponent;       // of ten
  double factor = 1;  // on top of it
  double divisor = 1;
};

constexpr Unit kTime[] = {{"ns", 0},      {"us", 3},      {"ms", 6},      {"s", 9},
                          {"min", 9, 60}, {"h", 9, 3600}, {"d", 9, 86400}};
constexpr Unit kSeconds[] = {{"ns", -9},     {"us", -6},     {"ms", -3},     {"s", 0},
                             {"min", 0, 60}, {"h", 0, 3600}, {"d", 0, 86400}};
constexpr Unit kRate[] = {{"/s", 0}, {"/min", 0, 1, 60}, {"/h", 0, 1, 3600}};
constexpr double kKi = 1024;
constexpr Unit kBytes[] = {{"B", 0},
                           {"kB", 3},
                           {"MB", 6},
                           {"GB", 9},
                           {"TB", 12},
                           {"KiB", 0, kKi},
                           {"MiB", 0, kKi* kKi},
                           {"GiB", 0, kKi* kKi* kKi},
                           {"TiB", 0, kKi* kKi* kKi* kKi}};
constexpr Unit kBandwidth[] = {{"B/s", 0}, {"kB/s", 3}, {"MB/s", 6}, {"GB/s", 9}, {"TB/s", 12}};

struct Family {
  std::span<const Unit> units;
  const char* description;
  const char* base;
};

Family family(Dimension dimension) {
  switch (dimension) {
    case Dimension::time:
      return {kTime, "a time such as 3s or 250ms", "ns"};
    case Dimension::seconds:
      return {kSeconds, "a time such as 20us or 30ns", "s"};
    case Dimension::rate:
      return {kRate, "a rate such as 2000/s or 120/min", "/s"};
    case Dimension::bytes:
      return {kBytes, "a size such as 80GiB or 80GB", "B"};
    case Dimension::bandwidth:
      return {kBandwidth, "a bandwidth such as 4.8TB/s", "B/s"};
  }
  return {};
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// A text split into digits, power of ten and what follows.
struct SplitNumber {
  std::string_view digits;  // sign, digits, fraction
  int exponent = 0;
  std::string_view unit;
};

std::optional<SplitNumber> split_number(std::string_view text) {
  std::size_t at = !text.empty() && text[0] == '-' ? 1 : 0;
  const std::size_t first = at;
  while (at < text.size() && is_digit(text[at])) ++at;
  if (at == first) return std::nullopt;
  if (at + 1 < text.size() && text[at] == '.' && is_digit(text[at + 1])) {
    ++at;
    while (at < text.size() && is_digit(text[at])) ++at;
  }
  SplitNumber split;
  split.digits = text.substr(0, at);
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    std::size_t end = at + 1;
    const bool negative = end < text.size() && text[end] == '-';
    if (end < text.size() && (text[end] == '-' || text[end] == '+')) ++end;
    const std::size_t digits = end;
    int value = 0;
    while (end < text.size() && is_digit(text[end])) {
      if (value < 100000) value = 10 * value + (text[end] - '0');
      ++end;
    }
    if (end > digits) {
      split.exponent = negative ? -value : value;
      at = end;
    }
  }
  split.unit = text.substr(at);
  return split;
}

std::variant<double, QuantityFault> to_double(std::string_view digits, int exponent) {
  const std::string text = fmt::format("{}e{}", digits, exponent);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) {
    // from_chars says the same for too large and for too small; only digits tell them apart
    return QuantityFault::out_of_range;
  }
  if (error != std::errc() || end != text.data() + text.size()) return QuantityFault::not_a_number;
  return value;
}

}  // namespace

std::variant<double, QuantityFault> parse_quantity(std::string_view text, Dimension dimension) {
  const auto split = split_number(text);
  if (!split) return QuantityFault::not_a_number;
  if (split->unit.empty()) return QuantityFault::unit_missing;
  for (const Unit& unit : family(dimension).units) {
    if (split->unit != unit.name) continue;
    const auto decimal = to_double(split->digits, split->exponent + unit.exponent);
    if (!std::holds_alternative<double>(decimal)) return decimal;
    const double value = std::get<double>(decimal) * unit.factor / unit.divisor;
    if (!std::isfinite(value)) return QuantityFault::out_of_range;
    return value;
  }
  return QuantityFault::unit_unknown;
}

std::variant<double, QuantityFault> parse_number(std::string_view text) {
  const auto split = split_number(text);
  if (!split || !split->unit.empty()) return QuantityFault::not_a_number;
  return to_double(split->digits, split->exponent);
}

std::string unit_names(Dimension dimension) {
  std::string names;
  for (const Unit& unit : family(dimension).units) {
    if (!names.empty()) names += ", ";
    names += unit.name;
  }
  return names;
}

const char* describe(Dimension dimension) { return family(dimension).description; }

std::string quantity_pattern(Dimension dimension) {
  std::string units;
  for (const Unit& unit : family(dimension).units) {
    if (!units.empty()) units += "|";
    units += unit.name;
  }
  return "^[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]+)?(" + units + ")$";
}

std::string format_time(SimTime time) {
  struct Step {
    const char* unit;
    SimTime nanoseconds;
  };
  constexpr std::array<Step, 6> kSteps = {{{"h", 3600 * kNanosecondsPerSecond},
                                           {"min", 60 * kNanosecondsPerSecond},
                                           {"s", kNanosecondsPerSecond},
                                           {"ms", 1'000'000},
                                           {"us", 1'000},
                                           {"ns", 1}}};
  if (time == 0) return "0s";
  for (const Step& step : kSteps)
    if (time % step.nanoseconds == 0)
      return fmt::format("{}{}", time / step.nanoseconds, step.unit);
  return {};
}

std::string format_bytes(std::int64_t bytes) {
  constexpr std::array<const char*, 5> kNames = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t step = 0;
  while (step + 1 < kNames.size() && bytes != 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++step;
  }
  return fmt::format("{}{}", bytes, kNames[step]);
}

std::string format_in_base_unit(double value, Dimension dimension) {
  return fmt::format("{}{}", value, family(dimension).base);
}

}  // namespace fleetsim
