#pragma once
// iterations.jsonl: a header line, then one line an engine iteration; `calibrate replay` reads it.

#include <fmt/format.h>

#include <string>

#include "hw_models/precision.h"
#include "sim/report/output_folder.h"
#include "sim/report/record_names.h"

namespace fleetsim {

/// {"schema":"fleetsim.iterations/1","model":…,"precision":{…},"block_size":…,"tp":…}; the figures
/// are of the first pool, and `pools` gives each pool its own when there are several.
std::string iterations_header(const Scenario& scenario, const Deployment& deployment);

/// Appends the line of one iteration, keys and their order as product.md names them. Seconds, exact
/// to the nanosecond. Ids are the scenario's own names (strings) where it gives them, else numbers.
void append_iteration_line(fmt::memory_buffer& out, const IterationRecord& record,
                           const RecordNames& names);

/// Streams lines to a file. The names must outlive it.
class IterationsJsonl {
 public:
  IterationsJsonl(OutputFile& file, const std::string& header, const RecordNames& names);
  void add(const IterationRecord& record);

 private:
  OutputFile& file_;
  const RecordNames& names_;
  fmt::memory_buffer line_;
};

}  // namespace fleetsim
