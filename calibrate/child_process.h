#pragma once
// A program run to its end with a text on its stdin, its lines handed out as they come.

#include <atomic>
#include <functional>
#include <string>
#include <vector>

namespace fleetsim {

/// How a program ended: by its own exit code, or by a signal (then `signal` is above 0).
struct ProcessEnd {
  int exit_code = 0;
  int signal = 0;
  bool killed_by_us = false;  // it was asked to stop a second time
  /// "exited with 1", "was ended by signal 11 (Segmentation fault)".
  std::string text() const;
};

/// Called in this thread, with lines without their ends.
struct ProcessListener {
  std::function<void(const std::string&)> out, err;
  std::function<void()> stopping;  // it was asked to stop
};

/// Runs `program` with `arguments`. It gets a process group of its own, so that Ctrl-C at the
/// terminal reaches it through us alone: when `stops` is raised to 1 it is sent SIGINT once, at 2
/// or more it is killed. Errors: ConfigError when it cannot be started.
ProcessEnd run_process(const std::string& program, const std::vector<std::string>& arguments,
                       const std::string& input, const ProcessListener& listener,
                       const std::atomic<int>& stops);

}  // namespace fleetsim
