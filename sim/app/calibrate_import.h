#pragma once
// `fleetsim calibrate import`: tables that others measured become a folder that fits read.

#include <string>
#include <vector>

namespace fleetsim {

/// What its command line says; texts are checked by import_command.
struct ImportOptions {
  std::vector<std::string> paths;  // files and folders
  std::string from;                // whose form: "aiconfigurator"
  std::string gpu;                 // "h200"
  std::string out;                 // folder; empty: the report only
  bool force = false;
};

/// Prints the report and returns 0. Errors: ConfigError for bad options and input, before anything
/// is written.
int import_command(const ImportOptions& options);

}  // namespace fleetsim
