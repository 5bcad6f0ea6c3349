// Strict in what the replay needs (header, scheduled, phase, iteration, replica, pool), silent on
// keys that it does not use: later versions of the log may add some.

#include "calibrate/iteration_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "hw_models/csv_table.h"
#include "hw_models/text_file.h"

namespace fleetsim {
namespace {

using Json = nlohmann::json;

constexpr const char* kSchema = "fleetsim.iterations/1";
constexpr std::int64_t kTokensMax = std::int64_t{1} << 24;  // of a sequence, as points have it
constexpr std::int64_t kCountMax = std::int64_t{1} << 53;   // JSON numbers are exact up to it
constexpr std::int64_t kRanksMax = 1024;
constexpr std::size_t kSequencesMax = 65536;  // as points have it

/// One line and where its faults go. JSON keeps no positions, so a key's column is that of its
/// first mention in the line.
class Line {
 public:
  Line(std::string_view text, int number, FileFaults& faults)
      : text_(text), number_(number), faults_(faults) {}

  void fault(const std::string& key, const std::string& message) const {
    const std::size_t at = text_.find("\"" + key + "\"");
    faults_.add(number_, at == std::string_view::npos ? 1 : static_cast<int>(at) + 1, message);
  }

  std::optional<Json> object() const {
    Json json;
    try {
      json = Json::parse(text_.begin(), text_.end());
    } catch (const Json::parse_error& error) {
      const bool cut = error.byte > text_.size();
      faults_.add(number_, static_cast<int>(std::min(error.byte, text_.size() + 1)),
                  cut ? "the line ends in the middle of its object: the file was cut short"
                      : "line is not valid JSON");
      return std::nullopt;
    } catch (const Json::out_of_range&) {
      faults_.add(number_, 1, "line has a number that is out of range");
      return std::nullopt;
    }
    if (json.is_object()) return json;
    faults_.add(number_, 1, "line must be a JSON object, not " + in_quotes(shown(json)));
    return std::nullopt;
  }

  const Json* member(const Json& object, const std::string& key) const {
    const auto found = object.find(key);
    if (found != object.end()) return &*found;
    fault(key, fmt::format("key '{}' is missing", key));
    return nullptr;
  }

  std::optional<std::int64_t> whole(const Json& object, const std::string& key, std::int64_t least,
                                    std::int64_t most) const {
    const Json* value = member(object, key);
    if (value == nullptr) return std::nullopt;
    const bool sound = value->is_number_integer() && *value >= least && *value <= most;
    if (sound) return value->get<std::int64_t>();
    fault(key, fmt::format("{} must be a whole number from {} to {}, not {}", key, least, most,
                           in_quotes(shown(*value))));
    return std::nullopt;
  }

  std::optional<std::string> word(const Json& object, const std::string& key) const {
    const Json* value = member(object, key);
    if (value == nullptr) return std::nullopt;
    if (value->is_string()) return value->get<std::string>();
    fault(key, fmt::format("{} must be a text, not {}", key, in_quotes(shown(*value))));
    return std::nullopt;
  }

  /// Of a list or an object only what it is: a hostile line nests deeper than a stack.
  static std::string shown(const Json& value) {
    if (value.is_structured()) return value.is_array() ? "a list" : "an object";
    return value.dump(-1, ' ', true, Json::error_handler_t::replace);
  }

 private:
  std::string_view text_;
  int number_;
  FileFaults& faults_;
};

std::optional<NumberFormat> format_in(const Line& line, const Json& precision, const char* key) {
  const auto word = line.word(precision, key);
  if (!word) return std::nullopt;
  const auto format = number_format_named(*word);
  if (!format)
    line.fault(key, fmt::format("{} must be one of {}, not {}", key, joined(number_format_names()),
                                in_quotes(*word)));
  return format;
}

std::optional<LoggedModel> model_in(const Line& line, const Json& json) {
  LoggedModel logged;
  const auto model = line.word(json, "model");
  const auto block = line.whole(json, "block_size", 1, kTokensMax);
  const auto tp = line.whole(json, "tp", 1, kRanksMax);
  const Json* precision = line.member(json, "precision");
  if (precision == nullptr) return std::nullopt;
  if (!precision->is_object()) {
    line.fault("precision", "precision must be an object of weights, activations, kv_cache");
    return std::nullopt;
  }
  const auto weights = format_in(line, *precision, "weights");
  const auto activations = format_in(line, *precision, "activations");
  const auto kv_cache = format_in(line, *precision, "kv_cache");
  if (!model || !block || !tp || !weights || !activations || !kv_cache) return std::nullopt;
  logged.model = *model;
  logged.block_size = *block;
  logged.tp = *tp;
  logged.precision = {*weights, *activations, *kv_cache, std::nullopt};
  return logged;
}

std::optional<IterationLogHeader> header_in(const Line& line) {
  const auto json = line.object();
  if (!json) return std::nullopt;
  const auto schema = json->find("schema");
  if (schema == json->end() || !schema->is_string()) {
    line.fault("schema",
               fmt::format("the first line must be the header of a log of iterations, with "
                           "\"schema\":\"{}\"",
                           kSchema));
    return std::nullopt;
  }
  if (*schema != kSchema) {
    line.fault("schema", fmt::format("the schema is {}; this version reads {}",
                                     in_quotes(schema->get<std::string>()), kSchema));
    return std::nullopt;
  }
  const auto first = model_in(line, *json);
  if (!first) return std::nullopt;
  IterationLogHeader header{*first, {}};
  const auto pools = json->find("pools");
  if (pools == json->end()) return header;
  if (!pools->is_array() || pools->empty()) {
    line.fault("pools", "pools must be a list of pools");
    return std::nullopt;
  }
  for (const Json& one : *pools) {
    if (!one.is_object()) {
      line.fault("pools", "a pool must be an object, not " + in_quotes(Line::shown(one)));
      return std::nullopt;
    }
    const auto name = line.word(one, "pool");
    auto logged = model_in(line, one);
    if (!name || !logged) return std::nullopt;
    logged->pool = *name;
    header.pools.push_back(std::move(*logged));
  }
  return header;
}

/// Iterations one after the other; remembers how far each replica came.
class IterationReader {
 public:
  /// nullopt when the line is not sound.
  std::optional<Composition> read(const Line& line) {
    const auto json = line.object();
    if (!json) return std::nullopt;
    const auto pool = line.word(*json, "pool");
    const auto replica = line.whole(*json, "replica", 0, kCountMax);
    const auto iteration = line.whole(*json, "iteration", 1, kCountMax);
    const Json* scheduled = line.member(*json, "scheduled");
    if (scheduled == nullptr) return std::nullopt;
    if (!scheduled->is_array() || scheduled->empty() || scheduled->size() > kSequencesMax) {
      line.fault("scheduled",
                 scheduled->is_array() && scheduled->empty()
                     ? std::string("scheduled is empty: an iteration computes something")
                     : fmt::format("scheduled must be a list of 1 to {} requests", kSequencesMax));
      return std::nullopt;
    }
    const auto composition = composition_in(line, *scheduled);
    if (!pool || !replica || !iteration || !composition) return std::nullopt;
    std::int64_t& last = last_[{*pool, *replica}];
    if (*iteration <= last) {
      line.fault("iteration", fmt::format("iteration {} of replica {} of pool {} comes after "
                                          "iteration {} of the same",
                                          *iteration, *replica, in_quotes(*pool), last));
      return std::nullopt;
    }
    last = *iteration;
    return composition;
  }

 private:
  std::optional<Composition> composition_in(const Line& line, const Json& scheduled) {
    Composition composition;
    ids_.clear();
    for (const Json& one : scheduled) {
      if (!one.is_object()) {
        line.fault("scheduled",
                   "a scheduled request must be an object, not " + in_quotes(Line::shown(one)));
        return std::nullopt;
      }
      const Json* id = line.member(one, "id");
      const auto tokens = line.whole(one, "tokens", 1, kTokensMax);
      const auto context = line.whole(one, "context", 0, kTokensMax);
      const auto phase = line.word(one, "phase");
      if (id == nullptr || !tokens || !context || !phase) return std::nullopt;
      if (!sound_id(line, *id)) return std::nullopt;
      if (*phase != "prefill" && *phase != "decode") {
        line.fault("phase", "phase must be prefill or decode, not " + in_quotes(*phase));
        return std::nullopt;
      }
      if (*phase == "decode" && *context == 0) {
        line.fault("context", "a decode without cached tokens");
        return std::nullopt;
      }
      composition.fresh.push_back(*tokens);
      composition.cached.push_back(*context);
    }
    return composition;
  }

  bool sound_id(const Line& line, const Json& id) {
    if (!id.is_string() && !id.is_number_unsigned()) {
      line.fault("id", "id must be a text or a whole number, not " + in_quotes(Line::shown(id)));
      return false;
    }
    if (ids_.insert(Line::shown(id)).second) return true;
    line.fault("id", fmt::format("request {} is scheduled twice", in_quotes(Line::shown(id))));
    return false;
  }

  std::map<std::pair<std::string, std::int64_t>, std::int64_t> last_;
  std::unordered_set<std::string> ids_;  // of one iteration
};

}  // namespace

std::optional<IterationLogHeader> read_iteration_log(
    const std::string& path, const std::function<void(const Composition&)>& take,
    Problems& problems) {
  TextFile text(path);
  FileFaults faults(path, problems);
  std::string_view line;
  if (!text.next_line(line)) {
    faults.add(1, 1, fmt::format("file is empty; expected the header of {}", kSchema));
    return std::nullopt;
  }
  const auto header = header_in({line, text.line_number(), faults});
  if (!header) return std::nullopt;  // what follows cannot be judged
  IterationReader reader;
  std::int64_t iterations = 0;
  int empty_line = 0;
  while (text.next_line(line)) {
    if (line.empty()) {  // allowed at the end only
      if (empty_line == 0) empty_line = text.line_number();
      continue;
    }
    if (empty_line > 0) faults.add(empty_line, 1, "line is empty");
    empty_line = 0;
    ++iterations;
    if (const auto composition = reader.read({line, text.line_number(), faults}))
      take(*composition);
  }
  if (iterations == 0) faults.add(1, 1, "the log holds no iteration");
  if (faults.count() > 0) return std::nullopt;
  return header;
}

}  // namespace fleetsim
