#pragma once
// `fleetsim calibrate validate`: how well measurements of a GPU predict the points that are kept
// out of their own fit.

#include <string>
#include <vector>

namespace fleetsim {

/// What its command line says; texts are checked by kept_out_command.
struct KeptOutOptions {
  std::vector<std::string> folders;  // profiles, or what `fleetsim calibrate import` wrote
  std::string gpu;                   // empty: the folders' own
  bool json = false;
};

/// Prints the scores and returns 0. Errors: ConfigError for bad options and folders, also of
/// several GPUs.
int kept_out_command(const KeptOutOptions& options);

}  // namespace fleetsim
