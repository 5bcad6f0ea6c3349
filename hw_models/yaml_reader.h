#pragma once
// The only door to yaml-cpp: text in, a plain tree of values with positions out. Safe on hostile
// input: depth, size, alias expansion and duplicate keys are checked and reported, never followed.

#include <optional>
#include <string>
#include <vector>

#include "hw_models/problems.h"

namespace fleetsim {

struct YamlEntry;

/// A node of a parsed file. Scalars keep their text; the reader above decides what they mean.
struct YamlNode {
  enum class Kind { null_value, scalar, sequence, map };
  Kind kind = Kind::null_value;
  bool quoted = false;  // a quoted scalar is always text
  std::string scalar;
  std::vector<YamlNode> items;     // sequence
  std::vector<YamlEntry> entries;  // map, in file order
  SourcePosition position;

  const YamlNode* find(const std::string& key) const;  // nullptr when absent
};

struct YamlEntry {
  std::string key;
  SourcePosition position;  // of the key
  YamlNode value;
};

/// The user's text as a message shows it: one line, control characters escaped, at most 80 bytes.
std::string shown(const std::string& text);

/// Parses one document. Faults (syntax, duplicate keys, too deep, aliases, too large, several
/// documents) go to `problems`; nullopt when nothing usable remains. An empty text is a null value.
std::optional<YamlNode> parse_yaml(const std::string& text, const std::string& file,
                                   Problems& problems);

}  // namespace fleetsim
