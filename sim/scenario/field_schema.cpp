// Records become definitions under $defs; a tagged record becomes one alternative per word of its
// tag.

#include "sim/scenario/field_schema.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

void add_bounds(Json& schema, const RealRange& range) {
  if (std::isfinite(range.min)) schema[range.above ? "exclusiveMinimum" : "minimum"] = range.min;
  if (std::isfinite(range.max)) schema["maximum"] = range.max;
}

Json names_schema(const std::vector<std::string>& names) {
  if (names.empty()) return {{"type", "string"}};
  return {{"anyOf", {{{"enum", names}}, {{"type", "string"}}}}};
}

class SchemaWriter {
 public:
  Json definitions = Json::object();

  /// The record in place (the root), or a reference to its definition.
  Json reference(const Record& record) {
    if (!definitions.contains(record.name)) {
      definitions[record.name] = nullptr;  // keeps its place, and ends recursion
      Json body = this->body(record);
      definitions[record.name] = std::move(body);
    }
    return {{"$ref", "#/$defs/" + record.name}};
  }

  Json body(const Record& record) {
    record.reset();
    if (!record.tag) return object(record.fields(), {}, Json());
    const Field tag = record.tag().front();
    const auto& words = std::get<WordValue>(tag.shape);
    Json alternatives = Json::array();
    for (std::size_t i = 0; i < words.words.size(); ++i) {
      words.value.set(static_cast<int>(i));
      std::vector<Field> fields = record.fields();
      for (Field& field : record.tagged()) fields.push_back(std::move(field));
      const Json constant = {{"description", words.words[i].doc}, {"const", words.words[i].name}};
      alternatives.push_back(object(fields, tag.key, constant));
    }
    return {{"oneOf", alternatives}};
  }

 private:
  Json object(const std::vector<Field>& fields, const std::string& tag, const Json& constant) {
    Json properties = Json::object();
    Json required = Json::array();
    Json rules = Json::array();
    if (!tag.empty()) {
      properties[tag] = constant;
      required.push_back(tag);
    }
    for (const Field& field : fields) {
      properties[field.key] = described(field);
      for (const std::string& synonym : field.synonyms) {
        Json same = described(field);
        same["description"] = "the same as " + field.key;
        properties[synonym] = std::move(same);
      }
      if (field.required) required.push_back(field.key);
    }
    Json schema = {{"type", "object"}, {"properties", properties}};
    if (!required.empty()) schema["required"] = required;
    schema["additionalProperties"] = false;
    return schema;
  }

  Json described(const Field& field) {
    Json schema = {{"description", field.doc}};
    const Json shape = std::visit([this](const auto& s) { return of(s); }, field.shape);
    if (std::holds_alternative<NotYet>(field.shape))
      schema["description"] = field.doc + " (not simulated yet)";
    schema.update(shape);
    return schema;
  }

  Json of(const TextValue& text) { return names_schema(text.names); }
  Json of(const FlagValue&) { return {{"type", "boolean"}}; }
  Json of(const WholeValue& whole) {
    Json schema = {{"type", "integer"}, {"minimum", whole.range.min}};
    const std::int64_t max = std::min(whole.range.max, whole.range.simulated_max);
    if (max != std::numeric_limits<std::int64_t>::max()) schema["maximum"] = max;
    return schema;
  }
  Json of(const RealValue& real) {
    Json schema = {{"type", "number"}};
    add_bounds(schema, real.range);
    return schema;
  }
  Json of(const TimeValue&) { return pattern(Dimension::time); }
  Json of(const QuantityValue& quantity) { return pattern(quantity.dimension); }
  Json of(const BytesValue&) { return pattern(Dimension::bytes); }
  Json of(const WordValue& words) {
    Json names = Json::array();
    for (const Word& word : words.words)
      if (word.simulated) names.push_back(word.name);
    return {{"enum", names}};
  }
  Json of(const NotYet&) { return {{"type", "array"}, {"maxItems", 0}}; }
  Json of(const NamedReals& named) {
    Json number = {{"type", "number"}};
    add_bounds(number, named.range);
    Json properties = Json::object();
    for (const std::string& name : named.names) properties[name] = number;
    return {{"type", "object"}, {"properties", properties}, {"additionalProperties", number}};
  }
  Json of(const Record& record) { return reference(record); }
  Json of(const List& list) {
    list.clear();
    list.append();
    const Json item = reference(list.item(0));
    list.clear();
    return {{"type", "array"}, {"minItems", 1}, {"items", item}};
  }
  Json of(const Either& either) {
    return {{"anyOf", {described(*either.single), described(*either.several)}}};
  }

  static Json pattern(Dimension dimension) {
    return {{"type", "string"}, {"pattern", quantity_pattern(dimension)}};
  }
};

}  // namespace

std::string json_schema(const Record& description, const std::string& title,
                        const std::string& about) {
  SchemaWriter writer;
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                 {"title", title},
                 {"description", about}};
  schema.update(writer.body(description));
  schema["$defs"] = std::move(writer.definitions);
  return schema.dump(2) + "\n";
}

}  // namespace fleetsim
