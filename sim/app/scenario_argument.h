#pragma once
// The SCENARIO of the command line: a file, or the name of a scenario built into the program.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hw_models/problems.h"
#include "sim/scenario/scenario.h"

namespace fleetsim {

/// Reads the scenario with the routing policies that exist. `argument` is a file; or, without a
/// folder and when no such file exists, a name: scenarios/NAME.yaml, else the built-in one. Errors:
/// every fault goes to `problems`; nullopt when there is any.
std::optional<Scenario> load_scenario(const std::string& argument,
                                      const std::vector<std::string>& sets,
                                      std::optional<std::uint64_t> seed,
                                      const std::string& data_dir, Problems& problems);

/// A scenario built into the program.
struct BuiltInScenario {
  std::string name;      // "chat-2k-rps"
  std::string question;  // the comment on top, as one text
  std::string text;      // the whole file
};
/// In the order of their names.
std::vector<BuiltInScenario> built_in_scenarios();

}  // namespace fleetsim
