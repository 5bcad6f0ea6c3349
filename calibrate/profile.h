#pragma once
// A measured profile, loaded: manifest.yaml and the tables of one folder, refused unless sound.

#include <optional>
#include <string>
#include <vector>

#include "hw_models/problems.h"
#include "kernels/measure/measured_row.h"
#include "kernels/measure/physical_floor.h"
#include "kernels/measure/run_facts.h"

namespace fleetsim {

struct Profile {
  kernels::RunFacts facts;
  kernels::ClockFacts clocks;
  kernels::Ceilings ceilings;
  bool complete = false;                   // every point of the run was reached
  std::string stopped;                     // why not
  std::vector<std::string> warnings;       // of the run
  std::vector<kernels::MeasuredRow> rows;  // table by table, each in the order of measuring
};

struct ProfileRules {
  bool require_clean = false;  // a release takes measurements of committed sources only
};

/// Reads the folder that fleetsim-kernels wrote. Errors: every fault goes to `problems` with file,
/// line and column: another major version of the schema, a table whose content is not what the
/// manifest vouches for, columns, units or values out of form, a point measured twice, a time under
/// the physical floor (physical_floor.h), ceilings that the rows do not give, a build from
/// uncommitted sources where the rules forbid it. nullopt when there is any.
std::optional<Profile> load_profile(const std::string& folder, const ProfileRules& rules,
                                    Problems& problems);

}  // namespace fleetsim
