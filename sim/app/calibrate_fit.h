#pragma once
// `fleetsim calibrate fit`: measured folders of one GPU become the file of its fitted families.

#include <string>
#include <vector>

namespace fleetsim {

/// What its command line says; texts are checked by fit_command.
struct FitOptions {
  std::vector<std::string> folders;  // as `fleetsim calibrate import` writes them
  std::string gpu;                   // "h200"
  std::string out;                   // file; empty: the report only
  bool force = false;
};

/// Prints the report and returns 0. Errors: ConfigError for bad options and folders, of another GPU
/// too, before anything is written; and when the file cannot be written.
int fit_command(const FitOptions& options);

}  // namespace fleetsim
