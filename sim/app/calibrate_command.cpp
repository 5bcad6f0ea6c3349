// fleetsim-kernels is another program because it is built where this one cannot be, and the other
// way round: it needs CUDA and nothing else. It stands beside this one.

#include "sim/app/calibrate_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
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
constexpr std::int64_t kQuickBudget = 120, kFullBudget = 480;  // seconds of device time

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

/// $FLEETSIM_KERNELS, else the program beside this one.
std::string find_program() {
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
          "  To carry the points to a GPU machine: fleetsim calibrate bench --points > "
          "points.jsonl, and there: fleetsim-kernels --jobs < points.jsonl",
          kEnvironment));
}

BenchOptions bench_options(const CalibrateOptions& options) {
  BenchOptions bench;
  bench.grid = options.quick ? kernels::GridSize::quick : kernels::GridSize::full;
  bench.only = options.only;
  bench.out = options.out;
  bench.seed = options.seed;
  bench.force = options.force;
  bench.budget_s = options.quick ? kQuickBudget : kFullBudget;
  if (!options.budget.empty()) {
    const auto budget = parse_quantity(options.budget, Dimension::seconds);
    const double* seconds = std::get_if<double>(&budget);
    if (seconds == nullptr || !(*seconds >= 1) || *seconds > 86400)
      refuse("--budget", fmt::format("'{}' is no device time from 1s to 24h, such as 480s or 8min",
                                     options.budget));
    bench.budget_s = static_cast<std::int64_t>(std::floor(*seconds));
  }
  if (!bench.only.empty() && kernels::find_operator(bench.only) == nullptr) {
    std::vector<std::string> names;
    for (const kernels::OperatorAxes& family : kernels::operator_axes()) names.push_back(family.op);
    const std::string hint = nearest_word(bench.only, names);
    refuse("--only", fmt::format("unknown operator '{}'{}; known are {}", bench.only,
                                 hint.empty() ? "" : fmt::format("; did you mean '{}'?", hint),
                                 fmt::join(names, ", ")));
  }
  return bench;
}

}  // namespace

int bench_command(const CalibrateOptions& options) {
  const BenchOptions bench = bench_options(options);
  if (options.points) {
    if (std::fputs(bench_jobs(bench).c_str(), stdout) < 0 || std::fflush(stdout) != 0)
      refuse("stdout", "the points could not be written to their end");
    return 0;
  }
  const std::string program = find_program();
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
  const BenchReport report = run_bench(program, bench, listener, g_stops);
  bar.clear();
  // it has said on stderr why there is nothing to tell
  if (report.exit_code() != 2) std::fputs(bench_summary(report).c_str(), stdout);
  std::fflush(stdout);
  return report.exit_code();
}

}  // namespace fleetsim
