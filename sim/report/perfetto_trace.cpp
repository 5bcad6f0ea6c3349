// Format: "Trace Event Format" of Chromium: X = complete slice, C = counter, b/e = async slice, M =
// metadata.

#include "sim/report/perfetto_trace.h"

#include "sim/report/decimal_text.h"

namespace fleetsim {
namespace {

/// The format counts in microseconds; three decimals keep the nanosecond.
void append_microseconds(fmt::memory_buffer& out, SimTime time) {
  fmt::format_to(std::back_inserter(out), "{}.{:03}", time / 1000, time % 1000);
}

void append_request_name(fmt::memory_buffer& out, RequestId id, const RecordNames& names) {
  append_json_string(out, id < names.requests.size() && !names.requests[id].empty()
                              ? names.requests[id]
                              : fmt::format("request {}", id));
}

}  // namespace

PerfettoTrace::PerfettoTrace(OutputFile& file, const RecordNames& names)
    : file_(file), names_(names) {
  append_text(out_, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
  append_text(
      out_, "{\"ph\":\"M\",\"pid\":0,\"name\":\"process_name\",\"args\":{\"name\":\"requests\"}}");
  for (std::size_t pool = 0; pool < names.pools.size(); ++pool) {
    fmt::format_to(
        std::back_inserter(out_),
        ",\n{{\"ph\":\"M\",\"pid\":{},\"name\":\"process_name\",\"args\":{{\"name\":", pool + 1);
    append_json_string(out_, "pool " + names.pools[pool]);
    append_text(out_, "}}");
  }
  flush();
}

void PerfettoTrace::name_thread(std::int32_t pool, std::int32_t replica) {
  if (!named_.emplace(pool, replica).second) return;
  fmt::format_to(std::back_inserter(out_),
                 ",\n{{\"ph\":\"M\",\"pid\":{},\"tid\":{},\"name\":\"thread_name\",\"args\":{{"
                 "\"name\":\"replica {}\"}}}}",
                 pool + 1, replica + 1, replica);
}

void PerfettoTrace::add(const IterationRecord& record) {
  name_thread(record.pool, record.replica);
  std::int64_t prefill_tokens = 0, decodes = 0;
  for (const ScheduledTokens& one : record.scheduled) {
    if (one.prefill)
      prefill_tokens += one.tokens;
    else
      ++decodes;
  }
  const char* kind = prefill_tokens == 0 ? "decode" : decodes == 0 ? "prefill" : "mixed";
  fmt::format_to(std::back_inserter(out_),
                 ",\n{{\"ph\":\"X\",\"pid\":{},\"tid\":{},\"name\":\"{}\",\"ts\":", record.pool + 1,
                 record.replica + 1, kind);
  append_microseconds(out_, record.start);
  append_text(out_, ",\"dur\":");
  append_microseconds(out_, record.duration);
  fmt::format_to(std::back_inserter(out_),
                 ",\"args\":{{\"iteration\":{},\"requests\":{},\"prefill_tokens\":{},\"decodes\":{}"
                 ",\"preempted\":{},"
                 "\"finished\":{}}}}}",
                 record.iteration, record.scheduled.size(), prefill_tokens, decodes,
                 record.preempted.size(), record.finished.size());
  fmt::format_to(std::back_inserter(out_),
                 ",\n{{\"ph\":\"C\",\"pid\":{},\"name\":\"replica {}\",\"ts\":", record.pool + 1,
                 record.replica);
  append_microseconds(out_, record.start);
  fmt::format_to(std::back_inserter(out_), ",\"args\":{{\"running\":{},\"waiting\":{}}}}}",
                 record.running, record.waiting);
  fmt::format_to(std::back_inserter(out_),
                 ",\n{{\"ph\":\"C\",\"pid\":{},\"name\":\"KV blocks, replica {}\",\"ts\":",
                 record.pool + 1, record.replica);
  append_microseconds(out_, record.start);
  fmt::format_to(std::back_inserter(out_), ",\"args\":{{\"used\":{}}}}}", record.kv_blocks_used);
  flush();
}

void PerfettoTrace::add(const RequestRecord& record) {
  if (record.id >= kTracedRequests || record.last_token < record.arrival) return;
  const auto slice = [&](const char* phase, const char* name, SimTime at) {
    fmt::format_to(std::back_inserter(out_),
                   ",\n{{\"ph\":\"{}\",\"cat\":\"request\",\"pid\":0,\"id\":{},\"name\":", phase,
                   record.id);
    if (name)
      append_json_string(out_, name);
    else
      append_request_name(out_, record.id, names_);
    append_text(out_, ",\"ts\":");
    append_microseconds(out_, at);
    if (!name && phase[0] == 'b')
      fmt::format_to(std::back_inserter(out_),
                     ",\"args\":{{\"prompt_tokens\":{},\"output_tokens\":{},\"cached_tokens\":{},"
                     "\"status\":\"{}\"}}",
                     record.prompt_tokens, record.output_tokens, record.cached_tokens,
                     name_of(record.status));
    out_.push_back('}');
  };
  slice("b", nullptr, record.arrival);
  if (record.first_scheduled >= 0) {
    const SimTime first = record.first_token >= 0 ? record.first_token : record.last_token;
    slice("b", "queue", record.arrival);
    slice("e", "queue", record.first_scheduled);
    slice("b", "prefill", record.first_scheduled);
    slice("e", "prefill", first);
    if (record.last_token > first) {
      slice("b", "decode", first);
      slice("e", "decode", record.last_token);
    }
  }
  slice("e", nullptr, record.last_token);
  flush();
}

void PerfettoTrace::finish() {
  append_text(out_, "\n]}\n");
  flush();
}

void PerfettoTrace::flush() {
  file_.write({out_.data(), out_.size()});
  out_.clear();
}

}  // namespace fleetsim
