#pragma once
// A recorded workload in memory, column by column, whatever format it was published in.

#include <cstdint>
#include <string>
#include <vector>

#include "hw_models/problems.h"
#include "sim/core/sim_time.h"
#include "sim/scenario/scenario.h"

namespace fleetsim {

/// Rows in order of arrival. Columns that the format or file lacks are empty vectors.
struct Trace {
  std::vector<SimTime> arrival;             // ns from the start, not yet scaled
  std::vector<std::int32_t> prompt_tokens;  // 1 or more
  std::vector<std::int32_t> output_tokens;  // 0: prefill only
  std::vector<std::uint16_t> class_index;
  std::vector<std::int64_t> priority;
  std::vector<std::uint64_t> session;  // 0: none, else from 1 in order of appearance
  /// Content of the prompts' beginnings: row i has blocks[block_end[i-1] .. block_end[i]), each one
  /// `block_tokens` long, the last possibly cut; equal ids are equal tokens. Ids are below 2^48.
  std::vector<std::uint64_t> blocks, block_end;
  std::int32_t block_tokens = 0;
  std::vector<std::string> notes;  // what the reader left out, for the report

  std::size_t size() const { return arrival.size(); }
};

/// Reads a trace of the format that `arrivals` names.
/// `class_names`: what the `class` column of a plain CSV may hold; the index becomes class_index.
/// Errors: faults go to `problems` with file:row:column; the result is usable only without any.
Trace read_trace(const Arrivals& arrivals, const std::vector<std::string>& class_names,
                 Problems& problems);

// One reader a format; each is described at the top of its file.
Trace read_azure_trace(const std::string& path, Problems& problems);
Trace read_mooncake_trace(const std::string& path, Problems& problems);
Trace read_burstgpt_trace(const std::string& path, Problems& problems);
Trace read_plain_trace(const std::string& path, const std::vector<std::string>& class_names,
                       Problems& problems);

/// The message for a row that arrives before the one above it.
std::string unsorted_message(SimTime time, SimTime before);

}  // namespace fleetsim
