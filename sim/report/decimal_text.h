#pragma once
// Numbers as text in output files: locale-free, exact for clock times, shortest round trip for
// doubles.

#include <fmt/format.h>

#include <iterator>
#include <string>
#include <string_view>

#include "sim/core/sim_time.h"

namespace fleetsim {

/// Appends a span of the clock in seconds, exact to the nanosecond, without trailing zeros:
/// 1'500'000'000 -> "1.5", 0 -> "0".
inline void append_seconds(fmt::memory_buffer& out, SimTime time) {
  if (time < 0) {
    out.push_back('-');
    time = -time;
  }
  const SimTime whole = time / kNanosecondsPerSecond;
  SimTime rest = time % kNanosecondsPerSecond;
  fmt::format_to(std::back_inserter(out), "{}", whole);
  if (rest == 0) return;
  char digits[10] = {'.'};
  for (int i = 9; i >= 1; --i, rest /= 10) digits[i] = static_cast<char>('0' + rest % 10);
  std::size_t length = sizeof digits;
  while (digits[length - 1] == '0') --length;
  out.append(digits, digits + length);
}

/// Appends a double as the shortest text that reads back to the same value. Valid: finite.
inline void append_double(fmt::memory_buffer& out, double value) {
  fmt::format_to(std::back_inserter(out), "{}", value);
}

inline void append_text(fmt::memory_buffer& out, std::string_view text) {
  out.append(text.data(), text.data() + text.size());
}

/// Appends `text` as a JSON string, quotes included.
void append_json_string(fmt::memory_buffer& out, std::string_view text);

/// Appends a CSV field: quoted when it holds a comma, a quote or a line end (RFC 4180).
void append_csv_field(fmt::memory_buffer& out, std::string_view text);

/// A duration for people, with three significant digits: "2.91 s", "250 ms", "12.4 µs", "3.5 min".
/// Infinity (an SLO percentile that misses reach) is "not reached".
std::string duration_text(double seconds, int significant = 3);
/// A number for people: "1,234", "0.125", "12.3".
std::string number_text(double value, int significant = 3);
/// A whole number with thousands separators.
std::string count_text(std::int64_t value);
/// "97.3 %"; never rounds a share below one up to "100 %".
std::string percent_text(double share);
/// Binary sizes for people: "80.0 GiB".
std::string bytes_text(double bytes);
/// "$1,234" or "$0.00123".
std::string money_text(double usd);

}  // namespace fleetsim
