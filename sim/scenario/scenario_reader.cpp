// Text to tree, overrides into the tree, tree along the description into the values.

#include "sim/scenario/scenario_reader.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "hw_models/sha256.h"
#include "hw_models/yaml_reader.h"
#include "sim/scenario/field_echo.h"
#include "sim/scenario/field_reader.h"
#include "sim/scenario/field_schema.h"
#include "sim/scenario/overrides.h"
#include "sim/scenario/scenario_fields.h"

namespace fleetsim {
namespace {

constexpr std::size_t kFileBytesMax = 16'000'001;  // one more than the YAML reader takes

std::string name_from(const std::string& file) {
  std::string name = std::filesystem::path(file).stem().string().substr(0, 100);
  for (char& c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && c != '_' && c != '-' && c != '.') c = '_';
  }
  return name.empty() ? "scenario" : name;
}

}  // namespace

std::optional<Scenario> read_scenario_text(const std::string& text, const std::string& file,
                                           const std::string& folder, const ReadOptions& options,
                                           Problems& problems) {
  const std::size_t faults_before = problems.size();
  std::optional<YamlNode> root = parse_yaml(text, file, problems);
  if (!root) return std::nullopt;
  apply_overrides(*root, options.sets, problems);

  Scenario scenario;
  scenario.source.file = file;
  scenario.name = name_from(file);
  std::vector<std::string> override_names;
  for (const std::string& set : options.sets) override_names.push_back(override_name(set));
  const FieldContext context{folder, options.data_dir, options.known_router_policies};
  FaultPlaces places{scenario.source, override_names, problems};
  read_record(scenario_record(scenario, context), *root, "the scenario", "", places);
  if (problems.size() != faults_before) return std::nullopt;

  if (options.seed) scenario.seed = *options.seed;
  scenario.sha256 = sha256_hex(resolved_scenario_yaml(scenario));
  return scenario;
}

std::optional<Scenario> read_scenario(const std::string& path, const ReadOptions& options,
                                      Problems& problems) {
  std::error_code error;
  std::ifstream stream;
  if (!std::filesystem::is_directory(path, error)) stream.open(path, std::ios::binary);
  if (!stream.is_open()) {
    const bool exists = std::filesystem::exists(path, error);
    problems.add(path, {}, exists ? "not a readable file" : "no such file");
    return std::nullopt;
  }
  std::string text(kFileBytesMax, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return read_scenario_text(text, path, folder, options, problems);
}

std::string resolved_scenario_yaml(const Scenario& scenario) {
  Scenario copy = scenario;  // a description is bound to values it may change; the echo only reads
  const FieldContext context;
  return echo_record(scenario_record(copy, context));
}

std::string scenario_json_schema() {
  Scenario scratch;
  const FieldContext context;
  return json_schema(
      scenario_record(scratch, context), "fleetsim scenario",
      "A service, its load and the fleet that answers it. Quantities carry their unit.");
}

}  // namespace fleetsim
