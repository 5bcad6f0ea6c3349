#include "sim/app/calibrate_command.h"

#include <fmt/format.h>

#include <cstdio>

#include "hw_models/problems.h"
#include "sim/app/kernels_program.h"

namespace fleetsim {
namespace {

constexpr std::int64_t kQuickBudget = 120, kFullBudget = 480;  // seconds of device time

[[noreturn]] void refuse(const std::string& place, const std::string& message) {
  Problems problems;
  problems.add(place, {}, message);
  throw ConfigError(std::move(problems));
}

BenchOptions bench_options(const CalibrateOptions& options) {
  BenchOptions bench;
  bench.grid = options.quick ? kernels::GridSize::quick : kernels::GridSize::full;
  bench.only = options.only;
  bench.out = options.out;
  bench.seed = options.seed;
  bench.force = options.force;
  bench.budget_s = device_time(options.budget, options.quick ? kQuickBudget : kFullBudget);
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
    print_points(bench_jobs(bench));
    return 0;
  }
  const std::string program = find_kernels_program("fleetsim calibrate bench --points");
  const BenchReport report =
      run_stoppable([&](const BenchListener& listener, const std::atomic<int>& stops) {
        return run_bench(program, bench, listener, stops);
      });
  // it has said on stderr why there is nothing to tell
  if (report.exit_code() != 2) std::fputs(bench_summary(report).c_str(), stdout);
  std::fflush(stdout);
  return report.exit_code();
}

}  // namespace fleetsim
