#pragma once
// A measured row as a scenario that a user could have written, and whether it can be one at all.

#include <string>
#include <vector>

#include "sim/validation/service_row.h"

namespace fleetsim {

/// What becomes of a row.
enum class RowScope {
  simulated,     // its engine is simulated and its configuration is known
  assumed,       // simulated, but its version or its load is not published: scored apart
  ratio,         // scored as a ratio between GPUs
  other_engine,  // engine, DP attention or speculation that is not simulated yet
  repeat,        // the same measurement stands in another row
  not_one_node,  // more than one node
};
const char* name_of(RowScope scope);

struct RowScenario {
  RowScope scope = RowScope::simulated;
  std::string reason;                    // why it is not `simulated`
  std::string yaml;                      // of rows that are simulated or assumed
  std::vector<std::string> assumptions;  // what no source says
};

/// `single_stage`: the open-loop experiment of the row has one stage, so that `all` repeats it.
RowScenario row_scenario(const ServiceRow& row, bool single_stage);

/// The scenarios of all rows, in their order.
std::vector<RowScenario> row_scenarios(const std::vector<ServiceRow>& rows);

/// The name that the model catalogue has for a model of the data; the data's own when it has none.
std::string catalogue_model(const std::string& name);

}  // namespace fleetsim
