// One function a level of the file. Users edit it, so every fault is theirs and has its place.

#include "hw_models/prices.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <vector>

#include "embedded/prices.h"
#include "hw_models/check.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/yaml_reader.h"

namespace fleetsim {
namespace {

constexpr const char* kSchema = "fleetsim.prices/1";

class PriceReader {
 public:
  PriceReader(std::string file, Problems& problems) : problems_(problems) {
    list_.file = std::move(file);
  }

  PriceList read(const YamlNode& root) {
    if (root.kind != YamlNode::Kind::map) {
      fault(root.position, "a price file is a map with schema, date and usd_per_gpu_hour");
      return std::move(list_);
    }
    check_keys(root, {"schema", "date", "usd_per_gpu_hour"});
    const YamlNode* schema = wanted(root, "schema");
    if (schema != nullptr && schema->scalar != kSchema)
      fault(schema->position, fmt::format("schema must be {}", kSchema));
    const YamlNode* date = wanted(root, "date");
    if (date != nullptr) read_date(*date);
    const YamlNode* prices = wanted(root, "usd_per_gpu_hour");
    if (prices != nullptr) read_gpus(*prices);
    return std::move(list_);
  }

 private:
  void fault(SourcePosition position, std::string message) {
    problems_.add(list_.file, position, std::move(message));
  }

  const YamlNode* wanted(const YamlNode& map, const char* key) {
    const YamlNode* value = map.find(key);
    if (value == nullptr) fault(map.position, fmt::format("'{}' is missing", key));
    return value;
  }

  void check_keys(const YamlNode& map, const std::vector<std::string>& known) {
    for (const YamlEntry& entry : map.entries) {
      bool found = false;
      for (const std::string& key : known) found = found || key == entry.key;
      if (found) continue;
      const std::string near = nearest_word(entry.key, known);
      fault(entry.position,
            fmt::format("unknown key '{}'{}", shown(entry.key),
                        near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
    }
  }

  void read_date(const YamlNode& node) {
    const std::string& text = node.scalar;
    bool good = node.kind == YamlNode::Kind::scalar && text.size() == 10;
    for (std::size_t i = 0; good && i < text.size(); ++i)
      good = i == 4 || i == 7 ? text[i] == '-' : text[i] >= '0' && text[i] <= '9';
    if (!good) fault(node.position, "date is a day such as 2026-05-31");
    list_.date = text;
  }

  std::optional<double> read_usd(const YamlNode& node) {
    double usd = 0;
    const char* end = node.scalar.data() + node.scalar.size();
    const auto [rest, error] = std::from_chars(node.scalar.data(), end, usd);
    const bool number =
        node.kind == YamlNode::Kind::scalar && !node.quoted && error == std::errc() && rest == end;
    if (number && std::isfinite(usd) && usd >= 0) return usd;
    fault(node.position, "a price is a number of US dollars, 0 or more");
    return std::nullopt;
  }

  void read_gpus(const YamlNode& prices) {
    if (prices.kind != YamlNode::Kind::map) {
      fault(prices.position, "usd_per_gpu_hour is a map of prices by GPU");
      return;
    }
    for (const YamlEntry& entry : prices.entries) {
      const GpuSpec* gpu = find_gpu(entry.key);
      if (gpu == nullptr) {
        const std::string near = nearest_word(entry.key, gpu_names());
        fault(entry.position,
              fmt::format("unknown GPU '{}'{}", shown(entry.key),
                          near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
        continue;
      }
      if (list_.by_gpu.count(gpu->name) > 0) {
        fault(entry.position, fmt::format("{} has two prices", gpu->name));
        continue;
      }
      list_.by_gpu[gpu->name] = read_price(entry.value);
    }
  }

  GpuPrice read_price(const YamlNode& node) {
    GpuPrice price;
    if (node.kind != YamlNode::Kind::map) {
      price.usd_per_hour = read_usd(node).value_or(0);
      return price;
    }
    check_keys(node, {"value", "low", "high", "source"});
    if (const YamlNode* value = wanted(node, "value"))
      price.usd_per_hour = read_usd(*value).value_or(0);
    if (const YamlNode* low = node.find("low")) price.low = read_usd(*low);
    if (const YamlNode* high = node.find("high")) price.high = read_usd(*high);
    if (const YamlNode* source = node.find("source")) price.source = source->scalar;
    const bool ordered = price.low.value_or(price.usd_per_hour) <= price.usd_per_hour &&
                         price.usd_per_hour <= price.high.value_or(price.usd_per_hour);
    if (!ordered) fault(node.position, "a price lies between its low and its high");
    return price;
  }

  PriceList list_;
  Problems& problems_;
};

const EmbeddedFile& price_file() {
  static const std::vector<EmbeddedFile> files = embedded_prices();
  CHECK(files.size() == 1, "one price file is built in");
  return files.front();
}

}  // namespace

const GpuPrice* PriceList::find(const std::string& gpu) const {
  const auto found = by_gpu.find(gpu);
  return found == by_gpu.end() ? nullptr : &found->second;
}

std::string built_in_prices_yaml() { return std::string(price_file().content); }

const PriceList& built_in_prices() {
  static const PriceList list = [] {
    Problems problems;
    PriceList read = read_prices(built_in_prices_yaml(), std::string(price_file().name), problems);
    CHECK(problems.empty(), problems.text());
    return read;
  }();
  return list;
}

PriceList read_prices(const std::string& text, const std::string& file, Problems& problems) {
  const std::optional<YamlNode> root = parse_yaml(text, file, problems);
  if (!root) return {};
  return PriceReader(file, problems).read(*root);
}

}  // namespace fleetsim
