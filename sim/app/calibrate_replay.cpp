#include "sim/app/calibrate_replay.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "calibrate/measured_replay.h"
#include "calibrate/replay_plan.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/problems.h"
#include "sim/app/kernels_program.h"
#include "sim/app/terminal_color.h"
#include "sim/report/output_folder.h"
#include "sim/validation/replay_fit.h"
#include "sim/validation/replay_json.h"
#include "sim/validation/replay_page.h"
#include "sim/validation/replay_scores.h"
#include "sim/validation/replay_text.h"

namespace fleetsim {
namespace {

namespace fs = std::filesystem;

constexpr int kExitGateMissed = 1, kExitNothingToRunOn = 2;
constexpr std::int64_t kBudget = 480;  // seconds of device time

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void check_options(const ReplayCommandOptions& options, Problems& problems) {
  const auto stacks = replay_stack_names();
  if (!options.stack.empty() &&
      std::find(stacks.begin(), stacks.end(), options.stack) == stacks.end())
    problems.add("--stack", {}, unknown_name("stack", options.stack, stacks));
  if (!options.gpu.empty() && find_gpu(options.gpu) == nullptr)
    problems.add("--gpu", {}, unknown_name("GPU", options.gpu, gpu_names()));
  std::error_code error;
  if (!options.out.empty() && fs::exists(options.out, error) &&
      !fs::is_directory(options.out, error))
    problems.add("--out " + options.out, {}, "the output folder is a file");
}

void write_file(const std::string& path, const std::string& text) {
  OutputFile file(path);
  file.write(text);
  file.commit();
}

/// Compares a measured folder and says so; page and JSON go to `out`, unless it is empty.
int compare(const MeasuredReplay& replay, const std::optional<ReplayFit>& asked,
            const std::string& out, bool gates, Problems& problems) {
  const std::optional<ReplayFit> fit = asked ? asked : fit_beside(replay, problems);
  problems.throw_if_any();
  const ReplayScores scores = scores_of(replay, *fit, problems);
  problems.throw_if_any();
  std::string text = replay_text(scores, color_wanted(STDOUT_FILENO));
  if (!out.empty()) {
    std::error_code error;
    fs::create_directories(out, error);  // what goes wrong is said when the file is written
    write_file(out + "/replay.json", replay_json(scores));
    write_file(out + "/replay.html", replay_html(scores));
    text += fmt::format("\nopen {0}/replay.html   (figures: {0}/replay.json)\n", out);
  }
  print(text);
  return gates && !scores.passed() ? kExitGateMissed : 0;
}

std::optional<ReplayFit> asked_fit(const ReplayCommandOptions& options, Problems& problems) {
  if (!options.fit.empty()) return fit_of_file(options.fit, problems);
  if (!options.profile.empty()) return fit_of_profile(options.profile, problems);
  if (!options.gpu.empty()) return catalogue_fit(*find_gpu(options.gpu));
  return std::nullopt;
}

int measure(const ReplayCommandOptions& options, const std::optional<ReplayFit>& fit,
            Problems& problems) {
  const kernels::JobHeader header = {!options.out.empty()       ? options.out
                                     : !options.profile.empty() ? options.profile + "/replay"
                                                                : "results/replay",
                                     device_time(options.budget, kBudget), options.seed,
                                     options.force};
  ReplayOptions replay_options;
  replay_options.count = options.count;
  replay_options.with_parts = options.with_parts;
  replay_options.seed = options.seed;
  replay_options.stack = options.stack;
  replay_options.gpu = fit ? fit->gpu : nullptr;
  const auto plan = plan_replay(options.log, replay_options, problems);
  problems.throw_if_any();
  if (options.points) {
    std::fputs(plan_text(*plan).c_str(), stderr);
    print_points(job_text(header, plan->points));
    return 0;
  }
  const std::string program =
      find_kernels_program(fmt::format("fleetsim calibrate replay {} --points", options.log));
  print(plan_text(*plan));
  const BenchReport report =
      run_stoppable([&](const BenchListener& listener, const std::atomic<int>& stops) {
        return run_jobs(program, header, plan->points, listener, stops);
      });
  if (report.exit_code() == kExitNothingToRunOn) return kExitNothingToRunOn;
  print("\n" + bench_summary(report) + "\n");
  Problems unsound;  // of what was measured: the summary has named them
  const auto replay =
      report.folder().empty() ? std::nullopt : load_replay(report.folder(), unsound);
  const int compared =
      replay ? compare(*replay, fit, report.folder(), options.gates, problems) : kExitGateMissed;
  return report.exit_code() != 0 ? report.exit_code() : compared;
}

}  // namespace

int replay_command(const ReplayCommandOptions& options) {
  Problems problems;
  check_options(options, problems);
  problems.throw_if_any();
  const std::optional<ReplayFit> fit = asked_fit(options, problems);
  problems.throw_if_any();
  if (options.measured.empty()) return measure(options, fit, problems);
  const auto replay = load_replay(options.measured, problems);
  problems.throw_if_any();
  return compare(*replay, fit, options.out, options.gates, problems);
}

}  // namespace fleetsim
