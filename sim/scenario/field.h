#pragma once
// The vocabulary in which scenario_fields.cpp describes a scenario: keys bound to the values they
// fill, with range, unit, names and documentation. Three visitors walk such a description: the
// reader (field_reader), the echo (field_echo) and the JSON Schema (field_schema).

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "hw_models/units.h"
#include "sim/core/sim_time.h"
#include "sim/scenario/quantity.h"

namespace fleetsim {

struct Field;
class FieldCheck;

/// Where a value lives. It is looked up when needed: an optional has no inside before `reset`.
template <class T>
struct Place {
  std::function<T&()> at;
  std::function<void()> reset;  // back to the default (an optional becomes present)
  std::function<bool()> given;  // false: an absent optional
};
template <class T>
Place<T> place(T& value) {
  return {[&value]() -> T& { return value; }, [&value] { value = T{}; }, [] { return true; }};
}
template <class T>
Place<T> place(std::optional<T>& value) {
  return {[&value]() -> T& { return *value; }, [&value] { value.emplace(); },
          [&value] { return value.has_value(); }};
}

/// Reads and writes one single value through whatever it is stored in.
template <class T>
struct Access {
  std::function<T()> get;
  std::function<void(T)> set;
  std::function<bool()> given = [] { return true; };
};
template <class T, class Stored>
Access<T> access(Stored& value) {
  return {[&value] { return static_cast<T>(value); },
          [&value](T t) { value = static_cast<Stored>(std::move(t)); }};
}
template <class T, class Stored>
Access<T> access(std::optional<Stored>& value) {
  return {[&value] { return static_cast<T>(*value); },
          [&value](T t) { value = static_cast<Stored>(std::move(t)); },
          [&value] { return value.has_value(); }};
}

/// Bounds of a real number; `above` leaves the lower bound itself out.
struct RealRange {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool above = false;
};
inline RealRange at_least(double min) { return {min}; }
inline RealRange above(double min) { return {min, std::numeric_limits<double>::infinity(), true}; }

struct WholeRange {
  std::int64_t min = 0;
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
  std::int64_t simulated_max =
      std::numeric_limits<std::int64_t>::max();  // above: not simulated yet
};

/// Whether a zero makes sense for a quantity; negative ones never do.
enum class Zero { allowed, refused };

struct TextValue {
  Access<std::string> value;
  std::function<std::string(const std::string&)> fault;  // "" when the text is good; may be null
  std::vector<std::string> names;                        // for completion in editors; may be empty
};
struct FlagValue {
  Access<bool> value;
};
struct WholeValue {
  Access<std::int64_t> value;
  WholeRange range;
};
struct RealValue {
  Access<double> value;
  RealRange range;
};
struct TimeValue {
  Access<SimTime> value;
  Zero zero;
};
/// A rate per second or a duration in real seconds.
struct QuantityValue {
  Access<double> value;
  Dimension dimension;
  Zero zero;
};
struct BytesValue {
  Access<std::int64_t> value;
};
struct Word {
  std::string name, doc;
  bool simulated = true;
};
/// One of a closed list of words; the value is the index.
struct WordValue {
  Access<int> value;
  std::vector<Word> words;
};
/// A map from names that `fault` accepts, stored under `canonical` ones, to reals.
struct NamedReals {
  std::map<std::string, double>* values;
  RealRange range;
  std::function<std::string(const std::string&)> fault, canonical;
  std::vector<std::string> names;
};
/// Known from product.md and refused until it is simulated. An empty list asks for nothing.
struct NotYet {};

/// A map with fixed keys. With a tag, `tagged` gives the further fields for the tag's present
/// value.
struct Record {
  std::string name;  // of its definition in the schema
  std::function<void()> reset;
  std::function<std::vector<Field>()> fields;
  std::function<std::vector<Field>()> tag;  // none or one WordValue field, read first
  std::function<std::vector<Field>()> tagged;
  std::function<void(FieldCheck&)> check;  // what no single key can be blamed for; may be null
};
struct List {
  std::function<void()> clear;
  std::function<std::size_t()> size;
  std::function<void()> append;
  std::function<Record(std::size_t)> item;
};
/// A single value or a map.
struct Either {
  std::shared_ptr<const Field> single, several;
  std::function<bool()> is_single;
};

using Shape = std::variant<TextValue, FlagValue, WholeValue, RealValue, TimeValue, QuantityValue,
                           BytesValue, WordValue, NamedReals, NotYet, Record, List, Either>;

struct Field {
  std::string key, doc;
  Shape shape;
  std::function<bool()> given = [] { return true; };  // written in the echo
  std::vector<std::string> synonyms;
  bool required = false;
};

// Builders, one a kind of value. `Stored` is the value or a std::optional of it.
template <class Value, class A>
Field field_of(std::string key, std::string doc, Value value, const A& a) {
  return {std::move(key), std::move(doc), std::move(value), a.given, {}, false};
}
template <class Stored>
Field text(std::string key, Stored& stored, std::string doc,
           std::function<std::string(const std::string&)> fault = nullptr,
           std::vector<std::string> names = {}) {
  const auto a = access<std::string>(stored);
  return field_of(std::move(key), std::move(doc), TextValue{a, std::move(fault), std::move(names)},
                  a);
}
template <class Stored>
Field flag(std::string key, Stored& stored, std::string doc) {
  const auto a = access<bool>(stored);
  return field_of(std::move(key), std::move(doc), FlagValue{a}, a);
}
template <class Stored>
Field whole(std::string key, Stored& stored, WholeRange range, std::string doc) {
  const auto a = access<std::int64_t>(stored);
  return field_of(std::move(key), std::move(doc), WholeValue{a, range}, a);
}
template <class Stored>
Field real(std::string key, Stored& stored, RealRange range, std::string doc) {
  const auto a = access<double>(stored);
  return field_of(std::move(key), std::move(doc), RealValue{a, range}, a);
}
template <class Stored>
Field time(std::string key, Stored& stored, Zero zero, std::string doc) {
  const auto a = access<SimTime>(stored);
  return field_of(std::move(key), std::move(doc), TimeValue{a, zero}, a);
}
template <class Stored>
Field rate(std::string key, Stored& stored, Zero zero, std::string doc) {
  const auto a = access<double>(stored);
  return field_of(std::move(key), std::move(doc), QuantityValue{a, Dimension::rate, zero}, a);
}
inline Field seconds(std::string key, Seconds& stored, std::string doc) {
  const auto a = access<double>(stored.value);
  return field_of(std::move(key), std::move(doc),
                  QuantityValue{a, Dimension::seconds, Zero::allowed}, a);
}
inline Field bytes(std::string key, std::optional<Bytes>& stored, std::string doc) {
  Access<std::int64_t> a;
  a.get = [&stored] { return stored->value; };
  a.set = [&stored](std::int64_t value) { stored = Bytes{value}; };
  a.given = [&stored] { return stored.has_value(); };
  return field_of(std::move(key), std::move(doc), BytesValue{a}, a);
}
/// The words stand in the order of the enumerators.
template <class Enum>
Field word(std::string key, Enum& stored, std::vector<Word> words, std::string doc) {
  Access<int> a;
  a.get = [&stored] { return static_cast<int>(stored); };
  a.set = [&stored](int value) { stored = static_cast<Enum>(value); };
  return field_of(std::move(key), std::move(doc), WordValue{a, std::move(words)}, a);
}
inline Field not_yet(std::string key, std::string doc) {
  return {std::move(key), std::move(doc), NotYet{}, [] { return false; }, {}, false};
}
/// A section: `describe` makes its fields from the value at `where`.
template <class T>
Record record(std::string name, const Place<T>& where,
              std::function<std::vector<Field>(T&)> describe,
              std::function<void(FieldCheck&, const T&)> check = nullptr) {
  Record made;
  made.name = std::move(name);
  made.reset = where.reset;
  made.fields = [where, describe = std::move(describe)] { return describe(where.at()); };
  if (check)
    made.check = [where, check = std::move(check)](FieldCheck& faults) {
      check(faults, where.at());
    };
  return made;
}
inline Field section(std::string key, Record made, std::function<bool()> given, std::string doc) {
  return {std::move(key), std::move(doc), std::move(made), std::move(given), {}, false};
}
template <class T>
Field list(std::string key, std::vector<T>& items, std::function<Record(T&)> describe,
           std::string doc) {
  List made;
  made.clear = [&items] { items.clear(); };
  made.size = [&items] { return items.size(); };
  made.append = [&items] { items.emplace_back(); };
  made.item = [&items, describe = std::move(describe)](std::size_t i) {
    return describe(items[i]);
  };
  return {std::move(key), std::move(doc), std::move(made), [&items] { return !items.empty(); }, {},
          false};
}

inline Field required(Field field) {
  field.required = true;
  return field;
}
inline Field written_if(Field field, std::function<bool()> given) {
  field.given = [own = std::move(field.given), given = std::move(given)] {
    return given() && own();
  };
  return field;
}
inline Field also_called(Field field, std::vector<std::string> synonyms) {
  field.synonyms = std::move(synonyms);
  return field;
}

}  // namespace fleetsim
