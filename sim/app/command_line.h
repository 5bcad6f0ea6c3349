#pragma once
// The command line of fleetsim: parses it and calls the command. The one door to CLI11.

namespace fleetsim {

/// Returns the exit code: 0 done, 2 usage, 3 SLO missed.
/// Errors: ConfigError for bad input, InternalError for ours; main() reports both.
int run_command_line(int argc, const char* const* argv);

}  // namespace fleetsim
