// One line a scalar; numbers in their exact, shortest form, so that reading gives back the same
// bits.

#include "sim/scenario/field_echo.h"

#include <fmt/format.h>

#include <algorithm>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

std::string scalar_text(const Shape& shape) {
  struct Writer {
    std::string operator()(const TextValue& v) const { return yaml_text(v.value.get()); }
    std::string operator()(const FlagValue& v) const { return v.value.get() ? "true" : "false"; }
    std::string operator()(const WholeValue& v) const { return fmt::format("{}", v.value.get()); }
    std::string operator()(const RealValue& v) const { return fmt::format("{}", v.value.get()); }
    std::string operator()(const TimeValue& v) const { return format_time(v.value.get()); }
    std::string operator()(const QuantityValue& v) const {
      return format_in_base_unit(v.value.get(), v.dimension);
    }
    std::string operator()(const BytesValue& v) const { return format_bytes(v.value.get()); }
    std::string operator()(const WordValue& v) const {
      return v.words.at(static_cast<std::size_t>(v.value.get())).name;
    }
    std::string operator()(const NotYet&) const { return "[]"; }
    std::string operator()(const NamedReals&) const { return container(); }
    std::string operator()(const Record&) const { return container(); }
    std::string operator()(const List&) const { return container(); }
    std::string operator()(const Either&) const { return container(); }
    static std::string container() {
      CHECK(false, "a container of fields was written as a single value");
      return "";
    }
  };
  return std::visit(Writer{}, shape);
}

class Echo {
 public:
  std::string text;

  void record(const Record& record, int level) {
    if (record.tag) fields(record.tag(), level);
    fields(record.fields(), level);
    if (record.tagged) fields(record.tagged(), level);
  }

 private:
  void fields(const std::vector<Field>& fields, int level) {
    for (const Field& one : fields)
      if (one.given()) field(one, level);
  }

  void line(int level, const std::string& content) {
    text += std::string(static_cast<std::size_t>(2 * level), ' ') + content + "\n";
  }

  void field(const Field& field, int level) {
    if (const auto* either = std::get_if<Either>(&field.shape)) {
      this->field(either->is_single() ? *either->single : *either->several, level);
    } else if (const auto* inner = std::get_if<Record>(&field.shape)) {
      line(level, field.key + ":");
      record(*inner, level + 1);
    } else if (const auto* named = std::get_if<NamedReals>(&field.shape)) {
      line(level, field.key + ":");
      for (const auto& [name, value] : *named->values)
        line(level + 1, fmt::format("{}: {}", yaml_text(name), value));
    } else if (const auto* items = std::get_if<List>(&field.shape)) {
      line(level, field.key + ":");
      for (std::size_t i = 0; i < items->size(); ++i) {
        const std::size_t start = text.size();
        record(items->item(i), level + 2);
        // the dash of a list item takes the place of two spaces of its first line
        text[start + static_cast<std::size_t>(2 * (level + 1))] = '-';
      }
    } else {
      line(level, field.key + ": " + scalar_text(field.shape));
    }
  }
};

}  // namespace

std::string yaml_text(const std::string& text) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-";
  std::string lower = text;
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  const bool word = lower == "null" || lower == "true" || lower == "false";
  if (!text.empty() && text[0] != '-' && text[0] != '.' && !word &&
      text.find_first_not_of(kPlain) == std::string::npos)
    return text;
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      quoted += std::string("\\") + c;
    else if (byte < 0x20)
      quoted += fmt::format("\\x{:02x}", byte);
    else
      quoted += c;
  }
  return quoted + "\"";
}

std::string echo_record(const Record& description) {
  Echo echo;
  echo.record(description, 0);
  return std::move(echo.text);
}

}  // namespace fleetsim
