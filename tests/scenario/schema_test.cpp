// The JSON Schema, held against the scenarios by a validator of the part of the language it uses.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "hw_models/yaml_reader.h"
#include "sim/scenario/scenario_fields.h"
#include "sim/scenario/scenario_reader.h"

#include "tests/catch.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

bool is_number(const YamlNode& node) {
  static const std::regex number("-?[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]+)?");
  return node.kind == YamlNode::Kind::scalar && !node.quoted &&
         std::regex_match(node.scalar, number);
}

bool is_bool(const YamlNode& node) {
  return node.kind == YamlNode::Kind::scalar && !node.quoted &&
         (node.scalar == "true" || node.scalar == "false");
}

bool has_type(const std::string& type, const YamlNode& node) {
  if (type == "object") return node.kind == YamlNode::Kind::map;
  if (type == "array") return node.kind == YamlNode::Kind::sequence;
  if (type == "boolean") return is_bool(node);
  if (type == "number") return is_number(node);
  if (type == "integer")
    return is_number(node) && node.scalar.find_first_of(".eE") == std::string::npos;
  REQUIRE(type == "string");
  return node.kind == YamlNode::Kind::scalar &&
         (node.quoted || (!is_number(node) && !is_bool(node)));
}

/// The subset of draft 2020-12 that the schema writer uses; an unknown keyword fails the test.
class Validator {
 public:
  explicit Validator(Json root) : root_(std::move(root)) {}
  bool accepts(const YamlNode& node) const { return valid(root_, node); }

 private:
  bool valid(const Json& schema, const YamlNode& node) const {
    for (const auto& [keyword, rule] : schema.items())
      if (!holds(schema, keyword, rule, node)) return false;
    return true;
  }

  bool holds(const Json& schema, const std::string& keyword, const Json& rule,
             const YamlNode& node) const {
    static const std::set<std::string> kNotes = {"$schema", "$defs", "title", "description",
                                                 "default"};
    if (kNotes.count(keyword)) return true;
    if (keyword == "$ref")
      return valid(root_.at(Json::json_pointer(rule.get<std::string>().substr(1))), node);
    if (keyword == "type") return has_type(rule, node);
    if (keyword == "oneOf" || keyword == "anyOf") {
      const auto count = std::count_if(rule.begin(), rule.end(),
                                       [&](const Json& one) { return valid(one, node); });
      return keyword == "oneOf" ? count == 1 : count >= 1;
    }
    if (keyword == "enum")
      return std::any_of(rule.begin(), rule.end(),
                         [&](const Json& one) { return one == node.scalar; });
    if (keyword == "const") return rule == node.scalar;
    if (keyword == "pattern")
      return std::regex_match(node.scalar, std::regex(rule.get<std::string>()));
    if (keyword == "minimum") return std::atof(node.scalar.c_str()) >= rule.get<double>();
    if (keyword == "exclusiveMinimum") return std::atof(node.scalar.c_str()) > rule.get<double>();
    if (keyword == "maximum") return std::atof(node.scalar.c_str()) <= rule.get<double>();
    if (keyword == "minItems") return node.items.size() >= rule.get<std::size_t>();
    if (keyword == "maxItems") return node.items.size() <= rule.get<std::size_t>();
    if (keyword == "items")
      return std::all_of(node.items.begin(), node.items.end(),
                         [&](const YamlNode& item) { return valid(rule, item); });
    if (keyword == "required")
      return std::all_of(rule.begin(), rule.end(),
                         [&](const Json& key) { return node.find(key) != nullptr; });
    if (keyword == "properties")
      return std::all_of(node.entries.begin(), node.entries.end(), [&](const YamlEntry& entry) {
        return !rule.contains(entry.key) || valid(rule.at(entry.key), entry.value);
      });
    REQUIRE(keyword == "additionalProperties");
    return std::all_of(node.entries.begin(), node.entries.end(), [&](const YamlEntry& entry) {
      if (schema.at("properties").contains(entry.key)) return true;
      return rule.is_boolean() ? rule.get<bool>() : valid(rule, entry.value);
    });
  }

  Json root_;
};

std::string text_of(const std::filesystem::path& path) {
  std::ifstream stream(path);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

bool accepted(const std::string& text) {
  static const Validator validator(Json::parse(scenario_json_schema()));
  Problems problems;
  const auto root = parse_yaml(text, "s.yaml", problems);
  REQUIRE(root.has_value());
  return validator.accepts(*root);
}

/// Every key and synonym of a description, variants included.
void collect_keys(const Record& record, std::set<std::string>& keys);

void collect_keys(const Field& field, std::set<std::string>& keys) {
  keys.insert(field.key);
  keys.insert(field.synonyms.begin(), field.synonyms.end());
  if (const auto* inner = std::get_if<Record>(&field.shape)) collect_keys(*inner, keys);
  if (const auto* list = std::get_if<List>(&field.shape)) {
    list->clear();
    list->append();
    collect_keys(list->item(0), keys);
    list->clear();
  }
  if (const auto* either = std::get_if<Either>(&field.shape)) {
    collect_keys(*either->single, keys);
    collect_keys(*either->several, keys);
  }
}

void collect_keys(const Record& record, std::set<std::string>& keys) {
  record.reset();
  for (const Field& field : record.fields()) collect_keys(field, keys);
  if (!record.tag) return;
  const Field tag = record.tag().front();
  keys.insert(tag.key);
  const auto& words = std::get<WordValue>(tag.shape);
  for (std::size_t i = 0; i < words.words.size(); ++i) {
    words.value.set(static_cast<int>(i));
    for (const Field& field : record.tagged()) collect_keys(field, keys);
  }
}

void collect_properties(const Json& json, std::set<std::string>& keys) {
  if (json.is_object() && json.contains("properties"))
    for (const auto& [key, value] : json.at("properties").items()) keys.insert(key);
  if (json.is_structured())
    for (const Json& inner : json) collect_properties(inner, keys);
}

}  // namespace

TEST_CASE("the schema accepts every scenario of the project, and its echo", "[unit]") {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(FLEETSIM_SOURCE_DIR "/scenarios")) {
    if (entry.path().extension() != ".yaml") continue;
    INFO(entry.path().string());
    CHECK(accepted(text_of(entry.path())));
    Problems problems;
    const auto scenario = read_scenario(entry.path().string(), {}, problems);
    REQUIRE(scenario.has_value());
    CHECK(accepted(resolved_scenario_yaml(*scenario)));
    ++count;
  }
  CHECK(count >= 11);
}

TEST_CASE("the schema refuses what the reader refuses", "[unit]") {
  const std::string good = text_of(FLEETSIM_SOURCE_DIR "/scenarios/chat-2k-rps.yaml");
  const auto refused = [&](const std::string& old, const std::string& by) {
    std::string text = good;
    const std::size_t at = text.find(old);
    REQUIRE(at != std::string::npos);
    return !accepted(text.replace(at, old.size(), by));
  };
  CHECK(accepted(good));
  CHECK(refused("duration: 10min", "duration: 600"));
  CHECK(refused("duration: 10min", "duration: 10/s"));
  CHECK(refused("duration: 10min", "duratio: 10min"));
  CHECK(refused("rate: 2000/s", "rate: 2000"));
  CHECK(refused("process: poisson", "process: poison"));
  CHECK(refused("peak_to_mean: 1.125", "cv: 1.125"));
  CHECK(refused("max_num_seqs: 256", "max_num_seqs: 0"));
  CHECK(refused("max_num_seqs: 256", "max_num_seq: 256"));
  CHECK(refused("gpu_memory_utilization: 0.9", "gpu_memory_utilization: 1.1"));
  CHECK(refused("dp: 1", "dp: 2"));
  CHECK(refused("cost_model: auto", "cost_model: measured"));
  CHECK(refused("gpu: h100-sxm", "gpus: h100-sxm"));
  CHECK(refused("weights: bf16", "weights: bf61"));
}

TEST_CASE("every key of the description is in the schema, and none beside", "[unit]") {
  Scenario scratch;
  const FieldContext context;
  std::set<std::string> described, written;
  collect_keys(scenario_record(scratch, context), described);
  collect_properties(Json::parse(scenario_json_schema()), written);
  CHECK(described.size() > 90);
  for (const std::string& key : described) {
    INFO(key);
    CHECK(written.count(key) == 1);
  }
}

}  // namespace fleetsim
