// Read as strictly as it was written: a key that is missing, unknown or of another kind is a fault.

#include "calibrate/manifest.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <set>

#include "hw_models/yaml_reader.h"
#include "kernels/measure/profile_writer.h"

namespace fleetsim {
namespace {

/// A map of the file; every read key is remembered, finish() refuses the others.
class ManifestMap {
 public:
  ManifestMap(const YamlNode& node, std::string path, const std::string& file, Problems& problems)
      : node_(node), path_(std::move(path)), file_(file), problems_(problems) {
    if (node.kind != YamlNode::Kind::map) fault(node.position, where() + " must be a map");
  }

  void text(const char* key, std::string& value) {
    if (const YamlNode* node = scalar(key)) value = node->scalar;
  }
  void whole(const char* key, std::int64_t& value) { number(key, value, std::int64_t{0}); }
  void whole(const char* key, std::uint64_t& value) { number(key, value, std::uint64_t{0}); }
  void flag(const char* key, bool& value) {
    const YamlNode* node = scalar(key);
    if (node == nullptr) return;
    if (node->scalar != "true" && node->scalar != "false")
      fault(node->position, name(key) + " must be true or false");
    value = node->scalar == "true";
  }
  /// `null` stands for a figure that was not measured.
  void optional_whole(const char* key, std::optional<std::int64_t>& value) {
    if (is_null(key)) return;
    number(key, value.emplace(), std::int64_t{1});
  }
  void optional_real(const char* key, std::optional<double>& value) {
    if (!is_null(key)) number(key, value.emplace(), 0.0);
  }
  void ceiling(const char* key, double& value) {
    if (!is_null(key)) number(key, value, 0.0);
  }
  std::vector<std::string> texts(const char* key) {
    std::vector<std::string> list;
    const YamlNode* node = find(key);
    if (node == nullptr) return list;
    if (node->kind != YamlNode::Kind::sequence) {
      fault(node->position, name(key) + " must be a list");
      return list;
    }
    for (const YamlNode& item : node->items) {
      if (item.kind == YamlNode::Kind::scalar)
        list.push_back(item.scalar);
      else
        fault(item.position, name(key) + " must be a list of texts");
    }
    return list;
  }
  ManifestMap map(const char* key) {
    static const YamlNode kNothing = {YamlNode::Kind::map, false, {}, {}, {}, {}};
    const YamlNode* node = find(key);
    return {node == nullptr ? kNothing : *node, name(key), file_, problems_};
  }
  const YamlNode* find(const char* key) {
    read_.insert(key);
    const YamlNode* node = node_.find(key);
    if (node == nullptr && node_.kind == YamlNode::Kind::map && node_.position.line > 0)
      fault(node_.position, name(key) + " is missing");
    return node;
  }
  void finish() {
    for (const YamlEntry& entry : node_.entries) {
      if (read_.count(entry.key) > 0) continue;
      const std::string hint =
          nearest_word(entry.key, std::vector<std::string>(read_.begin(), read_.end()));
      fault(entry.position,
            fmt::format("unknown key '{}'{}", shown(entry.key),
                        hint.empty() ? "" : fmt::format("; did you mean '{}'?", hint)));
    }
  }
  const std::vector<YamlEntry>& entries() const { return node_.entries; }
  SourcePosition position() const { return node_.position; }

 private:
  std::string where() const { return path_.empty() ? "the manifest" : path_; }
  std::string name(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }
  void fault(SourcePosition position, std::string message) {
    problems_.add(file_, position, std::move(message));
  }
  const YamlNode* scalar(const char* key) {
    const YamlNode* node = find(key);
    if (node == nullptr || node->kind == YamlNode::Kind::scalar) return node;
    fault(node->position, name(key) + " must be a single value");
    return nullptr;
  }
  bool is_null(const char* key) {
    const YamlNode* node = find(key);
    return node == nullptr || node->kind == YamlNode::Kind::null_value ||
           (node->kind == YamlNode::Kind::scalar && !node->quoted && node->scalar == "null");
  }
  template <class Number>
  void number(const char* key, Number& value, Number least) {
    const YamlNode* node = scalar(key);
    if (node == nullptr) return;
    const char* end = node->scalar.data() + node->scalar.size();
    const auto [rest, error] = std::from_chars(node->scalar.data(), end, value);
    bool sound = error == std::errc() && rest == end && !node->quoted && value >= least;
    if constexpr (std::is_floating_point_v<Number>) sound = sound && std::isfinite(value);
    if (!sound)
      fault(node->position, fmt::format("{} is '{}'; a {}number, {} or more, is expected",
                                        name(key), shown(node->scalar),
                                        std::is_floating_point_v<Number> ? "" : "whole ", least));
  }

  const YamlNode& node_;
  std::string path_;
  const std::string& file_;
  Problems& problems_;
  std::set<std::string> read_;
};

void read_facts(ManifestMap& root, Manifest& manifest) {
  kernels::MeasuredDevice& d = manifest.facts.device;
  ManifestMap device = root.map("device");
  device.text("name", d.name);
  device.whole("sm", d.sm);
  device.whole("sms", d.sms);
  device.whole("l2_bytes", d.l2_bytes);
  device.whole("mem_bytes", d.mem_bytes);
  device.text("driver", d.driver);
  device.text("cuda", d.cuda);
  device.text("runtime", d.runtime);
  device.text("vbios", d.vbios);
  device.finish();
  ManifestMap host = root.map("host");
  host.text("cpu", manifest.facts.host.cpu);
  host.text("kernel", manifest.facts.host.kernel);
  host.finish();
  ManifestMap software = root.map("software");
  software.text("git_rev", manifest.facts.software.git_rev);
  software.flag("dirty", manifest.facts.software.dirty);
  software.text("nvcc", manifest.facts.software.nvcc);
  software.text("cublaslt", manifest.facts.software.cublaslt);
  software.text("flags", manifest.facts.software.flags);
  software.finish();
  for (const YamlEntry& entry : software.entries())
    if (entry.key == "dirty") manifest.dirty_position = entry.value.position;
}

void read_run(ManifestMap& root, Manifest& manifest) {
  ManifestMap run = root.map("run");
  run.text("started_utc", manifest.facts.started_utc);
  run.whole("seed", manifest.facts.seed);
  run.whole("budget_s", manifest.facts.budget_s);
  run.texts("order");
  run.flag("complete", manifest.complete);
  run.text("stopped", manifest.stopped);
  manifest.warnings = run.texts("warnings");
  run.finish();
  ManifestMap clocks = root.map("clocks");
  clocks.optional_whole("sm_mhz_min", manifest.clocks.sm_mhz_min);
  clocks.optional_whole("sm_mhz_median", manifest.clocks.sm_mhz_median);
  clocks.optional_real("power_w_median", manifest.clocks.power_w_median);
  clocks.finish();
}

void read_ceilings(ManifestMap& root, Manifest& manifest) {
  ManifestMap ceilings = root.map("ceilings");
  for (const kernels::CeilingFigure& figure : kernels::ceiling_figures())
    ceilings.ceiling(figure.name, manifest.ceilings.*figure.value);
  ceilings.finish();
  manifest.ceilings_position = ceilings.position();
}

void read_tables(ManifestMap& root, const std::string& file, Manifest& manifest,
                 Problems& problems) {
  const YamlNode* list = root.find("tables");
  if (list == nullptr) return;
  if (list->kind != YamlNode::Kind::sequence) {
    problems.add(file, list->position, "tables must be a list");
    return;
  }
  for (const YamlNode& item : list->items) {
    ManifestMap entry(item, "tables", file, problems);
    ManifestTable table;
    table.position = item.position;
    entry.text("file", table.file);
    entry.text("op", table.op);
    entry.whole("rows", table.rows);
    entry.whole("bytes", table.bytes);
    entry.text("sha256", table.sha256);
    table.axes = entry.texts("axes");
    ManifestMap units = entry.map("units");
    for (const YamlEntry& unit : units.entries())
      units.text(unit.key.c_str(), table.units.emplace_back(unit.key, "").second);
    entry.finish();
    manifest.tables.push_back(std::move(table));
  }
}

/// Only the major version decides: minor ones would add nothing that a reader may not miss.
bool schema_is_known(const YamlNode& root, const std::string& file, Problems& problems) {
  const std::string known = kernels::kProfileSchema;
  const YamlNode* schema = root.find("schema");
  if (schema == nullptr || schema->kind != YamlNode::Kind::scalar) {
    problems.add(file, root.position, "no schema: not the manifest of a profile");
    return false;
  }
  if (schema->scalar == known) return true;
  problems.add(file, schema->position,
               fmt::format("schema is '{}'; this version of fleetsim reads {}",
                           shown(schema->scalar), known));
  return false;
}

}  // namespace

std::optional<Manifest> parse_manifest(const std::string& text, const std::string& file,
                                       Problems& problems) {
  const std::size_t before = problems.size();
  const std::optional<YamlNode> node = parse_yaml(text, file, problems);
  if (!node || !schema_is_known(*node, file, problems)) return std::nullopt;
  ManifestMap root(*node, "", file, problems);
  Manifest manifest;
  std::string schema, source;
  root.text("schema", schema);
  root.text("source", source);
  if (source != "measured" && node->find("source") != nullptr)
    problems.add(file, node->find("source")->position,
                 fmt::format("source is '{}'; known is measured", shown(source)));
  read_facts(root, manifest);
  read_run(root, manifest);
  read_ceilings(root, manifest);
  read_tables(root, file, manifest, problems);
  root.finish();
  if (problems.size() != before) return std::nullopt;
  return manifest;
}

}  // namespace fleetsim
