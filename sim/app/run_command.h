#pragma once
// `fleetsim run` and `fleetsim report`: from a scenario to files in DIR, and from files to a
// report.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fleetsim {

/// What the command line of `fleetsim run` says.
struct RunOptions {
  std::string scenario;           // a file or a built-in name: load_scenario (scenario_argument.h)
  std::string out;                // empty: results/<name of the scenario>
  std::vector<std::string> sets;  // "path.to.key=value", in order
  std::optional<std::uint64_t> seed;  // overrides the scenario's
  bool check_slo = false;             // exit 3 when the SLO is missed
  std::string prices;                 // a price file; empty: the built-in one
  std::string data_dir;               // --data, else $FLEETSIM_DATA, else empty
  bool force = false;                 // write into a DIR that holds another scenario's run
  std::int64_t seeds = 5;             // runs with seed, seed + 1, ...; the first is written in full
  bool headroom = true;               // further runs answer "missed from +2 % load"
  std::int64_t jobs = 0;              // threads for the further runs; 0: one a core
};

/// Runs and writes. Returns the exit code (0 or 3).
/// Errors: ConfigError for the user's faults (nothing is written), InternalError for ours.
int run_command(const RunOptions& options);

/// Writes the report of the finished run in `dir` again. Returns 0.
/// Errors: ConfigError when `dir` holds no finished run.
int report_command(const std::string& dir);

}  // namespace fleetsim
