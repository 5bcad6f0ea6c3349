#pragma once
// Judges one service level objective: its limits in the worst window and the share that meets them
// all.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/metrics/gap_histogram.h"
#include "sim/metrics/request_log.h"
#include "sim/metrics/summary.h"
#include "sim/scenario/scenario.h"

namespace fleetsim {

/// An objective over the requests of one or more classes.
///
/// Population: arrivals that GPUs had to serve, that is all but response-cache hits (with
/// slo.include_cache_hits: those too). Rejected, timed-out, lost and unfinished ones are misses:
/// they count as infinite in every limit. TTFT leaves out prefill-only requests, TPOT those of less
/// than two output tokens and cache hits; left out of a percentile, such a request still passes
/// that limit. Windows start at the end of the warm-up, slo.window long. A last part shorter than
/// half a window is merged into the window before it (or is the only window). Windows without
/// arrivals are not judged. Single gaps are not kept by request: an ITL limit is judged on the
/// percentile of all gaps of the run, of every class, and takes no part in the attainment.
class SloJudge {
 public:
  /// `classes[i]`: whether class i is judged here. `from`: end of the warm-up.
  SloJudge(std::string class_name, const Slo& slo, std::vector<bool> classes, SimTime from);

  bool covers(const LoggedRequest& request) const;
  /// Every limit that applies to the request is met; false for misses.
  bool meets(const LoggedRequest& request) const;
  /// Counts a covered request for a verdict without a log; called for each once the log is folded.
  void tally(const LoggedRequest& request);

  /// The verdict over windows up to `to` (the end of arrivals), absent when nothing was judged.
  /// Exact percentiles from `log` while that is whole; else from what was tallied: values within
  /// 0.098 %, verdicts and attainment exact. `scratch`: 8 bytes a request.
  std::optional<SloSection> verdict(const RequestLog& log, const GapHistogram& gaps, SimTime to,
                                    std::vector<double>& scratch) const;

 private:
  struct Limit {
    LatencyMetric metric;
    SimTime limit;
  };
  // One limit in one window.
  struct LimitTally {
    std::int64_t misses = 0, within = 0;
    WindowHistogram values;  // whole nanoseconds
  };
  struct WindowTally {
    std::int64_t arrivals = 0, good = 0;
    std::vector<LimitTally> limits;
  };
  // A judged window: the percentile of every limit in nanoseconds and the number behind it.
  struct Window {
    std::int64_t arrivals = 0, good = 0;
    std::vector<double> percentile_ns;
    std::vector<std::int64_t> population;
  };
  struct Judgement {
    std::vector<Window> windows;
    Window overall;
  };

  std::size_t window_of(SimTime arrival) const;
  std::size_t window_count(SimTime to) const;
  /// -1: left out; infinity: a miss.
  double judged_ns(const LoggedRequest& request, LatencyMetric metric) const;
  void merge(WindowTally& into, const WindowTally& from) const;
  Window judge_tally(const WindowTally& tally) const;
  Judgement from_tallies(std::size_t count) const;
  Judgement from_log(const RequestLog& log, std::size_t count, std::vector<double>& scratch) const;
  void judge_limit(const RequestLog& log, std::size_t limit, Judgement& judgement,
                   std::vector<double>& scratch) const;
  SloLimit worst_of(const Judgement& judgement, std::size_t limit) const;
  std::vector<SloSection::WindowPoint> timeline(const Judgement& judgement) const;
  SloLimit itl_limit(const GapHistogram& gaps) const;

  std::string class_name_;
  Slo slo_;
  std::vector<bool> classes_;
  SimTime from_;
  std::vector<Limit> limits_;
  std::vector<WindowTally> tallies_;
};

}  // namespace fleetsim
