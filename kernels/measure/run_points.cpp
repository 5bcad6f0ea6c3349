// Rows are held back for one block because a canary that moved says that they were measured on
// another GPU, so to speak: with other clocks, or with a neighbour on it.

#include "kernels/measure/run_points.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <deque>
#include <set>

#include "hw_models/check.h"

namespace fleetsim::kernels {
namespace {

constexpr int kSettlingReadings = 5;

struct Planned {
  Point point;
  bool again = false;  // its block was dropped before
};

struct Pending {
  MeasuredRow row;
  bool again = false;
};

template <class T>
std::optional<T> median_of(std::vector<T> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// "+3.4 %"
std::string percent(double now, double before) {
  const double change = (now / before - 1) * 100;
  char text[64];
  const auto [end, error] =
      std::to_chars(text, text + sizeof text, change, std::chars_format::fixed, 1);
  CHECK(error == std::errc());
  return (change < 0 ? "" : "+") + std::string(text, end) + " %";
}

class Run {
 public:
  Run(const std::vector<Point>& points, const Measure& measure, const RunRules& rules,
      ProfileWriter& writer, const std::function<void(const Event&)>& tell)
      : measure_(measure), rules_(rules), writer_(writer), tell_(tell), start_(measure.seconds()) {
    for (const Point& point : points) queue_.push_back({point});
  }

  RunEnd run() {
    try {
      measure_all();
    } catch (const DeviceLost& lost) {
      end_.stopped = "device lost";
      ++end_.failed;
      tell_(FailedEvent{current_op_, lost.what()});
      writer_.add_warning(std::string("the device was lost: ") + lost.what());
      keep_without_canary();
    }
    end_.points_left = static_cast<std::int64_t>(queue_.size());
    end_.rows = writer_.rows();
    write_clocks();
    writer_.finish(end_.stopped);
    if (!end_.stopped.empty()) tell_(StoppedEvent{end_.stopped, end_.points_left});
    tell_(DoneEvent{end_.rows, writer_.folder()});
    return end_;
  }

 private:
  void measure_all() {
    if (!queue_.empty() && !must_stop()) open_first_block();
    while (!queue_.empty()) {
      if (must_stop()) break;
      const Planned next = queue_.front();
      tell_(ProgressEvent{done_, of(), next.point.op(), next.point.text()});
      current_op_ = next.point.op();
      queue_.pop_front();
      const Outcome outcome = measure_.point(next.point);
      ++done_;
      take(outcome, next);
      if (measure_.seconds() - block_start_ >= rules_.block_s) close_block();
    }
    if (!pending_.empty()) close_block();
    // what the last block gave back is measured now, unless there is no time for it
    if (!queue_.empty() && end_.stopped.empty()) return measure_all();
    if (queue_.empty()) tell_(ProgressEvent{done_, of(), "", ""});
  }

  std::int64_t of() const { return done_ + static_cast<std::int64_t>(queue_.size()); }

  /// Notes why, when the next point is not to be measured.
  bool must_stop() {
    if (measure_.interrupted()) {
      end_.stopped = "interrupted";
    } else if (rules_.budget_s > 0 && measure_.seconds() - start_ +
                                              measure_.estimated_seconds(queue_.front().point) +
                                              rules_.closing_s >
                                          rules_.budget_s) {
      end_.stopped = "budget";
    }
    return !end_.stopped.empty();
  }

  void take(const Outcome& outcome, const Planned& planned) {
    const std::string& op = planned.point.op();
    switch (outcome.kind) {
      case Outcome::Kind::measured:
        CHECK(outcome.row.has_value());
        pending_.push_back({*outcome.row, planned.again});
        if (outcome.row->clock_mhz) sm_mhz_.push_back(*outcome.row->clock_mhz);
        return;
      case Outcome::Kind::skipped:
        ++end_.skipped;
        warn("skipped: " + planned.point.text() + ": " + outcome.text);
        return;
      case Outcome::Kind::failed:
        ++end_.failed;
        tell_(FailedEvent{op, planned.point.text() + ": " + outcome.text});
        writer_.add_warning("failed, not timed: " + planned.point.text() + ": " + outcome.text);
        return;
    }
  }

  /// An idle GPU needs a moment to reach the clocks that it keeps under load.
  void open_first_block() {
    if (opened_) return;
    opened_ = true;
    opening_ = measure_.canary();
    for (int i = 1; i < kSettlingReadings; ++i) {
      const CanaryReading now = measure_.canary();
      const bool settled = !canary_moved(opening_, now, rules_.canary_moved_max);
      opening_ = now;
      if (settled) break;
    }
    first_ = opening_;
    block_start_ = measure_.seconds();
    read_clocks();
  }

  void close_block() {
    const CanaryReading closing = measure_.canary();
    read_clocks();
    if (canary_moved(opening_, closing, rules_.canary_moved_max))
      drop_block(closing);
    else
      keep_block();
    if (!drift_told_ && canary_moved(first_, closing, rules_.canary_moved_max)) {
      drift_told_ = true;
      warn("the canary is no longer what it was at the start of the run: GEMM " +
           percent(closing.gemm_ns, first_.gemm_ns) + ", copy " +
           percent(closing.copy_ns, first_.copy_ns));
    }
    opening_ = closing;
    block_start_ = measure_.seconds();
  }

  void keep_block() {
    for (const Pending& pending : pending_) write(pending.row);
    pending_.clear();
  }

  void drop_block(const CanaryReading& closing) {
    if (pending_.empty()) return;
    std::deque<Planned> again;
    std::int64_t marked = 0;
    for (Pending& pending : pending_) {
      if (!pending.again) {
        again.push_back({pending.row.point, true});
        continue;
      }
      pending.row.noisy = true;
      write(pending.row);
      ++marked;
    }
    const std::string moved =
        "the canary moved (GEMM " + percent(closing.gemm_ns, opening_.gemm_ns) + ", copy " +
        percent(closing.copy_ns, opening_.copy_ns) + ") over the block from " +
        pending_.front().row.point.text() + " to " + pending_.back().row.point.text() + ": ";
    if (!again.empty())
      warn(moved + std::to_string(again.size()) + " rows are dropped and measured again");
    if (marked > 0)
      warn(moved + std::to_string(marked) + " rows, measured a second time, are marked as noisy");
    end_.dropped += static_cast<std::int64_t>(again.size());
    queue_.insert(queue_.begin(), again.begin(), again.end());
    pending_.clear();
  }

  void keep_without_canary() {
    for (Pending& pending : pending_) {
      pending.row.noisy = true;
      write(pending.row);
    }
    if (!pending_.empty())
      warn("the last " + std::to_string(pending_.size()) +
           " rows are marked as noisy: no canary could be read behind them");
    pending_.clear();
  }

  void write(const MeasuredRow& row) {
    writer_.add(row);
    tell_(RowEvent{row});
  }

  void warn(const std::string& text) {
    tell_(WarningEvent{text});
    writer_.add_warning(text);
  }

  void read_clocks() {
    const ClockReading reading = measure_.clocks();
    if (reading.sm_mhz) sm_mhz_.push_back(*reading.sm_mhz);
    if (reading.power_w) power_w_.push_back(*reading.power_w);
    if (!reading.held_back.empty() && told_held_back_.insert(reading.held_back).second)
      warn("clocks were held back: " + reading.held_back +
           (reading.temperature_c
                ? " (" + std::to_string(std::lround(*reading.temperature_c)) + " degrees Celsius)"
                : ""));
    write_clocks();
  }

  void write_clocks() {
    ClockFacts facts;
    facts.sm_mhz_median = median_of(sm_mhz_);
    if (!sm_mhz_.empty()) facts.sm_mhz_min = *std::min_element(sm_mhz_.begin(), sm_mhz_.end());
    facts.power_w_median = median_of(power_w_);
    writer_.set_clocks(facts);
  }

  const Measure& measure_;
  RunRules rules_;
  ProfileWriter& writer_;
  const std::function<void(const Event&)>& tell_;
  RunEnd end_;
  std::deque<Planned> queue_;
  std::vector<Pending> pending_;
  std::int64_t done_ = 0;
  std::string current_op_;
  double start_, block_start_ = 0;
  bool opened_ = false, drift_told_ = false;
  CanaryReading first_, opening_;
  std::vector<std::int64_t> sm_mhz_;
  std::vector<double> power_w_;
  std::set<std::string> told_held_back_;
};

}  // namespace

int RunEnd::exit_code() const {
  if (stopped == "interrupted") return 130;
  return failed > 0 ? 1 : 0;
}

bool canary_moved(const CanaryReading& before, const CanaryReading& now, double moved_max) {
  CHECK(before.gemm_ns > 0 && before.copy_ns > 0);
  return std::fabs(now.gemm_ns / before.gemm_ns - 1) > moved_max ||
         std::fabs(now.copy_ns / before.copy_ns - 1) > moved_max;
}

RunEnd run_points(const std::vector<Point>& points, const Measure& measure, const RunRules& rules,
                  ProfileWriter& writer, const std::function<void(const Event&)>& tell) {
  return Run(points, measure, rules, writer, tell).run();
}

}  // namespace fleetsim::kernels
