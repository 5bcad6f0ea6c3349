#pragma once
// The protocol between `fleetsim calibrate bench` and `fleetsim-kernels`: JSON lines, jobs in on
// stdin, events out on stdout.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/measure/measured_row.h"
#include "kernels/measure/run_facts.h"

namespace fleetsim::kernels {

/// The first line: {"schema":"fleetsim.jobs/1","command":"bench","out":DIR,...}.
struct JobHeader {
  std::string out;              // folder of the profile; empty: by GPU and date
  std::int64_t budget_s = 480;  // device time, seconds
  std::uint64_t seed = 1;       // of inputs
  bool force = false;           // write into a folder that holds something
};
struct Jobs {
  JobHeader header;
  std::vector<Point> points;  // in the order in which they are to be measured
};
/// `line` counts from 1.
struct JobFault {
  int line = 0;
  std::string message;
};

/// Lines end without a newline.
std::string header_line(const JobHeader& header);
std::string point_line(const Point& point);
/// Reads the whole text; empty lines are left out. Errors: all faults, with their lines; the jobs
/// are to be run only when there is none.
Jobs parse_jobs(std::string_view text, std::vector<JobFault>& faults);

// Events ---------------------------------------------------------------------------------------

/// First of all: on what, and where the profile will lie.
struct DeviceEvent {
  MeasuredDevice device;
  std::string out;
};
/// `done` of `of` points are through (measured, skipped or failed); `text` says what comes next.
struct ProgressEvent {
  std::int64_t done = 0, of = 0;
  std::string op, text;
};
/// A row was measured and written.
struct RowEvent {
  MeasuredRow row;
};
/// Something a reader of the profile should know: a skipped point, clocks that cannot be read.
struct WarningEvent {
  std::string text;
};
/// A point whose check failed: it was not timed, and the program will exit with 1.
struct FailedEvent {
  std::string op, text;
};
/// The run ended before its last point: "budget", "interrupted".
struct StoppedEvent {
  std::string reason;
  std::int64_t points_left = 0;
};
/// Last of all, of whole and of stopped runs: the profile is written.
struct DoneEvent {
  std::int64_t rows = 0;
  std::string out;
};
using Event = std::variant<DeviceEvent, ProgressEvent, RowEvent, WarningEvent, FailedEvent,
                           StoppedEvent, DoneEvent>;

std::string event_line(const Event& event);
/// nullopt, with the reason in `fault`, when the line is no event of this protocol.
std::optional<Event> parse_event(std::string_view line, std::string& fault);

/// The facts alone as one line of JSON: `fleetsim-kernels --device`.
std::string device_line(const MeasuredDevice& device);

}  // namespace fleetsim::kernels
