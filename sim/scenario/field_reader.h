#pragma once
// The first visitor: fills the values behind a description from a YAML tree and reports every
// fault.

#include <set>
#include <string>
#include <vector>

#include "hw_models/problems.h"
#include "hw_models/yaml_reader.h"
#include "sim/scenario/field.h"
#include "sim/scenario/scenario.h"

namespace fleetsim {

/// Says where things stand and collects faults by dotted path. Positions with a negative line
/// belong to the command line: line -k is the k-th override.
struct FaultPlaces {
  SourceMap& source;
  const std::vector<std::string>& overrides;  // texts as messages name them: "--set a.b=c"
  Problems& problems;
  std::set<std::string> faulty = {};  // dotted paths

  void note(const std::string& path, SourcePosition position);
  void report(const std::string& path, SourcePosition position, const std::string& message);
};

/// What a record's check sees: which keys were given, which of them were read without fault.
class FieldCheck {
 public:
  FieldCheck(FaultPlaces& places, std::string path) : places_(places), path_(std::move(path)) {}
  /// Stands in the file or on the command line.
  bool given(const std::string& key) const;
  /// Nothing at or below `key` was faulty.
  bool sound(const std::string& key) const;
  void fault(const std::string& key, const std::string& message);
  /// "", or the dotted path of this record.
  const std::string& path() const { return path_; }

 private:
  FaultPlaces& places_;
  std::string path_;
};

/// Reads `node` into the values that `description` is bound to. `name` is what messages call it.
void read_record(const Record& description, const YamlNode& node, const std::string& name,
                 const std::string& path, FaultPlaces& places);

/// "; did you mean 'x'?", or " (known: a, b)".
std::string suggestion(const std::string& word, const std::vector<std::string>& known);

}  // namespace fleetsim
