#include "sim/report/iterations_jsonl.h"

#include <nlohmann/json.hpp>

#include "sim/report/decimal_text.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

void append_id(fmt::memory_buffer& out, RequestId id, const RecordNames& names) {
  if (id < names.requests.size() && !names.requests[id].empty())
    append_json_string(out, names.requests[id]);
  else
    fmt::format_to(std::back_inserter(out), "{}", id);
}

void append_ids(fmt::memory_buffer& out, std::span<const RequestId> ids, const RecordNames& names) {
  out.push_back('[');
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i) out.push_back(',');
    append_id(out, ids[i], names);
  }
  out.push_back(']');
}

}  // namespace

std::string iterations_header(const Scenario& scenario, const Deployment& deployment) {
  Json header = {{"schema", "fleetsim.iterations/1"}};
  const auto add_pool = [&](Json& json, std::size_t pool) {
    json["model"] = deployment.pools[pool].model.name;
    json["precision"] = {{"weights", name_of(scenario.precision.weights)},
                         {"activations", name_of(scenario.precision.activations)},
                         {"kv_cache", name_of(scenario.precision.kv_cache)}};
    json["block_size"] = deployment.pools[pool].rules.block_size;
    json["tp"] = scenario.pools.at(pool).parallelism.tp;
  };
  add_pool(header, 0);
  for (std::size_t pool = 0; deployment.pools.size() > 1 && pool < deployment.pools.size();
       ++pool) {
    Json one = {{"pool", deployment.pools[pool].name}};
    add_pool(one, pool);
    header["pools"].push_back(std::move(one));
  }
  return header.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void append_iteration_line(fmt::memory_buffer& out, const IterationRecord& record,
                           const RecordNames& names) {
  append_text(out, "{\"t\":");
  append_seconds(out, record.start);
  append_text(out, ",\"scheduled_at\":");
  append_seconds(out, record.scheduled_at);
  append_text(out, ",\"duration\":");
  append_seconds(out, record.duration);
  append_text(out, ",\"pool\":");
  append_json_string(out, names.pools.at(static_cast<std::size_t>(record.pool)));
  fmt::format_to(std::back_inserter(out), ",\"replica\":{},\"iteration\":{},\"scheduled\":[",
                 record.replica, record.iteration);
  bool first = true;
  for (const ScheduledTokens& one : record.scheduled) {
    append_text(out, first ? "{\"id\":" : ",{\"id\":");
    first = false;
    append_id(out, one.id, names);
    fmt::format_to(std::back_inserter(out), ",\"tokens\":{},\"context\":{},\"phase\":\"{}\"}}",
                   one.tokens, one.context, one.prefill ? "prefill" : "decode");
  }
  append_text(out, "],\"preempted\":");
  append_ids(out, record.preempted, names);
  append_text(out, ",\"finished\":");
  append_ids(out, record.finished, names);
  fmt::format_to(std::back_inserter(out),
                 ",\"kv_blocks_used\":{},\"waiting\":{},\"running\":{}}}\n", record.kv_blocks_used,
                 record.waiting, record.running);
}

IterationsJsonl::IterationsJsonl(OutputFile& file, const std::string& header,
                                 const RecordNames& names)
    : file_(file), names_(names) {
  file_.write(header);
}

void IterationsJsonl::add(const IterationRecord& record) {
  line_.clear();
  append_iteration_line(line_, record, names_);
  file_.write({line_.data(), line_.size()});
}

}  // namespace fleetsim
