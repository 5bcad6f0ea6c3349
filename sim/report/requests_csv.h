#pragma once
// requests.csv: one row a request, in the order in which requests end, written while the run goes
// on.

#include <fmt/format.h>

#include "sim/report/output_folder.h"
#include "sim/report/record_names.h"

namespace fleetsim {

inline constexpr const char* kRequestsCsvHeader =
    "id,class,arrival_s,prompt_tokens,output_tokens,cached_tokens,pool,replica,queue_s,ttft_s,tpot_"
    "s,"
    "e2e_s,preemptions,status\n";

/// Appends the row of one request. Seconds on the simulation clock, exact to the nanosecond; a
/// value that does not exist (no first token, no pool) is an empty field; e2e_s is of requests that
/// were answered (completed, cache_hit).
void append_request_row(fmt::memory_buffer& out, const RequestRecord& record,
                        const RecordNames& names);

/// Streams rows to a file. The names must outlive it.
class RequestsCsv {
 public:
  RequestsCsv(OutputFile& file, const RecordNames& names);
  void add(const RequestRecord& record);

 private:
  OutputFile& file_;
  const RecordNames& names_;
  fmt::memory_buffer line_;
};

/// The request's own name where the scenario gives one, else its number.
void append_request_id(fmt::memory_buffer& out, RequestId id, const RecordNames& names);

}  // namespace fleetsim
