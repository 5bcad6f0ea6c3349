// Azure LLM inference traces (Azure/AzurePublicDataset): TIMESTAMP,ContextTokens,GeneratedTokens.
//
// Timestamps are UTC wall-clock times, "2023-11-16 18:17:03.9799600" (2024: fewer digits and
// "+00:00" at the end), read exactly to the nanosecond; the first row arrives at 0.

#include <fmt/format.h>

#include <optional>

#include "hw_models/csv_table.h"
#include "sim/workload/trace.h"

namespace fleetsim {

namespace {

/// `count` digits at `text`'s beginning, which is removed; nothing when there are fewer.
std::optional<int> take_digits(std::string_view& text, std::size_t count) {
  if (text.size() < count) return std::nullopt;
  int value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return value;
}

bool take_char(std::string_view& text, char expected) {
  if (text.empty() || text.front() != expected) return false;
  text.remove_prefix(1);
  return true;
}

/// Days from 1970-01-01 in the Gregorian calendar (H. Hinnant, "chrono-compatible date
/// algorithms").
std::int64_t days_from_civil(int year, int month, int day) {
  year -= month <= 2 ? 1 : 0;
  const int era = year / 400;
  const int year_of_era = year - era * 400;
  const int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return static_cast<std::int64_t>(era) * 146097 + day_of_era - 719468;
}

/// Nanoseconds since 1970 of "YYYY-MM-DD hh:mm:ss[.fraction][+00:00]", or nothing.
std::optional<SimTime> parse_timestamp(std::string_view text) {
  const auto year = take_digits(text, 4);
  if (!year || !take_char(text, '-')) return std::nullopt;
  const auto month = take_digits(text, 2);
  if (!month || *month < 1 || *month > 12 || !take_char(text, '-')) return std::nullopt;
  const auto day = take_digits(text, 2);
  if (!day || *day < 1 || *day > 31 || !take_char(text, ' ')) return std::nullopt;
  const auto hour = take_digits(text, 2);
  if (!hour || *hour > 23 || !take_char(text, ':')) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute || *minute > 59 || !take_char(text, ':')) return std::nullopt;
  const auto second = take_digits(text, 2);
  if (!second || *second > 60 || *year < 1970 || *year > 2200) return std::nullopt;
  SimTime fraction = 0;
  if (take_char(text, '.')) {
    SimTime unit = kNanosecondsPerSecond / 10;
    if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
    for (; !text.empty() && text[0] >= '0' && text[0] <= '9'; unit /= 10) {
      fraction += unit * (text[0] - '0');
      text.remove_prefix(1);
    }
  }
  if (!text.empty() && text != "+00:00") return std::nullopt;
  const std::int64_t seconds =
      days_from_civil(*year, *month, *day) * 86400 + *hour * 3600 + *minute * 60 + *second;
  return seconds * kNanosecondsPerSecond + fraction;
}

}  // namespace

Trace read_azure_trace(const std::string& path, Problems& problems) {
  enum Column { timestamp, context, generated };
  CsvTable table(path, {{"TIMESTAMP"}, {"ContextTokens"}, {"GeneratedTokens"}},
                 CsvTable::Others::refused, problems);
  Trace trace;
  std::optional<SimTime> start;
  SimTime before = 0;
  while (table.next_row()) {
    const auto time = parse_timestamp(table.cell(timestamp));
    const auto prompt = table.tokens(context, 1);
    const auto output = table.tokens(generated, 0);
    if (!time) {
      table.fault(timestamp, fmt::format("TIMESTAMP must look like 2023-11-16 18:17:03.9799600, "
                                         "but is {}",
                                         in_quotes(table.cell(timestamp))));
      continue;
    }
    if (!start) start = before = *time;
    if (*time < before) {
      table.fault(timestamp, unsorted_message(*time - *start, before - *start));
    }
    before = *time;
    if (!prompt || !output) continue;
    trace.arrival.push_back(*time - *start);
    trace.prompt_tokens.push_back(*prompt);
    trace.output_tokens.push_back(*output);
  }
  return trace;
}

}  // namespace fleetsim
