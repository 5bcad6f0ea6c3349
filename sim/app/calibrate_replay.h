#pragma once
// `fleetsim calibrate replay`: iterations of a simulation run on real kernels, held against what
// the hardware model says of them.

#include <cstdint>
#include <string>

namespace fleetsim {

/// What its command line says; texts are checked by replay_command.
struct ReplayCommandOptions {
  std::string log;       // iterations.jsonl; empty with `measured`
  std::string measured;  // folder of a stored replay: nothing is measured
  std::string profile;   // folder whose fit predicts
  std::string fit;       // or a fitted file
  std::string gpu;       // or the catalogue's fit of a GPU
  std::string out;       // folder of the replay; with `measured` of its page
  std::string stack;     // empty: by the log
  std::string budget;    // "480s"; empty: that
  std::int64_t count = 40, with_parts = 8;
  std::uint64_t seed = 1;
  bool force = false;
  bool points = false;  // print the job lines; measure nothing
  bool gates = false;   // exit with 1 when the error is beyond the gates
};

/// Exit codes of `calibrate bench`; 1, too, when a gate that was asked for is missed. Errors:
/// ConfigError for bad options, logs and folders, and where there is no fleetsim-kernels.
int replay_command(const ReplayCommandOptions& options);

}  // namespace fleetsim
