#pragma once
// trace.json: the run in the Chrome trace format, which Perfetto opens.

#include <fmt/format.h>

#include <set>

#include "sim/report/output_folder.h"
#include "sim/report/record_names.h"

namespace fleetsim {

/// One process a pool, one thread a replica, an iteration a slice; counters of running, waiting and
/// KV blocks for each replica; the first kTracedRequests requests as slices of their own.
/// Microseconds with three decimals, the format's unit.
class PerfettoTrace {
 public:
  static constexpr RequestId kTracedRequests =
      2'000;  // more would hide the iterations in the viewer

  PerfettoTrace(OutputFile& file, const RecordNames& names);
  void add(const IterationRecord& record);
  void add(const RequestRecord& record);
  /// Writes the end of the document; nothing may follow.
  void finish();

 private:
  void name_thread(std::int32_t pool, std::int32_t replica);
  void flush();
  OutputFile& file_;
  const RecordNames& names_;
  std::set<std::pair<std::int32_t, std::int32_t>> named_;  // replicas whose thread has its name
  fmt::memory_buffer out_;
};

}  // namespace fleetsim
