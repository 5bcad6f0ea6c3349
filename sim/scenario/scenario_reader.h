#pragma once
// From a scenario file to a Scenario value, and back: the reader, the echo and the JSON Schema. All
// three walk the one description of the fields in scenario_fields.cpp.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/scenario/scenario.h"

namespace fleetsim {

/// What stands beside the file when it is read.
struct ReadOptions {
  std::vector<std::string> sets;      // "path.to.key=value"; later ones win
  std::string data_dir;               // second place where paths are looked up; empty: none
  std::optional<std::uint64_t> seed;  // replaces the scenario's
  std::vector<std::string> known_router_policies;  // empty: any name is taken
};

/// Reads a scenario file. Every fault found goes to `problems`; nullopt when there is any.
std::optional<Scenario> read_scenario(const std::string& path, const ReadOptions& options,
                                      Problems& problems);

/// The same for a text at hand. `file` names it in messages; relative paths in it are looked up in
/// `folder` (empty: the working directory) first.
std::optional<Scenario> read_scenario_text(const std::string& text, const std::string& file,
                                           const std::string& folder, const ReadOptions& options,
                                           Problems& problems);

/// The resolved scenario as YAML, every default written out. Canonical: reading it beside the same
/// files gives the same Scenario and the same text; Scenario::sha256 is its hash.
std::string resolved_scenario_yaml(const Scenario& scenario);

/// The JSON Schema (draft 2020-12) of scenario files, indented, ending in a newline.
std::string scenario_json_schema();

}  // namespace fleetsim
