// Strict reading of our own YAML files: units are compulsory, unread keys are faults.

#include "hw_models/catalogue_file.h"

#include <charconv>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

struct UnitRow {
  Dimension dimension;
  const char* unit;
  double scale;  // to SI base units, bytes, FLOP/s
};

constexpr UnitRow kUnits[] = {
    {Dimension::count, "", 1},
    {Dimension::count, "FLOP", 1},
    {Dimension::flops_per_second, "TFLOP/s", 1e12},
    {Dimension::bytes_per_second, "GB/s", 1e9},
    {Dimension::bytes, "GB", 1e9},
    {Dimension::bytes, "MB", 1e6},
    {Dimension::bytes, "MiB", 1048576},
    {Dimension::bytes, "KiB", 1024},
    {Dimension::seconds, "us", 1e-6},
    {Dimension::hertz, "MHz", 1e6},
    {Dimension::watts, "W", 1},
    {Dimension::share, "share", 1},
};

double parse_quantity(const std::string& text, Dimension dimension, const std::string& place) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  CHECK(error == std::errc(), place + ": not a number: " + text);
  std::string unit(rest, end);
  if (!unit.empty() && unit.front() == ' ') unit.erase(0, 1);
  for (const UnitRow& row : kUnits)
    if (row.dimension == dimension && unit == row.unit) return number * row.scale;
  CHECK(false, place + ": unit does not fit: " + text);
  return 0;
}

}  // namespace

YamlNode CatalogueMap::parse(const EmbeddedFile& file) {
  Problems problems;
  auto node = parse_yaml(std::string(file.content), std::string(file.name), problems);
  CHECK(node.has_value() && problems.empty(), problems.text());
  return std::move(*node);
}

CatalogueMap::CatalogueMap(const YamlNode& node, std::string place)
    : node_(&node), place_(std::move(place)) {
  CHECK(node.kind == YamlNode::Kind::map, place_ + ": not a map");
}

const YamlNode& CatalogueMap::at(const std::string& key) {
  const YamlNode* value = node_->find(key);
  CHECK(value != nullptr, place_ + ": missing key " + key);
  read_.insert(key);
  return *value;
}

std::string CatalogueMap::text(const std::string& key) {
  const YamlNode& value = at(key);
  CHECK(value.kind == YamlNode::Kind::scalar, place_ + "." + key + ": not a scalar");
  return value.scalar;
}

std::string CatalogueMap::text_or(const std::string& key, const std::string& otherwise) {
  return has(key) ? text(key) : otherwise;
}

std::int64_t CatalogueMap::integer(const std::string& key) {
  const std::string digits = text(key);
  std::int64_t number = 0;
  const char* end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, number);
  CHECK(error == std::errc() && rest == end, place_ + "." + key + ": not an integer");
  return number;
}

std::int64_t CatalogueMap::integer_or(const std::string& key, std::int64_t otherwise) {
  return has(key) ? integer(key) : otherwise;
}

bool CatalogueMap::flag_or(const std::string& key, bool otherwise) {
  if (!has(key)) return otherwise;
  const std::string word = text(key);
  CHECK(word == "true" || word == "false", place_ + "." + key + ": not true or false");
  return word == "true";
}

std::vector<std::string> CatalogueMap::texts(const std::string& key) {
  std::vector<std::string> list;
  if (!has(key)) return list;
  for (const YamlNode& item : at(key).items) {
    CHECK(item.kind == YamlNode::Kind::scalar, place_ + "." + key + ": not a list of texts");
    list.push_back(item.scalar);
  }
  return list;
}

SourcedValue CatalogueMap::quantity(const std::string& key, Dimension dimension) {
  CatalogueMap entry = map(key);
  SourcedValue result;
  result.value = parse_quantity(entry.text("value"), dimension, place_ + "." + key);
  result.source = entry.text("source");
  CHECK(!result.source.empty(), place_ + "." + key + ": no source");
  entry.finish();
  return result;
}

std::vector<double> CatalogueMap::quantities(const std::string& key, Dimension dimension) {
  std::vector<double> values;
  for (const std::string& item : texts(key))
    values.push_back(parse_quantity(item, dimension, place_ + "." + key));
  return values;
}

CatalogueMap CatalogueMap::map(const std::string& key) { return {at(key), place_ + "." + key}; }

std::vector<CatalogueMap> CatalogueMap::maps(const std::string& key) {
  std::vector<CatalogueMap> list;
  if (!has(key)) return list;
  for (const YamlNode& item : at(key).items) list.emplace_back(item, place_ + "." + key);
  return list;
}

std::vector<std::string> CatalogueMap::keys() const {
  std::vector<std::string> names;
  for (const YamlEntry& entry : node_->entries) names.push_back(entry.key);
  return names;
}

void CatalogueMap::finish() const {
  for (const YamlEntry& entry : node_->entries)
    CHECK(read_.count(entry.key) > 0, place_ + ": unknown key " + entry.key);
}

}  // namespace fleetsim
