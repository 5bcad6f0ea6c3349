// yaml-cpp is used through its events, not its nodes: the tree is ours, so that depth, size,
// aliases and duplicate keys are judged while the text is read and hostile input costs no more than
// its bytes. What yaml-cpp would wave through (NUL bytes, broken UTF-8, tabs as indentation) is
// looked for first.

#include "hw_models/yaml_reader.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <cstdint>
#include <sstream>
#include <unordered_map>
#include <utility>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

constexpr std::size_t kFileBytesMax = 16'000'000;
constexpr std::size_t kLineBytesMax = 1'000'000;
constexpr std::size_t kDepthMax = 64;
// A value of two bytes ("a,") costs about 150 bytes as a node; this keeps the tree under 200 MB.
constexpr std::size_t kValuesMax = 1'000'000;

SourcePosition position_of(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

/// Length in bytes of the UTF-8 character at `at`, or 0 when the bytes there are none (RFC 3629).
std::size_t utf8_length(const std::string& text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const unsigned first = byte(at);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
  const unsigned second = byte(at + 1);
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool surrogate = first == 0xED && second >= 0xA0;
  const bool beyond = first == 0xF4 && second >= 0x90;
  return overlong || surrogate || beyond ? 0 : length;
}

/// Looks at the bytes before any YAML is understood; the first fault ends the reading.
bool bytes_are_sound(const std::string& text, const std::string& file, Problems& problems) {
  if (text.size() > kFileBytesMax) {
    problems.add(
        file, {},
        fmt::format("the file has {} bytes; at most {} are read", text.size(), kFileBytesMax));
    return false;
  }
  int line = 1;
  std::size_t line_start = 0;
  bool indenting = true;
  std::size_t tab = std::string::npos;  // a tab met while indenting this line
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const SourcePosition here{line, static_cast<int>(at - line_start) + 1};
    if (byte == '\n') {
      ++line;
      line_start = ++at;
      indenting = true;
      tab = std::string::npos;
      continue;
    }
    if (at - line_start >= kLineBytesMax) {
      problems.add(file, {line, 1}, fmt::format("the line is longer than {} bytes", kLineBytesMax));
      return false;
    }
    if ((byte < 0x20 && byte != '\t' && byte != '\r') || byte == 0x7F) {
      problems.add(file, here,
                   byte == 0 ? "NUL byte; a text file is expected"
                             : fmt::format("control character 0x{:02x}", byte));
      return false;
    }
    const std::size_t length = utf8_length(text, at);
    if (length == 0) {
      problems.add(file, here, fmt::format("byte 0x{:02x} is not UTF-8", byte));
      return false;
    }
    if (indenting && byte == '\t' && tab == std::string::npos) tab = at;
    if (indenting && byte != ' ' && byte != '\t' && byte != '\r') {
      indenting = false;
      if (tab != std::string::npos && byte != '#') {
        problems.add(file, {line, static_cast<int>(tab - line_start) + 1},
                     "tab used as indentation; YAML wants spaces");
        return false;
      }
    }
    at += length;
  }
  return true;
}

/// Ends the parse from inside an event; the problem is already reported.
struct ParseStopped {};

/// Builds the tree from events. Open containers stand on a stack; a key waits for its value.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(const std::string& file, Problems& problems) : file_(file), problems_(problems) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) stop(position_of(mark), "a second document begins; a file holds one");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(position_of(mark), anchor);
    if (expects_key()) stop(position_of(mark), "a key is missing before ':'");
    YamlNode node;
    // The event of a missing value carries the place of whatever follows; its key says more.
    node.position = in_map() ? open_.back().key_position : position_of(mark);
    add(std::move(node));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    stop(position_of(mark), "aliases ('*name') are not supported; write the value out");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    const SourcePosition position = position_of(mark);
    refuse_anchor(position, anchor);
    refuse_tag(position, tag);
    if (expects_key()) {
      open_.back().key = value;
      open_.back().key_position = position;
      open_.back().has_key = true;
      return;
    }
    YamlNode node;
    node.kind = YamlNode::Kind::scalar;
    node.quoted = tag == "!";
    node.scalar = value;
    node.position = position;
    add(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open_container(position_of(mark), tag, anchor, YamlNode::Kind::sequence);
  }
  void OnSequenceEnd() override { close_container(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open_container(position_of(mark), tag, anchor, YamlNode::Kind::map);
  }
  void OnMapEnd() override { close_container(); }

 private:
  struct OpenContainer {
    YamlNode node;
    std::unordered_map<std::string, int> lines;  // of the keys so far; looked up, never walked
    std::string key;
    SourcePosition key_position;
    bool has_key = false;
  };

  bool in_map() const { return !open_.empty() && open_.back().node.kind == YamlNode::Kind::map; }
  bool expects_key() const { return in_map() && !open_.back().has_key; }

  [[noreturn]] void stop(SourcePosition position, std::string message) {
    problems_.add(file_, position, std::move(message));
    throw ParseStopped{};
  }
  void refuse_anchor(SourcePosition position, YAML::anchor_t anchor) {
    if (anchor != 0) stop(position, "anchors ('&name') are not supported; write the value out");
  }
  void refuse_tag(SourcePosition position, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!")
      stop(position, fmt::format("the tag '{}' is not supported", shown(tag)));
  }

  void open_container(SourcePosition position, const std::string& tag, YAML::anchor_t anchor,
                      YamlNode::Kind kind) {
    refuse_anchor(position, anchor);
    refuse_tag(position, tag);
    if (expects_key()) stop(position, "a key must be a word, not a list or a map");
    if (open_.size() >= kDepthMax)
      stop(position, fmt::format("nested deeper than {} levels", kDepthMax));
    OpenContainer container;
    container.node.kind = kind;
    container.node.position = position;
    open_.push_back(std::move(container));
  }

  void close_container() {
    CHECK(!open_.empty());
    YamlNode node = std::move(open_.back().node);
    open_.pop_back();
    add(std::move(node));
  }

  void add(YamlNode node) {
    if (++values_ > kValuesMax)
      stop(node.position, fmt::format("more than {} values in one file", kValuesMax));
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (!in_map()) {
      open_.back().node.items.push_back(std::move(node));
    } else {
      add_entry(open_.back(), std::move(node));
    }
  }

  void add_entry(OpenContainer& map, YamlNode node) {
    map.has_key = false;
    const auto [first, is_new] = map.lines.try_emplace(map.key, map.key_position.line);
    if (!is_new) {
      problems_.add(
          file_, map.key_position,
          fmt::format("duplicate key '{}', first given in line {}", shown(map.key), first->second));
      return;
    }
    map.node.entries.push_back({map.key, map.key_position, std::move(node)});
  }

  const std::string& file_;
  Problems& problems_;
  std::vector<OpenContainer> open_;
  YamlNode root_;
  std::size_t values_ = 0;
  int documents_ = 0;
};

}  // namespace

std::string shown(const std::string& text) {
  constexpr std::size_t kShownMax = 80;
  std::string out;
  for (const char c : text) {
    if (out.size() >= kShownMax) return out + "...";
    if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

const YamlNode* YamlNode::find(const std::string& key) const {
  for (const YamlEntry& entry : entries)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

std::optional<YamlNode> parse_yaml(const std::string& text, const std::string& file,
                                   Problems& problems) {
  if (!bytes_are_sound(text, file, problems)) return std::nullopt;
  TreeBuilder builder(file, problems);
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const ParseStopped&) {
    return std::nullopt;
  } catch (const YAML::Exception& error) {
    problems.add(file, position_of(error.mark), "YAML syntax: " + shown(error.msg));
    return std::nullopt;
  }
  YamlNode root = builder.take();
  if (root.position.line == 0) root.position = {1, 1};
  return root;
}

}  // namespace fleetsim
