#pragma once
// `fleetsim calibrate transfer`: operator times of a GPU that nobody measured, from another's.

#include <string>

namespace fleetsim {

/// What its command line says; texts are checked by transfer_command.
struct TransferOptions {
  std::string from, to;  // GPUs
  std::string anchors;   // folder of `calibrate import`, of the target; empty: none
  std::string measured;  // the same, to score the transfer on; empty: none
  std::string out;       // file; empty: the report only
  bool force = false;
};

/// Prints what was transferred, what was left out and why, and how well it does where it can be
/// scored; returns 0. Errors: ConfigError for bad options and input, before anything is written.
int transfer_command(const TransferOptions& options);

}  // namespace fleetsim
