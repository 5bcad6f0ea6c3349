// fleetsim's own trace format: arrival_s,prompt_tokens,output_tokens and optional class,session,
// prefix_hashes,priority, in any order.
//
// arrival_s: seconds from the start of the run. class: a name under workload.classes. session: any
// text, equal text = one conversation (what routers stick to); empty = none. prefix_hashes: block
// ids separated by spaces, whole numbers below 2^48, each naming the next 16 tokens of the prompt
// (vLLM's block), the last one possibly cut; equal ids are equal tokens, what they do not cover is
// the request's own. priority: smaller is earlier.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <unordered_map>

#include "hw_models/csv_table.h"
#include "sim/workload/stream_ids.h"
#include "sim/workload/trace.h"

namespace fleetsim {

namespace {

enum Column { arrival, prompt_tokens, output_tokens, class_name, session, prefix_hashes, priority };
constexpr std::int32_t kBlockTokens = 16;

/// Appends the ids of the cell; false (and a fault) when it is malformed or longer than the prompt.
bool read_blocks(CsvTable& table, std::int32_t tokens, std::vector<std::uint64_t>& blocks) {
  std::string_view text = table.cell(prefix_hashes);
  std::int64_t count = 0;
  while (!text.empty()) {
    std::uint64_t id = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    const bool ends_well = end == text.data() + text.size() || *end == ' ';
    if (error != std::errc() || !ends_well || id >= kStreamNumbers) {
      table.fault(prefix_hashes,
                  fmt::format("prefix_hashes must be whole numbers below 2^48 separated by single "
                              "spaces, but has {}",
                              in_quotes(text.substr(0, text.find(' ')))));
      return false;
    }
    blocks.push_back(id);
    ++count;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (!text.empty()) text.remove_prefix(1);
  }
  const std::int64_t most = (static_cast<std::int64_t>(tokens) + kBlockTokens - 1) / kBlockTokens;
  if (count > most) {
    table.fault(prefix_hashes,
                fmt::format("prefix_hashes has {} blocks of {} tokens; a prompt of {} "
                            "tokens has at most {}",
                            count, kBlockTokens, tokens, most));
    return false;
  }
  return true;
}

/// The class of the row, or a fault and nothing.
std::optional<std::uint16_t> read_class(CsvTable& table, const std::vector<std::string>& names) {
  const std::string name(table.cell(class_name));
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<std::uint16_t>(found - names.begin());
  const std::string hint = nearest_word(name, names);
  table.fault(class_name, "unknown class " + in_quotes(name) +
                              (hint.empty() ? " (known: " + joined(names) + ")"
                                            : "; did you mean '" + hint + "'?"));
  return std::nullopt;
}

}  // namespace

Trace read_plain_trace(const std::string& path, const std::vector<std::string>& class_names,
                       Problems& problems) {
  CsvTable table(path,
                 {{"arrival_s"},
                  {"prompt_tokens"},
                  {"output_tokens"},
                  {"class", false},
                  {"session", false},
                  {"prefix_hashes", false},
                  {"priority", false}},
                 CsvTable::Others::refused, problems);
  Trace trace;
  std::unordered_map<std::string, std::uint64_t> sessions;  // looked up only, never iterated
  SimTime before = 0;
  if (table.has(prefix_hashes)) trace.block_tokens = kBlockTokens;
  constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::max();
  while (table.next_row()) {
    const auto seconds = table.seconds(arrival);
    const auto prompt = table.tokens(prompt_tokens, 1);
    const auto output = table.tokens(output_tokens, 0);
    std::optional<std::uint16_t> row_class = std::uint16_t{0};
    if (table.has(class_name)) row_class = read_class(table, class_names);
    std::optional<std::int64_t> row_priority = 0;
    if (table.has(priority)) row_priority = table.whole(priority, -kAny, kAny);
    if (!seconds) continue;
    const SimTime time = to_sim_time({*seconds});
    if (time < before) table.fault(arrival, unsorted_message(time, before));
    before = time;
    if (!prompt || !output || !row_class || !row_priority) continue;
    if (table.has(prefix_hashes)) {
      if (!read_blocks(table, *prompt, trace.blocks)) continue;
      trace.block_end.push_back(trace.blocks.size());
    }
    trace.arrival.push_back(time);
    trace.prompt_tokens.push_back(*prompt);
    trace.output_tokens.push_back(*output);
    if (table.has(class_name)) trace.class_index.push_back(*row_class);
    if (table.has(priority)) trace.priority.push_back(*row_priority);
    if (table.has(session)) {
      const std::string_view name = table.cell(session);
      trace.session.push_back(
          name.empty()
              ? 0
              : sessions.try_emplace(std::string(name), sessions.size() + 1).first->second);
    }
  }
  return trace;
}

}  // namespace fleetsim
