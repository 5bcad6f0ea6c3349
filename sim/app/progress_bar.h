#pragma once
// Progress of a run on a terminal: share done, rate and time left. Silent when stderr is no
// terminal.

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "sim/core/sim_time.h"

namespace fleetsim {

class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// The main run stands at `now` of `end` (kNever: unknown) after `arrived` requests.
  void run_at(SimTime now, SimTime end, std::int64_t arrived);
  /// A further run has ended; `what` says which kind. Called from several threads.
  void further_run_done(const std::string& what);
  /// `done` of `of` points are measured; `what` says which comes next.
  void points_at(std::int64_t done, std::int64_t of, const std::string& what);
  /// Clears the line.
  void clear();

 private:
  void show(const std::string& line);
  bool on_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point started_, shown_;
  std::int64_t further_ = 0;
};

}  // namespace fleetsim
