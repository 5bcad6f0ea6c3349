// Built-in scenarios are the files of scenarios/, linked into the program.

#include "sim/app/scenario_argument.h"

#include <filesystem>

#include "embedded/scenarios.h"
#include "sim/fleet/router.h"
#include "sim/scenario/field_reader.h"
#include "sim/scenario/scenario_reader.h"

namespace fleetsim {
namespace {

bool is_file(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

/// The lines of the comment that opens a file, joined.
std::string opening_comment(std::string_view text) {
  std::string comment;
  while (!text.empty() && text.front() == '#') {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(1, end == std::string_view::npos ? end : end - 1);
    while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    if (!comment.empty()) comment += ' ';
    comment += line;
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return comment;
}

}  // namespace

std::vector<BuiltInScenario> built_in_scenarios() {
  std::vector<BuiltInScenario> scenarios;
  for (const EmbeddedFile& file : embedded_scenarios()) {
    const std::string name = std::filesystem::path(file.name).stem().string();
    scenarios.push_back({name, opening_comment(file.content), std::string(file.content)});
  }
  return scenarios;
}

std::optional<Scenario> load_scenario(const std::string& argument,
                                      const std::vector<std::string>& sets,
                                      std::optional<std::uint64_t> seed,
                                      const std::string& data_dir, Problems& problems) {
  const ReadOptions options{sets, data_dir, seed, router_names()};
  const bool name_only = argument.find('/') == std::string::npos;
  if (is_file(argument) || !name_only) return read_scenario(argument, options, problems);
  const std::string beside = "scenarios/" + argument + ".yaml";
  if (is_file(beside)) return read_scenario(beside, options, problems);
  std::vector<std::string> names;
  for (const BuiltInScenario& scenario : built_in_scenarios()) {
    if (scenario.name == argument)
      return read_scenario_text(scenario.text, argument + ".yaml", "", options, problems);
    names.push_back(scenario.name);
  }
  problems.add(argument, {}, "no such file and no built-in scenario" + suggestion(argument, names));
  return std::nullopt;
}

}  // namespace fleetsim
