#pragma once
// fleetsim-kernels as the calibrate commands start it: where it is, how it is stopped, what it
// shows while it runs.

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "calibrate/bench.h"

namespace fleetsim {

/// $FLEETSIM_KERNELS, else the program beside this one. `points_command`: what prints the points of
/// the caller's command, to be carried to a GPU machine. Errors: ConfigError that says what to do.
std::string find_kernels_program(const std::string& points_command);

/// Seconds of device time that `text` ("480s", "8min") asks for; `otherwise` when it is empty.
/// Errors: ConfigError for less than a second or more than a day.
std::int64_t device_time(const std::string& text, std::int64_t otherwise);

/// Has `run` run fleetsim-kernels: progress on a terminal, its messages on stderr, and Ctrl-C ends
/// it behind the point in hand instead of ending this program.
BenchReport run_stoppable(
    const std::function<BenchReport(const BenchListener&, const std::atomic<int>&)>& run);

/// Prints job lines. Errors: ConfigError when they cannot be written to their end.
void print_points(const std::string& jobs);

}  // namespace fleetsim
