#pragma once
// A benchmark run seen from fleetsim: the jobs it hands to fleetsim-kernels and what came of them.

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "calibrate/child_process.h"
#include "kernels/measure/grid.h"
#include "kernels/measure/job_lines.h"
#include "kernels/measure/physical_floor.h"

namespace fleetsim {

struct BenchOptions {
  kernels::GridSize grid = kernels::GridSize::full;
  std::string only;             // one operator; empty: all
  std::string out;              // folder of the profile; empty: by GPU and date
  std::int64_t budget_s = 480;  // device time
  std::uint64_t seed = 1;
  bool force = false;  // write into a folder that holds something
};

/// Header and points as fleetsim-kernels reads them, one a line.
std::string job_text(const kernels::JobHeader& header, const std::vector<kernels::Point>& points);
/// The same of a benchmark's grid.
std::string bench_jobs(const BenchOptions& options);

/// What became of one operator's points.
struct OperatorTotals {
  std::string op;
  std::int64_t points = 0, rows = 0, noisy = 0, failed = 0;
  double worst_check_err = 0;  // relative L2 error
};

/// What the program said, added up, and how it ended.
struct BenchReport {
  ProcessEnd end;
  std::optional<kernels::DeviceEvent> device;
  std::vector<OperatorTotals> totals;  // in the order of the operators' table, asked ones only
  kernels::Ceilings ceilings;
  std::vector<std::pair<std::string, std::int64_t>> warnings;  // text, how often
  std::vector<kernels::FailedEvent> failures;
  std::optional<kernels::StoppedEvent> stopped;
  std::optional<kernels::DoneEvent> done;
  std::vector<std::string> unreadable;  // lines that are no events: the programs do not match
  std::vector<std::string> faults;      // what the loader says of the profile that was written

  std::int64_t rows() const;
  /// Where the profile lies; empty when the program did not say.
  std::string folder() const;
  /// 0 done (whole, or to the end of its budget); 1 a failed check, a crash or an unsound profile;
  /// 2 the program had nothing to run on; 130 stopped by Ctrl-C.
  int exit_code() const;
};

/// Called while the program runs; all of them are set.
struct BenchListener {
  std::function<void(const kernels::ProgressEvent&)> progress;
  std::function<void(const std::string&)> message;  // a line of the program's stderr
  std::function<void()> stopping;                   // it was asked to stop
};

/// Starts `program --jobs`, feeds it, listens to its end, and loads what it wrote. `stops` as in
/// run_process. Errors: ConfigError when it cannot be started.
BenchReport run_jobs(const std::string& program, const kernels::JobHeader& header,
                     const std::vector<kernels::Point>& points, const BenchListener& listener,
                     const std::atomic<int>& stops);
/// The same with a benchmark's grid.
BenchReport run_bench(const std::string& program, const BenchOptions& options,
                      const BenchListener& listener, const std::atomic<int>& stops);

/// A few lines and a table for people, ending in a newline.
std::string bench_summary(const BenchReport& report);

}  // namespace fleetsim
