// The one place of kernels/ that knows JSON. A line is one flat object; what stands in it is read
// strictly: unknown, repeated and mistyped fields are faults, since a misread job would spend
// device time on something else.

#include "kernels/measure/job_lines.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <type_traits>

namespace fleetsim::kernels {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kJobsSchema = "fleetsim.jobs/1";
constexpr std::size_t kLineBytesMax = 1'000'000;

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// The line as a flat object, or what is wrong with it.
std::optional<Json> parse_object(std::string_view line, std::string& fault) {
  if (line.size() > kLineBytesMax) {
    fault = "the line is longer than " + std::to_string(kLineBytesMax) + " bytes";
    return std::nullopt;
  }
  std::set<std::string> seen;
  std::string repeated;
  bool flat = true;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    // structures arrive with the depth that holds them
    if (depth > 0 &&
        (event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start))
      flat = false;
    if (event == Json::parse_event_t::key && !seen.insert(value.get<std::string>()).second)
      repeated = value.get<std::string>();
    return true;
  };
  const Json json = Json::parse(line, watch, false);
  if (json.is_discarded())
    fault = "not JSON";
  else if (!json.is_object() || !flat)
    fault = "a flat JSON object is expected";
  else if (!repeated.empty())
    fault = "'" + repeated + "' is given twice";
  else
    return json;
  return std::nullopt;
}

/// Reads an object's fields one by one and remembers which; the first fault stays.
class Fields {
 public:
  Fields(const Json& json, std::string& fault) : json_(json), fault_(fault) {}

  template <class Number>
  void whole(const char* name, Number& value) {
    const Json* field = find(name);
    if (field == nullptr) return;
    const bool sound = std::is_unsigned_v<Number> ? field->is_number_unsigned()
                                                  : field->is_number_integer() &&
                                                        (!field->is_number_unsigned() ||
                                                         field->get<std::uint64_t>() <= INT64_MAX);
    if (sound)
      value = field->get<Number>();
    else
      refuse(name, "a whole number");
  }
  void real(const char* name, double& value) {
    const Json* field = find(name);
    if (field == nullptr) return;
    if (field->is_number())
      value = field->get<double>();
    else
      refuse(name, "a number");
  }
  void text(const char* name, std::string& value) {
    const Json* field = find(name);
    if (field == nullptr) return;
    if (field->is_string())
      value = field->get<std::string>();
    else
      refuse(name, "a text");
  }
  void flag(const char* name, bool& value) {
    const Json* field = find(name);
    if (field == nullptr) return;
    if (field->is_boolean())
      value = field->get<bool>();
    else
      refuse(name, "true or false");
  }
  void optional_whole(const char* name, std::optional<std::int64_t>& value) {
    const Json* field = find(name);
    if (field == nullptr || field->is_null()) return;
    whole(name, value.emplace());
  }
  bool has(const char* name) const { return json_.contains(name); }
  /// Every field that nobody asked for is a fault.
  void finish() {
    for (const auto& [name, value] : json_.items())
      if (read_.count(name) == 0) add("unknown field '" + name + "'");
  }
  /// A field that belongs to somebody else's reading.
  void leave(const std::string& name) { read_.insert(name); }
  void add(const std::string& fault) {
    if (fault_.empty()) fault_ = fault;
  }

 private:
  const Json* find(const char* name) {
    read_.insert(name);
    const auto found = json_.find(name);
    if (found != json_.end()) return &*found;
    add(std::string("'") + name + "' is missing");
    return nullptr;
  }
  void refuse(const char* name, const char* wanted) {
    add(std::string("'") + name + "' is " + dumped(json_.at(name)).substr(0, 60) + "; " + wanted +
        " is expected");
  }

  const Json& json_;
  std::string& fault_;
  std::set<std::string> read_;
};

void put_point(Json& json, const Point& point) {
  json["op"] = point.op();
  for (std::size_t i = 0; i < point.values().size(); ++i) {
    const auto& [axis, text] = point.values()[i];
    if (point.family().axes[i].kind == Axis::Kind::integer)
      json[axis] = point.integer(axis);
    else
      json[axis] = text;
  }
}

/// The point in a line's fields, apart from those in `others`.
std::optional<Point> take_point(const Json& json, const std::set<std::string>& others,
                                std::vector<std::string>& faults) {
  const auto op = json.find("op");
  if (op == json.end() || !op->is_string()) {
    faults.push_back("'op' is missing: the operator to measure");
    return std::nullopt;
  }
  const OperatorAxes* family = find_operator(op->get<std::string>());
  const auto is_integer_axis = [&](const std::string& name) {
    return family != nullptr &&
           std::any_of(family->axes.begin(), family->axes.end(), [&](const Axis& axis) {
             return axis.name == name && axis.kind == Axis::Kind::integer;
           });
  };
  Point::Values values;
  for (const auto& [name, value] : json.items()) {
    if (name == "op" || others.count(name) > 0) continue;
    // a value of the wrong type goes on as it is written: make_point says what is expected there
    values.emplace_back(name, value.is_string() ? value.get<std::string>() : dumped(value));
    if (is_integer_axis(name) && value.is_string())
      faults.push_back(name + " is the text " + dumped(value).substr(0, 60) +
                       "; a number without quotes is expected");
  }
  std::vector<PointFault> point_faults;
  std::optional<Point> point = make_point(op->get<std::string>(), values, point_faults);
  for (const PointFault& fault : point_faults) faults.push_back(fault.message);
  return faults.empty() ? point : std::nullopt;
}

JobHeader read_header(std::string_view line, std::string& fault) {
  JobHeader header;
  const std::optional<Json> json = parse_object(line, fault);
  if (!json) return header;
  Fields fields(*json, fault);
  std::string schema, command;
  fields.text("schema", schema);
  fields.text("command", command);
  if (fault.empty() && schema != kJobsSchema)
    fields.add("schema is '" + schema + "'; this program reads " + kJobsSchema);
  if (fault.empty() && command != "bench")
    fields.add("command is '" + command + "'; bench is known");
  fields.text("out", header.out);
  fields.whole("budget_s", header.budget_s);
  fields.whole("seed", header.seed);
  if (fields.has("force")) fields.flag("force", header.force);
  if (fault.empty() && header.budget_s < 1) fields.add("'budget_s' must be at least 1");
  fields.finish();
  return header;
}

Json json_of(const MeasuredDevice& device) {
  return {{"name", device.name},
          {"sm", device.sm},
          {"sms", device.sms},
          {"l2_bytes", device.l2_bytes},
          {"mem_bytes", device.mem_bytes},
          {"driver", device.driver},
          {"cuda", device.cuda},
          {"runtime", device.runtime},
          {"vbios", device.vbios}};
}

void read_device(Fields& fields, MeasuredDevice& device) {
  fields.text("name", device.name);
  fields.whole("sm", device.sm);
  fields.whole("sms", device.sms);
  fields.whole("l2_bytes", device.l2_bytes);
  fields.whole("mem_bytes", device.mem_bytes);
  fields.text("driver", device.driver);
  fields.text("cuda", device.cuda);
  fields.text("runtime", device.runtime);
  fields.text("vbios", device.vbios);
}

Json event_json(const DeviceEvent& event) {
  Json json = {{"event", "device"}, {"out", event.out}};
  json.update(json_of(event.device));
  return json;
}
Json event_json(const ProgressEvent& event) {
  return {{"event", "progress"},
          {"done", event.done},
          {"of", event.of},
          {"op", event.op},
          {"text", event.text}};
}
Json event_json(const RowEvent& event) {
  const MeasuredRow& row = event.row;
  Json json = {{"event", "row"}};
  put_point(json, row.point);
  json["l2"] = row.l2 == L2State::cold ? "cold" : "warm";
  json["median_ns"] = row.median_ns;
  json["p10_ns"] = row.p10_ns;
  json["p90_ns"] = row.p90_ns;
  json["samples"] = row.n;
  json["clock_mhz"] = row.clock_mhz ? Json(*row.clock_mhz) : Json();
  json["check_err"] = row.check_err;
  json["noisy"] = row.noisy;
  json["note"] = row.note;
  return json;
}
Json event_json(const WarningEvent& event) { return {{"event", "warning"}, {"text", event.text}}; }
Json event_json(const FailedEvent& event) {
  return {{"event", "failed"}, {"op", event.op}, {"text", event.text}};
}
Json event_json(const StoppedEvent& event) {
  return {{"event", "stopped"}, {"reason", event.reason}, {"points_left", event.points_left}};
}
Json event_json(const DoneEvent& event) {
  return {{"event", "done"}, {"rows", event.rows}, {"out", event.out}};
}

void read_row(const Json& json, Fields& fields, RowEvent& event) {
  static const std::set<std::string> kOthers = {"event",  "l2",      "median_ns", "p10_ns",
                                                "p90_ns", "samples", "clock_mhz", "check_err",
                                                "noisy",  "note"};
  std::vector<std::string> faults;
  if (auto point = take_point(json, kOthers, faults)) event.row.point = *std::move(point);
  if (!faults.empty()) fields.add(faults.front());
  for (const auto& [name, value] : json.items()) fields.leave(name);
  std::string l2;
  fields.text("l2", l2);
  if (l2 != "cold" && l2 != "warm") fields.add("'l2' is cold or warm");
  event.row.l2 = l2 == "warm" ? L2State::warm : L2State::cold;
  fields.whole("median_ns", event.row.median_ns);
  fields.whole("p10_ns", event.row.p10_ns);
  fields.whole("p90_ns", event.row.p90_ns);
  fields.whole("samples", event.row.n);
  fields.optional_whole("clock_mhz", event.row.clock_mhz);
  fields.real("check_err", event.row.check_err);
  fields.flag("noisy", event.row.noisy);
  fields.text("note", event.row.note);
}

Event read_event(const std::string& kind, const Json& json, Fields& fields) {
  if (kind == "device") {
    DeviceEvent event;
    fields.text("out", event.out);
    read_device(fields, event.device);
    return event;
  }
  if (kind == "progress") {
    ProgressEvent event;
    fields.whole("done", event.done);
    fields.whole("of", event.of);
    fields.text("op", event.op);
    fields.text("text", event.text);
    return event;
  }
  if (kind == "row") {
    RowEvent event;
    read_row(json, fields, event);
    return event;
  }
  if (kind == "warning") {
    WarningEvent event;
    fields.text("text", event.text);
    return event;
  }
  if (kind == "failed") {
    FailedEvent event;
    fields.text("op", event.op);
    fields.text("text", event.text);
    return event;
  }
  if (kind == "stopped") {
    StoppedEvent event;
    fields.text("reason", event.reason);
    fields.whole("points_left", event.points_left);
    return event;
  }
  DoneEvent event;
  if (kind != "done") fields.add("unknown event '" + kind + "'");
  fields.whole("rows", event.rows);
  fields.text("out", event.out);
  return event;
}

}  // namespace

std::string header_line(const JobHeader& header) {
  return dumped({{"schema", kJobsSchema},
                 {"command", "bench"},
                 {"out", header.out},
                 {"budget_s", header.budget_s},
                 {"seed", header.seed},
                 {"force", header.force}});
}

std::string point_line(const Point& point) {
  Json json;
  put_point(json, point);
  return dumped(json);
}

Jobs parse_jobs(std::string_view text, std::vector<JobFault>& faults) {
  Jobs jobs;
  bool header_seen = false;
  for (int number = 1; !text.empty(); ++number) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    std::string fault;
    if (!header_seen) {
      header_seen = true;
      jobs.header = read_header(line, fault);
      if (!fault.empty()) faults.push_back({number, "header: " + fault});
      continue;
    }
    const std::optional<Json> json = parse_object(line, fault);
    std::vector<std::string> line_faults;
    if (!json)
      line_faults.push_back(fault);
    else if (auto point = take_point(*json, {}, line_faults))
      jobs.points.push_back(*std::move(point));
    for (std::string& one : line_faults) faults.push_back({number, std::move(one)});
  }
  if (!header_seen)
    faults.push_back(
        {1, std::string("no jobs: the first line must be a header such as ") + header_line({})});
  else if (jobs.points.empty() && faults.empty())
    faults.push_back({1, "no points follow the header"});
  return jobs;
}

std::string event_line(const Event& event) {
  return dumped(std::visit([](const auto& one) { return event_json(one); }, event));
}

std::optional<Event> parse_event(std::string_view line, std::string& fault) {
  fault.clear();
  const std::optional<Json> json = parse_object(line, fault);
  if (!json) return std::nullopt;
  Fields fields(*json, fault);
  std::string kind;
  fields.text("event", kind);
  if (!fault.empty()) return std::nullopt;
  Event event = read_event(kind, *json, fields);
  fields.finish();
  if (!fault.empty()) return std::nullopt;
  return event;
}

std::string device_line(const MeasuredDevice& device) { return dumped(json_of(device)); }

}  // namespace fleetsim::kernels
