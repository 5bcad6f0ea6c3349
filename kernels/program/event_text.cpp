#include "kernels/program/event_text.h"

#include <charconv>

#include "hw_models/check.h"

namespace fleetsim::kernels {
namespace {

std::string fixed(double value, int digits) {
  char text[64];
  const auto [end, error] =
      std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, digits);
  CHECK(error == std::errc());
  return std::string(text, end);
}

std::string padded(std::string text, std::size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

std::string text_of(const DeviceEvent& event) {
  const MeasuredDevice& device = event.device;
  return device.name + ", sm_" + std::to_string(device.sm) + ", " + std::to_string(device.sms) +
         " SMs, " + fixed(static_cast<double>(device.mem_bytes) / 1e9, 1) + " GB, driver " +
         (device.driver.empty() ? "unknown" : device.driver) + "\nprofile: " + event.out;
}

std::string text_of(const ProgressEvent&) { return ""; }

std::string text_of(const RowEvent& event) {
  const MeasuredRow& row = event.row;
  const double spread =
      static_cast<double>(row.p90_ns - row.p10_ns) / static_cast<double>(row.median_ns);
  return padded(duration_text(row.median_ns), 9) + "  " + padded(fixed(spread * 100, 1), 5) +
         " %  " + row.point.text() + (row.noisy ? "  (noisy)" : "") +
         (row.note.empty() ? "" : "  [" + row.note + "]");
}

std::string text_of(const WarningEvent& event) { return "warning: " + event.text; }
std::string text_of(const FailedEvent& event) { return "FAILED: " + event.text; }

std::string text_of(const StoppedEvent& event) {
  return "stopped: " + event.reason + "; " + std::to_string(event.points_left) +
         " points were not reached";
}

std::string text_of(const DoneEvent& event) {
  return std::to_string(event.rows) + " rows in " + event.out;
}

}  // namespace

std::string duration_text(std::int64_t nanoseconds) {
  const double ns = static_cast<double>(nanoseconds);
  const auto three = [](double value, const char* unit) {
    return fixed(value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0) + unit;
  };
  if (ns < 1e3) return std::to_string(nanoseconds) + " ns";
  if (ns < 999.5e3) return three(ns / 1e3, " us");
  if (ns < 999.5e6) return three(ns / 1e6, " ms");
  return three(ns / 1e9, " s");
}

std::string event_text(const Event& event) {
  return std::visit([](const auto& one) { return text_of(one); }, event);
}

std::string progress_text(const ProgressEvent& progress, std::size_t columns) {
  const std::string of = std::to_string(progress.of);
  std::string line = "[" + padded(std::to_string(progress.done), of.size()) + "/" + of + "] " +
                     (progress.text.empty() ? progress.op : progress.text);
  if (line.size() > columns)
    line = columns > 3 ? line.substr(0, columns - 3) + "..." : line.substr(0, columns);
  return line;
}

}  // namespace fleetsim::kernels
