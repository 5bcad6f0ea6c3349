// Walks description and YAML tree side by side. A fault never stops the walk: it is noted under its
// path, so that later checks know which values they can trust, and the next key is read.

#include "sim/scenario/field_reader.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

constexpr SimTime kTimeMax = 1000 * 86400 * kNanosecondsPerSecond;  // 1000 days: sums stay in range
constexpr double kBytesMax = 9e15;                                  // whole numbers of a double

std::string join(const std::string& path, const std::string& key) {
  return path.empty() ? key : path + "." + key;
}

std::string found(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::null_value:
      return "nothing";
    case YamlNode::Kind::sequence:
      return "a list";
    case YamlNode::Kind::map:
      return "a map";
    case YamlNode::Kind::scalar:
      break;
  }
  if (node.quoted) return fmt::format("the text \"{}\"", shown(node.scalar));
  return fmt::format("'{}'", shown(node.scalar));
}

std::string names_of(const std::vector<Word>& words, bool simulated_only) {
  std::string names;
  for (const Word& word : words)
    if (word.simulated || !simulated_only) names += (names.empty() ? "" : ", ") + word.name;
  return names;
}

std::string range_text(const WholeRange& range) {
  if (range.max == std::numeric_limits<std::int64_t>::max())
    return fmt::format("at least {}", range.min);
  return fmt::format("between {} and {}", range.min, range.max);
}

std::string range_text(const RealRange& range) {
  const bool from = std::isfinite(range.min), to = std::isfinite(range.max);
  if (from && to && !range.above) return fmt::format("between {} and {}", range.min, range.max);
  std::string text;
  if (from) text = fmt::format("{} {}", range.above ? "above" : "at least", range.min);
  if (to) text += fmt::format("{}at most {}", from ? " and " : "", range.max);
  return text;
}

/// Reads one value; what it returns follows "'key' " in the message, or is "" when all is well.
/// A message that starts with '\1' stands alone.
class ValueReader {
 public:
  ValueReader(const Field& field, const YamlNode& node) : field_(field), node_(node) {}

  std::string operator()(const TextValue& text) const {
    if (node_.kind != YamlNode::Kind::scalar) return must_be("a text");
    if (node_.scalar.empty()) return "is an empty text";
    const std::string fault = text.fault ? text.fault(node_.scalar) : "";
    if (!fault.empty()) return "\1" + fault;
    text.value.set(node_.scalar);
    return "";
  }

  std::string operator()(const FlagValue& flag) const {
    const bool plain = node_.kind == YamlNode::Kind::scalar && !node_.quoted;
    if (!plain || (node_.scalar != "true" && node_.scalar != "false"))
      return must_be("true or false");
    flag.value.set(node_.scalar == "true");
    return "";
  }

  std::string operator()(const WholeValue& whole) const {
    if (node_.kind != YamlNode::Kind::scalar || node_.quoted) return must_be("a whole number");
    std::int64_t value = 0;
    const char* end = node_.scalar.data() + node_.scalar.size();
    const auto [stop, error] = std::from_chars(node_.scalar.data(), end, value);
    if (error == std::errc::result_out_of_range && stop == end)
      return must_be(range_text(whole.range));
    if (error != std::errc() || stop != end) return must_be("a whole number");
    if (value < whole.range.min || value > whole.range.max) return must_be(range_text(whole.range));
    if (value > whole.range.simulated_max)
      return fmt::format("above {} is not simulated yet", whole.range.simulated_max);
    whole.value.set(value);
    return "";
  }

  std::string operator()(const RealValue& real) const {
    if (node_.kind != YamlNode::Kind::scalar || node_.quoted) return must_be("a number");
    const auto parsed = parse_number(node_.scalar);
    if (const auto* fault = std::get_if<QuantityFault>(&parsed))
      return *fault == QuantityFault::out_of_range ? too_big() : must_be("a number");
    const double value = std::get<double>(parsed);
    const bool low = real.range.above ? value <= real.range.min : value < real.range.min;
    if (low || value > real.range.max) return must_be(range_text(real.range));
    real.value.set(value);
    return "";
  }

  std::string operator()(const TimeValue& time) const {
    double value = 0;
    if (std::string fault = quantity(Dimension::time, time.zero, value); !fault.empty())
      return fault;
    if (value > static_cast<double>(kTimeMax)) return must_be("at most 1000d");
    const auto rounded = static_cast<SimTime>(std::llround(value));
    if (rounded == 0 && value > 0) return "is finer than 1ns, the tick of the simulation's clock";
    time.value.set(rounded);
    return "";
  }

  std::string operator()(const QuantityValue& real) const {
    double value = 0;
    if (std::string fault = quantity(real.dimension, real.zero, value); !fault.empty())
      return fault;
    real.value.set(value);
    return "";
  }

  std::string operator()(const BytesValue& bytes) const {
    double value = 0;
    if (std::string fault = quantity(Dimension::bytes, Zero::refused, value); !fault.empty())
      return fault;
    if (value > kBytesMax) return too_big();
    if (value != std::floor(value)) return must_be("a whole number of bytes");
    bytes.value.set(static_cast<std::int64_t>(value));
    return "";
  }

  std::string operator()(const WordValue& word) const {
    if (node_.kind != YamlNode::Kind::scalar)
      return must_be("one of " + names_of(word.words, true));
    std::vector<std::string> names;
    for (std::size_t i = 0; i < word.words.size(); ++i) {
      names.push_back(word.words[i].name);
      if (word.words[i].name != node_.scalar) continue;
      if (!word.words[i].simulated)
        return fmt::format("\1{} '{}' is not simulated yet (simulated: {})", field_.key,
                           node_.scalar, names_of(word.words, true));
      word.value.set(static_cast<int>(i));
      return "";
    }
    return fmt::format("\1unknown {} '{}'{}", field_.key, shown(node_.scalar),
                       suggestion(node_.scalar, names));
  }

  std::string operator()(const NotYet&) const {
    const bool asks_nothing = node_.kind == YamlNode::Kind::sequence && node_.items.empty();
    return asks_nothing ? "" : "is not simulated yet";
  }

  // Containers are walked by Walk, which never hands them over.
  template <class Container>
  std::string operator()(const Container&) const {
    CHECK(false, "a container of fields was read as a single value: " + field_.key);
    return "";
  }

 private:
  std::string must_be(const std::string& what) const {
    return fmt::format("must be {}, not {}", what, found(node_));
  }
  std::string too_big() const { return fmt::format("is out of range: {}", found(node_)); }

  std::string quantity(Dimension dimension, Zero zero, double& value) const {
    const char* what = describe(dimension);
    if (node_.kind != YamlNode::Kind::scalar) return must_be(what);
    const auto parsed = parse_quantity(node_.scalar, dimension);
    if (const auto* fault = std::get_if<QuantityFault>(&parsed)) {
      switch (*fault) {
        case QuantityFault::out_of_range:
          return too_big();
        case QuantityFault::unit_missing:
          return fmt::format("has no unit: write {}, not {}", what, found(node_));
        default:
          return fmt::format("{} (units: {})", must_be(what), unit_names(dimension));
      }
    }
    value = std::get<double>(parsed);
    if (value < 0) return must_be(zero == Zero::refused ? "above 0" : "at least 0");
    if (value == 0 && zero == Zero::refused) return must_be("above 0");
    return "";
  }

  const Field& field_;
  const YamlNode& node_;
};

/// The walk over containers.
class Walk {
 public:
  explicit Walk(FaultPlaces& places) : places_(places) {}

  void record(const Record& record, const YamlNode& node, const std::string& name,
              const std::string& path) {
    if (node.kind != YamlNode::Kind::map) {
      places_.report(path, node.position,
                     fmt::format("{} must be a map of keys, not {}",
                                 path.empty() ? name : "'" + name + "'", found(node)));
      return;
    }
    record.reset();
    std::vector<bool> known(node.entries.size(), false);
    std::vector<Field> fields;
    bool tag_read = true;
    if (record.tag) {
      fields = record.tag();
      tag_read = field(fields.front(), node, name, path, known);
    }
    std::vector<Field> more = record.fields();
    if (record.tagged && tag_read)
      for (Field& one : record.tagged()) more.push_back(std::move(one));
    for (const Field& one : more) field(one, node, name, path, known);
    for (Field& one : more) fields.push_back(std::move(one));
    // Without the tag nobody can say which of the other keys belong here.
    if (tag_read) unknown_keys(record, fields, node, name, path, known);
    if (record.check) {
      FieldCheck check(places_, path);
      record.check(check);
    }
  }

 private:
  /// Reads one key of a map; false when it is missing or faulty.
  bool field(const Field& field, const YamlNode& map, const std::string& name,
             const std::string& path, std::vector<bool>& known) {
    const std::string here = join(path, field.key);
    const YamlEntry* entry = nullptr;
    for (std::size_t i = 0; i < map.entries.size(); ++i) {
      const YamlEntry& candidate = map.entries[i];
      if (!is_called(field, candidate.key)) continue;
      known[i] = true;
      if (entry != nullptr)
        places_.report(here, candidate.position,
                       fmt::format("'{}' and '{}' are the same setting; give one of them",
                                   entry->key, candidate.key));
      entry = &candidate;
    }
    if (entry == nullptr) {
      if (field.required)
        places_.report(here, map.position, fmt::format("missing key '{}' in {}", field.key, name));
      return false;
    }
    const bool at_value =
        entry->value.kind == YamlNode::Kind::scalar || entry->value.position.line < 0;
    places_.note(here, at_value ? entry->value.position : entry->position);
    value(field, entry->value, here);
    return places_.faulty.find(here) == places_.faulty.end();
  }

  static bool is_called(const Field& field, const std::string& key) {
    if (field.key == key) return true;
    for (const std::string& synonym : field.synonyms)
      if (synonym == key) return true;
    return false;
  }

  void value(const Field& field, const YamlNode& node, const std::string& path) {
    if (node.kind == YamlNode::Kind::null_value) {
      places_.report(path, node.position, fmt::format("'{}' has no value", field.key));
    } else if (const auto* inner = std::get_if<Record>(&field.shape)) {
      record(*inner, node, field.key, path);
    } else if (const auto* items = std::get_if<List>(&field.shape)) {
      list(field, *items, node, path);
    } else if (const auto* either = std::get_if<Either>(&field.shape)) {
      value(node.kind == YamlNode::Kind::map ? *either->several : *either->single, node, path);
    } else if (const auto* named = std::get_if<NamedReals>(&field.shape)) {
      named_reals(*named, node, path);
    } else {
      const std::string fault = std::visit(ValueReader(field, node), field.shape);
      if (fault.empty()) return;
      places_.report(path, node.position,
                     fault[0] == '\1' ? fault.substr(1) : fmt::format("'{}' {}", field.key, fault));
    }
  }

  void list(const Field& field, const List& items, const YamlNode& node, const std::string& path) {
    if (node.kind != YamlNode::Kind::sequence) {
      places_.report(path, node.position,
                     fmt::format("'{}' must be a list, not {}", field.key, found(node)));
      return;
    }
    items.clear();
    if (node.items.empty())
      places_.report(path, node.position, fmt::format("'{}' is an empty list", field.key));
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      items.append();
      const std::string here = join(path, std::to_string(i));
      places_.note(here, node.items[i].position);
      record(items.item(i), node.items[i], field.key, here);
    }
  }

  void named_reals(const NamedReals& named, const YamlNode& map, const std::string& path) {
    named.values->clear();
    for (const YamlEntry& entry : map.entries) {
      const std::string here = join(path, entry.key);
      places_.note(here, entry.value.position);
      if (const std::string fault = named.fault(entry.key); !fault.empty()) {
        places_.report(here, entry.position, fault);
        continue;
      }
      double number = 0;
      const Field one = real(entry.key, number, named.range, "");
      value(one, entry.value, here);
      if (places_.faulty.count(here) != 0) continue;
      if (!named.values->emplace(named.canonical(entry.key), number).second)
        places_.report(here, entry.position,
                       fmt::format("'{}' names the same as a key above", entry.key));
    }
  }

  void unknown_keys(const Record& record, const std::vector<Field>& fields, const YamlNode& node,
                    const std::string& name, const std::string& path,
                    const std::vector<bool>& known) {
    constexpr int kSuggestionsMax = 100;  // a hostile file gets its errors without the search
    std::vector<std::string> keys;
    for (const Field& field : fields) {
      keys.push_back(field.key);
      keys.insert(keys.end(), field.synonyms.begin(), field.synonyms.end());
    }
    int suggestions = 0;
    for (std::size_t i = 0; i < node.entries.size(); ++i) {
      if (known[i]) continue;
      const std::string& key = node.entries[i].key;
      std::string message = fmt::format("unknown key '{}' in {}", shown(key), name);
      if (const std::string reason = elsewhere(record, key); !reason.empty())
        message = reason;
      else if (++suggestions <= kSuggestionsMax)
        message += suggestion(key, keys);
      places_.report(join(path, key), node.entries[i].position, message);
    }
  }

  /// A key that another value of the record's tag would have: says so.
  static std::string elsewhere(const Record& record, const std::string& key) {
    if (!record.tag) return "";
    const Field tag = record.tag().front();
    const auto& words = std::get<WordValue>(tag.shape);
    const int present = words.value.get();
    std::string reason;
    for (std::size_t i = 0; i < words.words.size() && reason.empty(); ++i) {
      words.value.set(static_cast<int>(i));
      for (const Field& field : record.tagged())
        if (is_called(field, key))
          reason = fmt::format("'{}' does not apply to {} '{}'", key, tag.key,
                               words.words[static_cast<std::size_t>(present)].name);
    }
    words.value.set(present);
    return reason;
  }

  FaultPlaces& places_;
};

}  // namespace

void FaultPlaces::note(const std::string& path, SourcePosition position) {
  if (position.line < 0)
    source.overrides[path] = overrides[static_cast<std::size_t>(-position.line - 1)];
  else
    source.positions[path] = position;
}

void FaultPlaces::report(const std::string& path, SourcePosition position,
                         const std::string& message) {
  faulty.insert(path);
  if (position.line < 0)
    problems.add(overrides[static_cast<std::size_t>(-position.line - 1)], {}, message);
  else
    problems.add(source.file, position, message);
}

bool FieldCheck::given(const std::string& key) const {
  const std::string path = join(path_, key);
  return places_.source.positions.count(path) != 0 || places_.source.overrides.count(path) != 0;
}

bool FieldCheck::sound(const std::string& key) const {
  const std::string path = join(path_, key);
  const auto at = places_.faulty.lower_bound(path);
  if (at == places_.faulty.end()) return true;
  if (*at == path) return false;
  const auto below = places_.faulty.lower_bound(path + ".");
  return below == places_.faulty.end() || below->compare(0, path.size() + 1, path + ".") != 0;
}

void FieldCheck::fault(const std::string& key, const std::string& message) {
  const std::string path = key.empty() ? path_ : join(path_, key);
  places_.faulty.insert(path);
  places_.source.report(places_.problems, path, message);
}

void read_record(const Record& description, const YamlNode& node, const std::string& name,
                 const std::string& path, FaultPlaces& places) {
  Walk(places).record(description, node, name, path);
}

std::string suggestion(const std::string& word, const std::vector<std::string>& known) {
  const std::string nearest = nearest_word(word, known);
  if (!nearest.empty()) return "; did you mean '" + nearest + "'?";
  std::string names;
  for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
  return " (known: " + names + ")";
}

}  // namespace fleetsim
