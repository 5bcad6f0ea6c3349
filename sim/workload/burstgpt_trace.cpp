// BurstGPT traces (HPMLL/BurstGPT): Timestamp,Model,Request tokens,Response tokens,Total tokens,Log
// Type and, in later releases, Session ID and Elapsed time.
//
// Timestamps are seconds; the first row arrives at 0, so that a slice from the middle starts at
// once. Rows without response tokens are failed calls in the authors' own reading: they are left
// out, counted and said. Model, log type, session and elapsed time are not used.

#include <fmt/format.h>

#include <limits>
#include <optional>

#include "hw_models/csv_table.h"
#include "sim/workload/trace.h"

namespace fleetsim {

Trace read_burstgpt_trace(const std::string& path, Problems& problems) {
  enum Column { timestamp, model, request, response, total, log_type, session, elapsed };
  CsvTable table(path,
                 {{"Timestamp"},
                  {"Model"},
                  {"Request tokens"},
                  {"Response tokens"},
                  {"Total tokens"},
                  {"Log Type"},
                  {"Session ID", false},
                  {"Elapsed time", false}},
                 CsvTable::Others::refused, problems);
  Trace trace;
  std::optional<SimTime> start;
  SimTime before = 0;
  std::int64_t rows = 0, failures = 0;
  while (table.next_row()) {
    ++rows;
    const auto seconds = table.seconds(timestamp);
    const auto output = table.tokens(response, 0);
    const bool failed = output && *output == 0;
    const auto prompt = table.tokens(request, failed ? 0 : 1);
    const auto sum = table.whole(total, 0, std::numeric_limits<std::int64_t>::max());
    if (!seconds) continue;
    const SimTime time = to_sim_time({*seconds});
    if (!start) start = before = time;
    if (time < before) table.fault(timestamp, unsorted_message(time, before));
    before = time;
    if (!prompt || !output || !sum) continue;
    if (*sum != static_cast<std::int64_t>(*prompt) + *output) {
      table.fault(total, fmt::format("Total tokens is {}, but {} + {} = {}", *sum, *prompt, *output,
                                     static_cast<std::int64_t>(*prompt) + *output));
      continue;
    }
    if (failed) {
      ++failures;
      continue;
    }
    trace.arrival.push_back(time - *start);
    trace.prompt_tokens.push_back(*prompt);
    trace.output_tokens.push_back(*output);
  }
  if (failures > 0) {
    trace.notes.push_back(
        fmt::format("{}: {} of {} rows have no response tokens (failed calls) and are left out",
                    path, failures, rows));
  }
  if (rows > 0 && rows == failures && !table.faulty()) {
    problems.add(path, {0, 0},
                 fmt::format("all {} rows are failed calls without response tokens", rows));
  }
  return trace;
}

}  // namespace fleetsim
