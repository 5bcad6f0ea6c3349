// The value is read as YAML, so that lists and maps can be given as well: --set router={policy:
// random}.

#include "sim/scenario/overrides.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "sim/scenario/scenario.h"

namespace fleetsim {
namespace {

void mark(YamlNode& node, SourcePosition position) {
  node.position = position;
  for (YamlNode& item : node.items) mark(item, position);
  for (YamlEntry& entry : node.entries) {
    entry.position = position;
    mark(entry.value, position);
  }
}

std::string name_of_item(const YamlNode& item) {
  for (const char* key : {"name", "id"})
    if (const YamlNode* name = item.find(key)) return name->scalar;
  return Pool{}.name;  // the one kind of item that may leave its name out
}

/// The item of a list that `segment` names, by name first, then by index; nullptr with the reason.
YamlNode* item_of(YamlNode& list, const std::string& segment, std::string& reason) {
  std::string names;
  for (YamlNode& item : list.items) {
    const std::string name = name_of_item(item);
    if (name == segment) return &item;
    names += (names.empty() ? "" : ", ") + shown(name);
  }
  std::size_t index = 0;
  const char* end = segment.data() + segment.size();
  const auto [stop, error] = std::from_chars(segment.data(), end, index);
  if (error == std::errc() && stop == end && index < list.items.size()) return &list.items[index];
  reason = fmt::format("no item '{}'; there are {}: {}", shown(segment), list.items.size(), names);
  return nullptr;
}

std::vector<std::string> split_path(const std::string& path) {
  std::vector<std::string> segments;
  for (std::size_t at = 0;;) {
    const std::size_t dot = path.find('.', at);
    segments.push_back(path.substr(at, dot - at));
    if (dot == std::string::npos) return segments;
    at = dot + 1;
  }
}

/// Walks to the place of the last segment, making maps on the way; nullptr with the reason.
YamlNode* place_of(YamlNode& root, const std::vector<std::string>& segments,
                   SourcePosition position, std::string& reason) {
  YamlNode* node = &root;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const std::string& segment = segments[i];
    if (node->kind == YamlNode::Kind::null_value) node->kind = YamlNode::Kind::map;
    if (node->kind == YamlNode::Kind::sequence) {
      node = item_of(*node, segment, reason);
      if (node == nullptr) return nullptr;
      continue;
    }
    if (node->kind == YamlNode::Kind::scalar) {
      reason = fmt::format("'{}' is a single value; it has no key '{}'", shown(segments[i - 1]),
                           shown(segment));
      return nullptr;
    }
    YamlNode* next = nullptr;
    for (YamlEntry& entry : node->entries)
      if (entry.key == segment) next = &entry.value;
    if (next == nullptr) {
      YamlNode made;
      made.position = position;
      node->entries.push_back({segment, position, std::move(made)});
      next = &node->entries.back().value;
    }
    node = next;
  }
  return node;
}

std::optional<YamlNode> value_of(const std::string& text, std::string& reason) {
  Problems faults;
  std::optional<YamlNode> value = parse_yaml(text, "", faults);
  if (faults.empty()) return value;
  reason = faults.sorted().front().message;
  return std::nullopt;
}

}  // namespace

std::string override_name(const std::string& set) { return "--set " + shown(set); }

void apply_overrides(YamlNode& root, const std::vector<std::string>& sets, Problems& problems) {
  for (std::size_t k = 0; k < sets.size(); ++k) {
    const std::string& set = sets[k];
    const auto fault = [&](const std::string& message) {
      problems.add(override_name(set), {}, message);
    };
    const std::size_t equals = set.find('=');
    const std::vector<std::string> segments =
        split_path(equals == std::string::npos ? "" : set.substr(0, equals));
    if (std::find(segments.begin(), segments.end(), "") != segments.end()) {
      fault("expected path.to.key=value");
      continue;
    }
    std::string reason;
    const SourcePosition position{-static_cast<int>(k) - 1, 0};
    std::optional<YamlNode> value = value_of(set.substr(equals + 1), reason);
    YamlNode* target = value ? place_of(root, segments, position, reason) : nullptr;
    if (target == nullptr) {
      fault(reason);
      continue;
    }
    mark(*value, position);
    *target = std::move(*value);
  }
}

}  // namespace fleetsim
