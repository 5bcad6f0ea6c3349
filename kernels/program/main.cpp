// fleetsim-kernels: measures this machine's GPU for fleetsim. Alone, or started by
// `fleetsim calibrate bench`, which hands it job lines and reads its events.

#include <CLI/CLI.hpp>
#include <algorithm>
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
  bool quick = false, full = false, force = false, reverse = false;
  bool jobs = false, selftest = false, small = false, device = false, operators = false;
  std::string only, out;
  std::vector<std::string> except;
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
  app.add_flag("--quick", options.quick, "Measure the coarse points: about a minute");
  app.add_flag("--full", options.full, "Measure the whole grid (the default)");
  app.add_option("--only", options.only, "Measure or check this operator alone");
  app.add_option("--except", options.except,
                 "Measure all but these operators, or what these checks are of: A,B,...")
      ->delimiter(',');
  app.add_option("--out", options.out,
                 "Folder of the profile (default: hw_models/profiles/<gpu>/<date>)");
  app.add_option("--budget", options.budget_s,
                 "Seconds of device time at most; 0: no limit (default: 480)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{86400}));
  app.add_option("--seed", options.seed, "Seed of random inputs (default: 1)");
  app.add_flag("--reverse", options.reverse,
               "Measure in reverse order behind the ceilings: two runs show their spread");
  app.add_flag("--force", options.force, "Write into a folder that holds a profile");
  app.add_flag("--selftest", options.selftest, "Check every kernel, measure nothing");
  app.add_flag("--small", options.small, "With --selftest: leave the big shapes out");
  app.add_flag("--operators", options.operators, "Name what --selftest checks, one a line");
  app.add_flag("--device", options.device, "Tell the GPU's facts as JSON");
  app.add_flag("--jobs", options.jobs,
               "Read job lines from stdin, tell events as JSON lines on stdout");
  app.footer(kExamples);
}

/// What each mode takes; a mode is an option itself, and measuring its own grid is the one without.
struct Mode {
  const char* option;
  std::vector<std::string> takes;
};

const std::vector<Mode>& modes() {
  static const std::vector<Mode> table = {
      {"--jobs", {}},
      {"--device", {}},
      {"--operators", {}},
      {"--selftest", {"--small", "--only", "--seed"}},
      {nullptr,
       {"--quick", "--full", "--only", "--except", "--out", "--budget", "--seed", "--force",
        "--reverse"}},
  };
  return table;
}

/// Empty, or which options do not go together.
std::string contradiction(const CLI::App& app) {
  if (app.count("--quick") > 0 && app.count("--full") > 0)
    return "--quick and --full exclude each other";
  for (const Mode& mode : modes()) {
    if (mode.option != nullptr && app.count(mode.option) == 0) continue;
    for (const CLI::Option* option : app.get_options()) {
      const std::string name = option->get_name();
      const bool taken = std::find(mode.takes.begin(), mode.takes.end(), name) != mode.takes.end();
      if (option->count() == 0 || taken || (mode.option != nullptr && name == mode.option))
        continue;
      return name + (mode.option != nullptr ? " does not go with " + std::string(mode.option)
                                            : " needs --selftest");
    }
    return "";
  }
  return "";
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

/// Whether an iteration launches the kernel that the check `name` is of.
bool launched_by(const Point& iteration, const std::string& name) {
  const std::vector<std::int64_t> fresh = iteration.lengths("new_lengths");
  const bool decode =
      std::all_of(fresh.begin(), fresh.end(), [](std::int64_t q) { return q == 1; });
  if (name == "decode_attention") return decode;
  if (name == "prefill_attention") return !decode;
  constexpr const char* kAlways[] = {"gemm",     "quantise",  "rope_kv_write", "rms_norm",
                                     "silu_mul", "embedding", "sampling"};
  return std::find(std::begin(kAlways), std::end(kAlways), name) != std::end(kAlways);
}

/// Whether `name` is the point's operator, or the check of the kernel that the point measures.
bool is_point_of(const Point& point, const std::string& name) {
  struct LaunchedToo {
    const char *check, *op;  // points of `op` launch what `check` is of
  };
  constexpr LaunchedToo kLaunchedToo[] = {{"prefill_attention", "verify_attention"},
                                          {"expert_permutation", "expert_permute"},
                                          {"expert_permutation", "expert_unpermute"},
                                          {"expert_permutation", "experts"},
                                          {"expert_routing", "experts"},
                                          {"grouped_gemm", "experts"},
                                          {"silu_mul", "experts"}};
  const std::string& op = point.op();
  if (name == "w4a16_gemm") return op == "gemm" && point.word("dtype") == "w4a16";
  if (name == "block_copies") return op.starts_with("block_");
  if (op == "iteration" && launched_by(point, name)) return true;
  for (const LaunchedToo& row : kLaunchedToo)
    if (name == row.check && op == row.op) return true;
  return op == name;
}

int run_grid(const Options& options) {
  if (!options.only.empty() && find_operator(options.only) == nullptr)
    return refuse("--only " + options.only + ": no such operator; known: " + known_operators());
  for (const std::string& name : options.except)
    if (name == "ceiling" || (find_operator(name) == nullptr && !has_checks(name)))
      return refuse("--except " + name + ": nothing of that name can be left out; known: " +
                    known_operators() + ", and as checks " + checked_operators());
  if (const int refused = require_device(); refused != 0) return refused;
  Jobs jobs;
  jobs.header = {options.out, options.budget_s, options.seed, options.force};
  jobs.points =
      bench_grid(options.quick ? GridSize::quick : GridSize::full, options.only, options.seed);
  std::erase_if(jobs.points, [&](const Point& point) {
    return std::any_of(options.except.begin(), options.except.end(),
                       [&](const std::string& name) { return is_point_of(point, name); });
  });
  if (options.reverse) jobs.points = in_reverse(jobs.points);
  return run_bench(jobs, Audience::people);
}

int check_kernels(const Options& options) {
  if (!has_checks(options.only))
    return refuse("--only " + options.only +
                  ": nothing of that name is checked; known: " + checked_operators());
  if (const int refused = require_device(); refused != 0) return refused;
  return run_selftest(options.only, options.small ? Scale::emulated : Scale::device, options.seed);
}

int name_operators() {
  for (const Check& check : all_checks()) std::printf("%s\n", check.op);
  return 0;
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
  if (const std::string why = contradiction(app); !why.empty()) return refuse(why);
  if (options.jobs) return run_jobs();
  if (options.device) return tell_device();
  if (options.operators) return name_operators();
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
