#include "calibrate/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <string_view>

#include "calibrate/profile.h"

namespace fleetsim {
namespace {

constexpr int kExitFault = 1, kExitNothingToRunOn = 2, kExitStopped = 130;

std::vector<OperatorTotals> asked_totals(const std::vector<kernels::Point>& points) {
  std::vector<OperatorTotals> totals;
  for (const kernels::OperatorAxes& family : kernels::operator_axes()) {
    const auto of_family = [&](const kernels::Point& point) { return point.op() == family.op; };
    const std::int64_t count = std::count_if(points.begin(), points.end(), of_family);
    if (count > 0) totals.push_back({family.op, count, 0, 0, 0, 0});
  }
  return totals;
}

/// Adds events up. A row or failure of an operator that was not asked for makes a line of its own.
class Listening {
 public:
  Listening(BenchReport& report, const BenchListener& listener)
      : report_(report), listener_(listener) {}

  void line(const std::string& text) {
    std::string fault;
    if (auto event = kernels::parse_event(text, fault))
      std::visit([this](const auto& one) { take(one); }, *event);
    else
      report_.unreadable.push_back(fmt::format("{}: {}", fault, text.substr(0, 200)));
  }

 private:
  void take(const kernels::DeviceEvent& event) { report_.device = event; }
  void take(const kernels::ProgressEvent& event) { listener_.progress(event); }
  void take(const kernels::RowEvent& event) {
    OperatorTotals& totals = totals_of(event.row.point.op());
    ++totals.rows;
    totals.noisy += event.row.noisy ? 1 : 0;
    totals.worst_check_err = std::max(totals.worst_check_err, event.row.check_err);
    kernels::add_ceiling(report_.ceilings, event.row);
  }
  void take(const kernels::WarningEvent& event) {
    for (auto& [text, times] : report_.warnings)
      if (text == event.text) {
        ++times;
        return;
      }
    report_.warnings.emplace_back(event.text, 1);
  }
  void take(const kernels::FailedEvent& event) {
    ++totals_of(event.op).failed;
    report_.failures.push_back(event);
  }
  void take(const kernels::StoppedEvent& event) { report_.stopped = event; }
  void take(const kernels::DoneEvent& event) { report_.done = event; }

  OperatorTotals& totals_of(const std::string& op) {
    for (OperatorTotals& one : report_.totals)
      if (one.op == op) return one;
    report_.totals.push_back({op, 0, 0, 0, 0, 0});
    return report_.totals.back();
  }

  BenchReport& report_;
  const BenchListener& listener_;
};

void judge_profile(BenchReport& report) {
  if (report.done && report.done->rows != report.rows())
    report.faults.push_back(fmt::format("fleetsim-kernels wrote {} rows and told of {}",
                                        report.done->rows, report.rows()));
  if (report.done && report.rows() == 0) report.faults.push_back("no point was measured");
  if (report.folder().empty() || report.rows() == 0) return;
  Problems problems;
  load_profile(report.folder(), {}, problems);
  for (const Problem& problem : problems.sorted()) report.faults.push_back(problem.text());
}

std::string ceilings_text(const kernels::Ceilings& c) {
  std::string text;
  const auto add = [&](double value, const char* name, const char* unit) {
    if (value > 0)
      text += fmt::format("{}{} {:.4g} {}", text.empty() ? "" : ", ", name, value, unit);
  };
  add(c.hbm_read_gb_s, "memory read", "GB/s");
  add(c.hbm_write_gb_s, "write", "GB/s");
  add(c.hbm_copy_gb_s, "copy (read + written)", "GB/s");
  add(c.bf16_tflop_s, "bf16", "TFLOP/s");
  add(c.fp8_tflop_s, "fp8", "TFLOP/s");
  add(c.h2d_gb_s, "host to device", "GB/s");
  add(c.d2h_gb_s, "device to host", "GB/s");
  add(c.both_ways_gb_s, "both ways", "GB/s");
  add(c.launch_us, "launch", "us");
  add(c.graph_launch_us, "graph launch", "us");
  add(c.node_us, "graph node", "us");
  return text.empty() ? "none measured" : text;
}

std::string table_text(const std::vector<OperatorTotals>& totals) {
  std::string text = fmt::format(" {:<18} {:>7} {:>7} {:>7} {:>7}  {}\n", "operator", "points",
                                 "rows", "noisy", "failed", "worst check error");
  for (const OperatorTotals& one : totals)
    text += fmt::format(
        " {:<18} {:>7} {:>7} {:>7} {:>7}  {}\n", one.op, one.points, one.rows, one.noisy,
        one.failed,
        one.rows > 0 ? fmt::format("{:17.3g}", one.worst_check_err) : fmt::format("{:>17}", "-"));
  return text;
}

/// Whether the run reached its end, in words.
std::string state_text(const BenchReport& report) {
  if (report.end.killed_by_us) return "partial: ended at once by a second Ctrl-C";
  if (!report.done)
    return fmt::format("partial: fleetsim-kernels {} before its end", report.end.text());
  if (!report.stopped) return "whole";
  const std::string left = fmt::format("{} points not reached", report.stopped->points_left);
  if (report.stopped->reason == "interrupted")
    return fmt::format("partial: stopped by Ctrl-C, {}", left);
  if (report.stopped->reason == "budget")
    return fmt::format("partial: the budget was used up, {}", left);
  return fmt::format("partial: {}, {}", report.stopped->reason, left);
}

}  // namespace

std::string job_text(const kernels::JobHeader& header, const std::vector<kernels::Point>& points) {
  std::string text = kernels::header_line(header) + "\n";
  for (const kernels::Point& point : points) text += kernels::point_line(point) + "\n";
  return text;
}

std::string bench_jobs(const BenchOptions& options) {
  return job_text({options.out, options.budget_s, options.seed, options.force},
                  kernels::bench_grid(options.grid, options.only, options.seed));
}

std::int64_t BenchReport::rows() const {
  std::int64_t sum = 0;
  for (const OperatorTotals& one : totals) sum += one.rows;
  return sum;
}

std::string BenchReport::folder() const {
  if (done) return done->out;
  return device ? device->out : "";
}

int BenchReport::exit_code() const {
  if (end.killed_by_us || end.exit_code == kExitStopped || end.signal == SIGINT)
    return kExitStopped;
  if (end.exit_code == kExitNothingToRunOn) return kExitNothingToRunOn;
  const bool sound = end.exit_code == 0 && end.signal == 0 && done && unreadable.empty() &&
                     failures.empty() && faults.empty();
  return sound ? 0 : kExitFault;
}

BenchReport run_jobs(const std::string& program, const kernels::JobHeader& header,
                     const std::vector<kernels::Point>& points, const BenchListener& listener,
                     const std::atomic<int>& stops) {
  BenchReport report;
  report.totals = asked_totals(points);
  Listening listening(report, listener);
  const ProcessListener lines{[&](const std::string& line) { listening.line(line); },
                              listener.message, listener.stopping};
  report.end = run_process(program, {"--jobs"}, job_text(header, points), lines, stops);
  judge_profile(report);
  return report;
}

BenchReport run_bench(const std::string& program, const BenchOptions& options,
                      const BenchListener& listener, const std::atomic<int>& stops) {
  return run_jobs(program, {options.out, options.budget_s, options.seed, options.force},
                  kernels::bench_grid(options.grid, options.only, options.seed), listener, stops);
}

std::string bench_summary(const BenchReport& report) {
  constexpr std::size_t kShown = 20;  // of each list
  std::string text;
  if (report.device) {
    const kernels::MeasuredDevice& device = report.device->device;
    text += fmt::format("device    {}, {} SMs, {:.4g} GB, driver {}, CUDA {}\n", device.name,
                        device.sms, static_cast<double>(device.mem_bytes) / 1e9, device.driver,
                        device.runtime);
  }
  text +=
      fmt::format("ceilings  {}\n\n{}", ceilings_text(report.ceilings), table_text(report.totals));
  const auto list = [&](const char* title, const std::vector<std::string>& lines) {
    if (lines.empty()) return;
    text += fmt::format("\n{}\n", title);
    for (std::size_t i = 0; i < std::min(lines.size(), kShown); ++i)
      text += fmt::format("  {}\n", lines[i]);
    if (lines.size() > kShown) text += fmt::format("  and {} more\n", lines.size() - kShown);
  };
  std::vector<std::string> warnings, failures;
  for (const auto& [warning, times] : report.warnings)
    warnings.push_back(times == 1 ? warning : fmt::format("{} ({} times)", warning, times));
  for (const kernels::FailedEvent& failure : report.failures)
    failures.push_back(fmt::format("{}: {}", failure.op, failure.text));
  list("warnings", warnings);
  list("failed checks: these points were not timed", failures);
  list("lines of fleetsim-kernels that are no events: is it of another version?",
       report.unreadable);
  list("the profile is not sound", report.faults);
  text +=
      fmt::format("\nprofile   {} ({})\n",
                  report.folder().empty() ? "none written" : report.folder(), state_text(report));
  return text;
}

}  // namespace fleetsim
