// fleetsim-kernels: measures this machine's GPU for fleetsim. Alone, or started by
// `fleetsim calibrate bench`, which hands it job lines and reads its events.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <iterator>

#include "kernels/measure/machine_facts.h"
#include "kernels/program/bench.h"
#include "kernels/program/selftest.h"

namespace fleetsim::kernels {
namespace {

constexpr int kUsersFault = 2, kOurFault = 1;

struct Options {
  bool quick = false, full = false, force = false;
  bool jobs = false, selftest = false, device = false;
  std::string only, out;
  std::int64_t budget_s = 480;
  std::uint64_t seed = 1;
};

constexpr const char* kExamples = R"(Examples:
  fleetsim-kernels --selftest                      every kernel against float64
  fleetsim-kernels --quick --out profile           a minute of measuring
  fleetsim-kernels --full --out profile            the whole grid, at most 8 minutes
  fleetsim-kernels --full --only decode_attention  one operator and the ceilings
Exit codes: 0; 1 a check failed or the device was lost; 2 no GPU, or options that cannot be used;
130 interrupted.)";

void add_options(CLI::App& app, Options& options) {
  auto* quick = app.add_flag("--quick", options.quick, "Measure the coarse points: about a minute");
  auto* full = app.add_flag("--full", options.full, "Measure the whole grid (the default)");
  auto* only = app.add_option("--only", options.only, "Measure or check this operator alone");
  auto* out = app.add_option("--out", options.out,
                             "Folder of the profile (default: hw_models/profiles/<gpu>/<date>)");
  auto* budget = app.add_option("--budget", options.budget_s,
                                "Seconds of device time at most; 0: no limit (default: 480)");
  auto* seed = app.add_option("--seed", options.seed, "Seed of random inputs (default: 1)");
  auto* force = app.add_flag("--force", options.force, "Write into a folder that holds a profile");
  auto* jobs = app.add_flag("--jobs", options.jobs,
                            "Read job lines from stdin, tell events as JSON lines on stdout");
  auto* selftest =
      app.add_flag("--selftest", options.selftest, "Check every kernel, measure nothing");
  auto* device = app.add_flag("--device", options.device, "Tell the GPU's facts as JSON");
  budget->check(CLI::Range(std::int64_t{0}, std::int64_t{86400}));
  quick->excludes(full);
  for (CLI::Option* grid : {quick, full, out, budget, force}) {
    jobs->excludes(grid);
    selftest->excludes(grid);
    device->excludes(grid);
  }
  jobs->excludes(only)->excludes(seed)->excludes(selftest)->excludes(device);
  device->excludes(only)->excludes(seed)->excludes(selftest);
  app.footer(kExamples);
}

int refuse(const std::string& message) {
  std::fprintf(stderr, "fleetsim-kernels: %s\n", message.c_str());
  return kUsersFault;
}

/// 0 when a GPU is there; else says that there is none, and the exit code.
int require_device() {
  const std::string why = why_no_device();
  if (why.empty()) return 0;
  return refuse("no CUDA device: " + why +
                "; run this on a machine with an NVIDIA GPU and a driver for CUDA 13 "
                "(nvidia-smi shows both)");
}

int run_jobs() {
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  std::vector<JobFault> faults;
  const Jobs jobs = parse_jobs(text, faults);
  for (const JobFault& fault : faults)
    std::fprintf(stderr, "stdin:%d: error: %s\n", fault.line, fault.message.c_str());
  if (!faults.empty()) return kUsersFault;
  if (const int refused = require_device(); refused != 0) return refused;
  return run_bench(jobs, Audience::program);
}

std::string known_operators() {
  std::string names;
  for (const OperatorAxes& family : operator_axes())
    names += (names.empty() ? "" : ", ") + family.op;
  return names;
}

int run_grid(const Options& options) {
  if (!options.only.empty() && find_operator(options.only) == nullptr)
    return refuse("--only " + options.only + ": no such operator; known: " + known_operators());
  if (const int refused = require_device(); refused != 0) return refused;
  Jobs jobs;
  jobs.header = {options.out, options.budget_s, options.seed, options.force};
  jobs.points =
      bench_grid(options.quick ? GridSize::quick : GridSize::full, options.only, options.seed);
  return run_bench(jobs, Audience::people);
}

int check_kernels(const Options& options) {
  if (!has_checks(options.only))
    return refuse("--only " + options.only +
                  ": nothing of that name is checked; known: " + checked_operators());
  if (const int refused = require_device(); refused != 0) return refused;
  return run_selftest(options.only, options.seed);
}

int tell_device() {
  if (const int refused = require_device(); refused != 0) return refused;
  const GpuClocks clocks(pci_bus_id());
  std::printf("%s\n", device_line(measured_device(clocks)).c_str());
  return 0;
}

int run(int argc, char** argv) {
  CLI::App app{"fleetsim-kernels measures this machine's GPU and writes a profile for fleetsim"};
  Options options;
  add_options(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : kUsersFault;
  }
  if (options.jobs) return run_jobs();
  if (options.device) return tell_device();
  if (options.selftest) return check_kernels(options);
  return run_grid(options);
}

}  // namespace
}  // namespace fleetsim::kernels

int main(int argc, char** argv) {
  try {
    return fleetsim::kernels::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fleetsim-kernels: %s\n", error.what());
    return fleetsim::kernels::kOurFault;
  }
}
