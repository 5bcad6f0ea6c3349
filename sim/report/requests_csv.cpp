#include "sim/report/requests_csv.h"

#include "sim/report/decimal_text.h"

namespace fleetsim {

void append_request_id(fmt::memory_buffer& out, RequestId id, const RecordNames& names) {
  if (id < names.requests.size() && !names.requests[id].empty())
    append_csv_field(out, names.requests[id]);
  else
    fmt::format_to(std::back_inserter(out), "{}", id);
}

void append_request_row(fmt::memory_buffer& out, const RequestRecord& record,
                        const RecordNames& names) {
  const auto span_since_arrival = [&](SimTime end) {
    if (end >= 0) append_seconds(out, end - record.arrival);
    out.push_back(',');
  };
  append_request_id(out, record.id, names);
  out.push_back(',');
  append_csv_field(out, names.classes.at(record.class_index));
  out.push_back(',');
  append_seconds(out, record.arrival);
  fmt::format_to(std::back_inserter(out), ",{},{},{},", record.prompt_tokens, record.output_tokens,
                 record.cached_tokens);
  if (record.pool >= 0)
    append_csv_field(out, names.pools.at(static_cast<std::size_t>(record.pool)));
  out.push_back(',');
  if (record.replica >= 0) fmt::format_to(std::back_inserter(out), "{}", record.replica);
  out.push_back(',');
  span_since_arrival(record.first_scheduled);
  span_since_arrival(record.first_token);
  if (record.first_token >= 0 && record.last_token >= 0 && record.output_tokens > 1)
    append_double(
        out, to_seconds(record.last_token - record.first_token).value / (record.output_tokens - 1));
  out.push_back(',');
  const bool answered =
      record.status == RequestStatus::completed || record.status == RequestStatus::cache_hit;
  span_since_arrival(answered ? record.last_token : -1);
  fmt::format_to(std::back_inserter(out), "{},{}\n", record.preemptions, name_of(record.status));
}

RequestsCsv::RequestsCsv(OutputFile& file, const RecordNames& names) : file_(file), names_(names) {
  file_.write(kRequestsCsvHeader);
}

void RequestsCsv::add(const RequestRecord& record) {
  line_.clear();
  append_request_row(line_, record, names_);
  file_.write({line_.data(), line_.size()});
}

}  // namespace fleetsim
