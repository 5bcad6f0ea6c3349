#pragma once
// `fleetsim validate`: predictions beside measurements, row by row and class by class.

#include <cstdint>
#include <string>
#include <vector>

namespace fleetsim {

/// What the command line of `fleetsim validate` says.
struct ValidateOptions {
  std::string data_dir;           // --data, else $FLEETSIM_DATA
  std::string out;                // folder of validation.json and validation.html; empty: none
  std::string markdown;           // file of the tables kept in the repository; empty: none
  std::string gates;              // a file of gates to hold the errors to; empty: none
  std::string record_gates;       // file to write gates to, at what is reached; empty: none
  std::vector<std::string> only;  // sources, models, GPUs
  bool operators = true, services = true;
  bool rows = false;      // print one CSV line a row instead of tables
  std::int64_t jobs = 0;  // threads; 0: one a core
};

/// Returns the exit code: 0, or 1 when an error has grown past its gate.
/// Errors: ConfigError for the user's faults.
int validate_command(const ValidateOptions& options);

}  // namespace fleetsim
