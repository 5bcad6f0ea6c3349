// Mooncake traces (kvcache-ai/Mooncake, FAST'25): one JSON object a line with timestamp (ms from
// the start), input_length, output_length (tokens) and hash_ids, one id for each 512-token block of
// the prompt. An id names the block's content: block i is stream(id)[0:512), the last one cut to
// the prompt.
//
// This file is the only user of nlohmann-json in the workload; 12,031 lines take about 60 ms.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "hw_models/csv_table.h"
#include "sim/workload/stream_ids.h"
#include "sim/workload/trace.h"

namespace fleetsim {

namespace {

constexpr std::int64_t kBlockTokens = 512;
const std::vector<std::string> kKeys = {"timestamp", "input_length", "output_length", "hash_ids"};

/// One line being read, and where its faults go. JSON keeps no positions, so a key's column is that
/// of its first mention in the line.
struct Row {
  std::string_view line;
  int number = 0;
  FileFaults& faults;

  void fault(const std::string& key, const std::string& message) const {
    const std::size_t at = line.find("\"" + key + "\"");
    faults.add(number, at == std::string_view::npos ? 1 : static_cast<int>(at) + 1, message);
  }
};

std::optional<std::int64_t> read_whole(const Row& row, const nlohmann::json& object,
                                       const std::string& key, std::int64_t min, std::int64_t max) {
  const nlohmann::json& value = object.at(key);
  if (!value.is_number_integer()) {
    row.fault(key, fmt::format("{} must be a whole number, not {}", key, in_quotes(value.dump())));
    return std::nullopt;
  }
  const bool too_large =
      value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(max);
  if (too_large || value.get<std::int64_t>() < min) {
    row.fault(key, fmt::format("{} must be between {} and {}, but is {}", key, min, max,
                               in_quotes(value.dump())));
    return std::nullopt;
  }
  return value.get<std::int64_t>();
}

std::optional<SimTime> read_time(const Row& row, const nlohmann::json& object) {
  const nlohmann::json& value = object.at("timestamp");
  if (!value.is_number()) {
    row.fault("timestamp",
              "timestamp must be a number of milliseconds, not " + in_quotes(value.dump()));
    return std::nullopt;
  }
  const double milliseconds = value.get<double>();
  if (!(milliseconds >= 0 && milliseconds <= 3.0e12)) {
    row.fault("timestamp",
              "timestamp must be between 0 and 3e12 ms, but is " + in_quotes(value.dump()));
    return std::nullopt;
  }
  return static_cast<SimTime>(std::llround(milliseconds * 1e6));
}

/// Appends the row's blocks; false (and a fault) when they do not fit the prompt.
bool read_blocks(const Row& row, const nlohmann::json& ids, std::int64_t tokens,
                 std::vector<std::uint64_t>& blocks) {
  if (!ids.is_array()) {
    row.fault("hash_ids", "hash_ids must be a list, not " + in_quotes(ids.dump()));
    return false;
  }
  const std::int64_t expected = (tokens + kBlockTokens - 1) / kBlockTokens;
  if (static_cast<std::int64_t>(ids.size()) != expected) {
    row.fault("hash_ids",
              fmt::format("hash_ids has {} blocks; input_length {} has {} blocks of {} tokens",
                          ids.size(), tokens, expected, kBlockTokens));
    return false;
  }
  for (const nlohmann::json& id : ids) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= kStreamNumbers) {
      row.fault("hash_ids",
                "hash_ids must be whole numbers from 0 to 2^48-1, but has " + in_quotes(id.dump()));
      return false;
    }
    blocks.push_back(id.get<std::uint64_t>());
  }
  return true;
}

/// The line as an object with exactly the four keys, or faults and nothing.
std::optional<nlohmann::json> parse_line(const Row& row) {
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(row.line.begin(), row.line.end());
  } catch (const nlohmann::json::parse_error& error) {
    row.faults.add(row.number, static_cast<int>(error.byte), "line is not valid JSON");
    return std::nullopt;
  }
  if (!object.is_object()) {
    row.faults.add(row.number, 1, "line must be a JSON object, not " + in_quotes(object.dump()));
    return std::nullopt;
  }
  const std::int64_t before = row.faults.count();
  for (const std::string& key : kKeys) {
    if (!object.contains(key)) row.faults.add(row.number, 1, "key '" + key + "' is missing");
  }
  for (const auto& item : object.items()) {
    if (std::find(kKeys.begin(), kKeys.end(), item.key()) == kKeys.end()) {
      row.fault(item.key(),
                "unknown key " + in_quotes(item.key()) + " (known: " + joined(kKeys) + ")");
    }
  }
  if (row.faults.count() > before) return std::nullopt;
  return object;
}

}  // namespace

Trace read_mooncake_trace(const std::string& path, Problems& problems) {
  constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();
  TextFile text(path);
  FileFaults faults(path, problems);
  Trace trace;
  trace.block_tokens = static_cast<std::int32_t>(kBlockTokens);
  SimTime before = 0;
  int empty_line = 0;
  std::string_view line;
  while (text.next_line(line)) {
    if (line.empty()) {  // allowed at the end only
      if (empty_line == 0) empty_line = text.line_number();
      continue;
    }
    if (empty_line > 0) faults.add(empty_line, 1, "row is empty");
    empty_line = 0;
    const Row row{line, text.line_number(), faults};
    const auto object = parse_line(row);
    if (!object) continue;
    const auto time = read_time(row, *object);
    const auto prompt = read_whole(row, *object, "input_length", 1, kMostTokens);
    const auto output = read_whole(row, *object, "output_length", 0, kMostTokens);
    if (time && *time < before) row.fault("timestamp", unsorted_message(*time, before));
    if (time) before = *time;
    if (!time || !prompt || !output) continue;
    if (!read_blocks(row, object->at("hash_ids"), *prompt, trace.blocks)) continue;
    trace.block_end.push_back(trace.blocks.size());
    trace.arrival.push_back(*time);
    trace.prompt_tokens.push_back(static_cast<std::int32_t>(*prompt));
    trace.output_tokens.push_back(static_cast<std::int32_t>(*output));
  }
  if (text.line_number() == 0) faults.add(1, 1, "file is empty; expected one JSON object a line");
  return trace;
}

}  // namespace fleetsim
