#pragma once
// Numbers written with their unit: `250ms`, `2000/s`, `80GiB`. One table of units for reading,
// writing, error messages and the schema.

#include <string>
#include <string_view>
#include <variant>

#include "sim/core/sim_time.h"

namespace fleetsim {

/// Families of units that belong to one kind of quantity, each with its base unit.
enum class Dimension {
  time,       // base 1 ns, so that whole nanoseconds are exact
  seconds,    // base 1 s: the same units where fractions of a nanosecond count
  rate,       // base 1/s
  bytes,      // base 1 B; GB = 10^9, GiB = 2^30
  bandwidth,  // base 1 B/s
};

/// What is wrong with a text that should be a quantity.
enum class QuantityFault { not_a_number, unit_missing, unit_unknown, out_of_range };

/// The value in the base unit of `dimension`, correctly rounded for decimal units.
std::variant<double, QuantityFault> parse_quantity(std::string_view text, Dimension dimension);
/// A plain number without unit: decimal digits, optional fraction and exponent; no sign but '-'.
std::variant<double, QuantityFault> parse_number(std::string_view text);

/// "ns, us, ms, s, min, h, d"
std::string unit_names(Dimension dimension);
/// "a time such as 3s or 250ms"
const char* describe(Dimension dimension);
/// Regular expression of the accepted spelling, for the schema.
std::string quantity_pattern(Dimension dimension);

/// Exact, in the largest unit that divides: 1500ms, 3s, 10min.
std::string format_time(SimTime time);
/// Exact, in the largest binary unit that divides: 80GiB, else in B.
std::string format_bytes(std::int64_t bytes);
/// Shortest decimal that reads back as the same double, with the base unit's name: 2e-05s, 2000/s.
std::string format_in_base_unit(double value, Dimension dimension);

}  // namespace fleetsim
