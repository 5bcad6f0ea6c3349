// fleetsim-kernels is another program because it is built where this one cannot be, and the other
// way round: it needs CUDA and nothing else. It stands beside this one.

#include "sim/app/kernels_program.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <variant>

#include "hw_models/problems.h"
#include "sim/app/progress_bar.h"
#include "sim/scenario/quantity.h"

namespace fleetsim {
namespace {

constexpr const char* kProgram = "fleetsim-kernels";
constexpr const char* kEnvironment = "FLEETSIM_KERNELS";

std::atomic<int> g_stops = 0;  // how often Ctrl-C was pressed
static_assert(std::atomic<int>::is_always_lock_free);

/// While it lives, Ctrl-C is counted instead of ending the program.
class CountInterrupts {
 public:
  CountInterrupts() {
    g_stops = 0;
    struct sigaction action = {};
    action.sa_handler = [](int) { ++g_stops; };
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, &before_int_);
    sigaction(SIGTERM, &action, &before_term_);
  }
  ~CountInterrupts() {
    sigaction(SIGINT, &before_int_, nullptr);
    sigaction(SIGTERM, &before_term_, nullptr);
  }
  CountInterrupts(const CountInterrupts&) = delete;
  CountInterrupts& operator=(const CountInterrupts&) = delete;

 private:
  struct sigaction before_int_ = {}, before_term_ = {};
};

[[noreturn]] void refuse(const std::string& place, const std::string& message) {
  Problems problems;
  problems.add(place, {}, message);
  throw ConfigError(std::move(problems));
}

bool is_program(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && access(path.c_str(), X_OK) == 0;
}

}  // namespace

std::string find_kernels_program(const std::string& points_command) {
  if (const char* named = std::getenv(kEnvironment); named != nullptr && *named != '\0') {
    if (is_program(named)) return named;
    refuse(kEnvironment, fmt::format("'{}' is no program that can be run", named));
  }
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string beside = (self.parent_path() / kProgram).string();
  if (!error && is_program(beside)) return beside;
  refuse(
      kProgram,
      fmt::format(
          "not there: it was not built, because no CUDA compiler (nvcc) was found or asked for.\n"
          "  On a machine with nvcc: cmake --preset gpu && cmake --build --preset gpu, or "
          "kernels/README.md for one without this project's packages.\n"
          "  Built elsewhere: name it in ${}.\n"
          "  To carry the points to a GPU machine: {} > points.jsonl, and there: "
          "fleetsim-kernels --jobs < points.jsonl",
          kEnvironment, points_command));
}

std::int64_t device_time(const std::string& text, std::int64_t otherwise) {
  if (text.empty()) return otherwise;
  const auto budget = parse_quantity(text, Dimension::seconds);
  const double* seconds = std::get_if<double>(&budget);
  if (seconds == nullptr || !(*seconds >= 1) || *seconds > 86400)
    refuse("--budget",
           fmt::format("'{}' is no device time from 1s to 24h, such as 480s or 8min", text));
  return static_cast<std::int64_t>(std::floor(*seconds));
}

BenchReport run_stoppable(
    const std::function<BenchReport(const BenchListener&, const std::atomic<int>&)>& run) {
  const CountInterrupts interrupts;
  ProgressBar bar;
  BenchListener listener;
  listener.progress = [&](const kernels::ProgressEvent& event) {
    bar.points_at(event.done, event.of, event.text);
  };
  listener.message = [&](const std::string& line) {
    bar.clear();
    std::fprintf(stderr, "%s\n", line.c_str());
  };
  listener.stopping = [&] {
    listener.message("stopping behind the point in hand; Ctrl-C again ends it at once");
  };
  BenchReport report = run(listener, g_stops);
  bar.clear();
  return report;
}

void print_points(const std::string& jobs) {
  if (std::fputs(jobs.c_str(), stdout) < 0 || std::fflush(stdout) != 0)
    refuse("stdout", "the points could not be written to their end");
}

}  // namespace fleetsim
