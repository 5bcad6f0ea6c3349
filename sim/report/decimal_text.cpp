// Numbers for people follow one rule everywhere: three significant digits, the unit that keeps them
// short, and no rounding that changes the meaning (99.98 % does not become 100 %).

#include "sim/report/decimal_text.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace fleetsim {

void append_json_string(fmt::memory_buffer& out, std::string_view text) {
  out.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

void append_csv_field(fmt::memory_buffer& out, std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return append_text(out, text);
  out.push_back('"');
  for (const char c : text) {
    if (c == '"') out.push_back('"');
    out.push_back(c);
  }
  out.push_back('"');
}

namespace {

std::string with_separators(std::string digits) {
  const std::size_t sign = !digits.empty() && digits[0] == '-' ? 1 : 0;
  std::size_t end = digits.find('.');
  if (end == std::string::npos) end = digits.size();
  for (std::size_t at = end; at > sign + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

/// Significant digits without exponent: 1234.6 at three digits stays "1,235".
std::string significant_digits(double value, int significant) {
  if (value == 0) return "0";
  const int magnitude = static_cast<int>(std::floor(std::log10(std::fabs(value)) + 1e-12));
  const int decimals = std::clamp(significant - 1 - magnitude, 0, 12);
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (text.find('.') != std::string::npos) {
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
  }
  return with_separators(text);
}

}  // namespace

std::string number_text(double value, int significant) {
  if (!std::isfinite(value)) return "not reached";
  return significant_digits(value, significant);
}

std::string count_text(std::int64_t value) { return with_separators(fmt::format("{}", value)); }

std::string duration_text(double seconds, int significant) {
  if (!std::isfinite(seconds)) return "not reached";
  const double size = std::fabs(seconds);
  struct Unit {
    double above, seconds;
    const char* name;
  };
  static constexpr Unit kUnits[] = {{172'800, 86'400, "days"}, {7'200, 3'600, "h"},
                                    {180, 60, "min"},          {0.9995, 1, "s"},
                                    {0.9995e-3, 1e-3, "ms"},   {0, 1e-6, "µs"}};
  if (size == 0) return "0 s";
  for (const Unit& unit : kUnits)
    if (size >= unit.above)
      return significant_digits(seconds / unit.seconds, significant) + " " + unit.name;
  return significant_digits(seconds, significant) + " s";
}

std::string percent_text(double share) {
  const double percent = share * 100;
  for (int decimals = 1; decimals <= 6; ++decimals) {
    std::string text = fmt::format("{:.{}f}", percent, decimals);
    const bool hides_misses = share < 1 && text.rfind("100", 0) == 0;
    const bool hides_hits = share > 0 && text.find_first_not_of("0.") == std::string::npos;
    if (!hides_misses && !hides_hits) {
      if (decimals == 1 && text.ends_with(".0")) text.resize(text.size() - 2);
      return text + " %";
    }
  }
  return fmt::format("{} %", percent);
}

std::string bytes_text(double bytes) {
  const double gib = bytes / (1024.0 * 1024 * 1024);
  if (std::fabs(gib) >= 1 || bytes == 0) return significant_digits(gib, 3) + " GiB";
  return significant_digits(bytes / (1024.0 * 1024), 3) + " MiB";
}

std::string money_text(double usd) {
  if (!std::isfinite(usd)) return "not reached";
  if (std::fabs(usd) >= 100) return "$" + with_separators(fmt::format("{:.0f}", usd));
  if (std::fabs(usd) >= 1) return "$" + fmt::format("{:.2f}", usd);
  return "$" + significant_digits(usd, 3);
}

}  // namespace fleetsim
