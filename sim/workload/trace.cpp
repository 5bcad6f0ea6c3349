// The table of trace formats, and what they share.

#include "sim/workload/trace.h"

#include <fmt/format.h>

#include "hw_models/check.h"

namespace fleetsim {

std::string unsorted_message(SimTime time, SimTime before) {
  return fmt::format("trace is not sorted: {} s comes after {} s", to_seconds(time).value,
                     to_seconds(before).value);
}

Trace read_trace(const Arrivals& arrivals, const std::vector<std::string>& class_names,
                 Problems& problems) {
  try {
    switch (arrivals.format) {
      case Arrivals::TraceFormat::azure:
        return read_azure_trace(arrivals.path, problems);
      case Arrivals::TraceFormat::mooncake:
        return read_mooncake_trace(arrivals.path, problems);
      case Arrivals::TraceFormat::burstgpt:
        return read_burstgpt_trace(arrivals.path, problems);
      case Arrivals::TraceFormat::csv:
        return read_plain_trace(arrivals.path, class_names, problems);
    }
  } catch (const ConfigError& error) {  // an unreadable file: go on, other faults are reported too
    for (const Problem& problem : error.problems().sorted()) {
      problems.add(problem.file, problem.position, problem.message);
    }
    return {};
  }
  CHECK(false, "unknown trace format");
}

}  // namespace fleetsim
