#pragma once
// A YAML file of the built-in catalogues, read strictly. These files are ours, so every fault in
// one is a CHECK, and a key that nobody reads is a fault too.

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "hw_models/embedded.h"
#include "hw_models/yaml_reader.h"

namespace fleetsim {

/// What a quantity measures; each has its units in a table of catalogue_file.cpp.
enum class Dimension {
  count,
  flops_per_second,
  bytes_per_second,
  bytes,
  seconds,
  hertz,
  watts,
  share
};

/// A number in SI base units and where it is from.
struct SourcedValue {
  double value = 0;
  std::string source;
};

/// One map of a catalogue file. Values are looked up by key; finish() names keys never asked for.
class CatalogueMap {
 public:
  CatalogueMap(const YamlNode& node, std::string place);
  static YamlNode parse(const EmbeddedFile& file);

  bool has(const std::string& key) const { return node_->find(key) != nullptr; }
  std::string text(const std::string& key);
  std::string text_or(const std::string& key, const std::string& otherwise);
  std::int64_t integer(const std::string& key);
  std::int64_t integer_or(const std::string& key, std::int64_t otherwise);
  bool flag_or(const std::string& key, bool otherwise);
  std::vector<std::string> texts(const std::string& key);  // empty when absent
  /// `key: {value: 3350 GB/s, source: "..."}`.
  SourcedValue quantity(const std::string& key, Dimension dimension);
  /// `key: [16 KiB, 64 KiB]`.
  std::vector<double> quantities(const std::string& key, Dimension dimension);
  CatalogueMap map(const std::string& key);
  std::vector<CatalogueMap> maps(const std::string& key);  // empty when absent
  std::vector<std::string> keys() const;
  void finish() const;

 private:
  const YamlNode& at(const std::string& key);

  const YamlNode* node_;
  std::string place_;
  std::set<std::string> read_;
};

}  // namespace fleetsim
