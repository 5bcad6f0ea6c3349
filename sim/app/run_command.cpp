// A run from command line to files: read, deploy, simulate while records stream to disk, further
// runs for the spread and the headroom, then the summary and the page. The clock is read only here:
// it reaches nothing but the fields under `wall`.

#include "sim/app/run_command.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>

#include "hw_models/problems.h"
#include "sim/app/progress_bar.h"
#include "sim/app/scenario_argument.h"
#include "sim/app/terminal_color.h"
#include "sim/fleet/default_prices.h"
#include "sim/fleet/deployment.h"
#include "sim/fleet/simulation.h"
#include "sim/report/extra_runs.h"
#include "sim/report/iterations_jsonl.h"
#include "sim/report/openmetrics.h"
#include "sim/report/output_folder.h"
#include "sim/report/perfetto_trace.h"
#include "sim/report/record_names.h"
#include "sim/report/report_data.h"
#include "sim/report/report_page.h"
#include "sim/report/requests_csv.h"
#include "sim/report/summary_json.h"
#include "sim/report/terminal_summary.h"
#include "sim/report/timeseries_csv.h"
#include "sim/scenario/scenario_reader.h"
#include "sim/workload/workload.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kExitSloMissed = 3;
/// Above so many arrivals a run is long and the headroom is searched in steps of 2 % instead of 1
/// %.
constexpr std::int64_t kLongRunArrivals = 3'000'000;

std::atomic<bool> g_stop = false;  // set by Ctrl-C; a second Ctrl-C ends the program at once
static_assert(std::atomic<bool>::is_always_lock_free);

/// While it lives, Ctrl-C asks the simulations to end instead of ending the program.
class StopOnInterrupt {
 public:
  StopOnInterrupt() {
    g_stop = false;
    struct sigaction action = {};
    action.sa_handler = [](int) { g_stop = true; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(SIGINT, &action, &before_);
  }
  ~StopOnInterrupt() { sigaction(SIGINT, &before_, nullptr); }
  StopOnInterrupt(const StopOnInterrupt&) = delete;
  StopOnInterrupt& operator=(const StopOnInterrupt&) = delete;

 private:
  struct sigaction before_ = {};
};

/// The main run's sink: streams what was asked for to files, keeps nothing.
class FileSink : public Sink {
 public:
  FileSink(const Scenario& scenario, const Deployment& deployment, OutputFolder& folder,
           const RecordNames& names, ProgressBar& progress)
      : progress_(progress) {
    const Outputs& outputs = scenario.outputs;
    if (outputs.requests)
      requests_ = std::make_unique<RequestsCsv>(folder.open("requests.csv"), names);
    if (outputs.iterations)
      iterations_ = std::make_unique<IterationsJsonl>(
          folder.open("iterations.jsonl"), iterations_header(scenario, deployment), names);
    if (outputs.perfetto)
      perfetto_ = std::make_unique<PerfettoTrace>(folder.open("trace.json"), names);
    if (outputs.metrics) metrics_ = std::make_unique<OpenMetrics>(names);
  }
  bool wants_iterations() const override { return iterations_ || perfetto_; }
  void on_request(const RequestRecord& record) override {
    if (requests_) requests_->add(record);
    if (perfetto_) perfetto_->add(record);
    if (metrics_) metrics_->add(record);
  }
  void on_iteration(const IterationRecord& record) override {
    if (iterations_) iterations_->add(record);
    if (perfetto_) perfetto_->add(record);
  }
  void on_progress(SimTime now, SimTime end, std::int64_t arrived) override {
    progress_.run_at(now, end, arrived);
  }
  bool stop_requested() const override { return g_stop; }
  /// Writes what stands at the end of the streamed files, and the files that come from sums.
  void finish(OutputFolder& folder, const std::vector<TimeseriesPoint>& points) {
    if (perfetto_) perfetto_->finish();
    if (metrics_) folder.add("metrics.prom", metrics_->text(points));
  }

 private:
  std::unique_ptr<RequestsCsv> requests_;
  std::unique_ptr<IterationsJsonl> iterations_;
  std::unique_ptr<PerfettoTrace> perfetto_;
  std::unique_ptr<OpenMetrics> metrics_;
  ProgressBar& progress_;
};

/// A further run's sink: nothing is wanted but the Result.
class QuietSink : public Sink {
 public:
  bool stop_requested() const override { return g_stop; }
};

std::int64_t peak_rss_bytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

/// The question that the scenario's file opens with; empty when there is none.
std::string question_of(const std::string& argument, const Scenario& scenario) {
  std::error_code error;
  if (std::filesystem::is_regular_file(scenario.source.file, error))
    return opening_comment(read_whole_file(scenario.source.file));
  for (const BuiltInScenario& one : built_in_scenarios())
    if (one.name == argument) return opening_comment(one.text);
  return "";
}

/// True when arrivals do not depend on answers or on a list, so that "more load" means something.
bool load_can_change(const Scenario& scenario) {
  const auto open = [](const std::optional<Arrivals>& arrivals) {
    return !arrivals || (arrivals->process != Arrivals::Process::closed &&
                         arrivals->process != Arrivals::Process::batch);
  };
  if (!scenario.workload.requests.empty() || !open(scenario.workload.arrivals)) return false;
  return std::all_of(scenario.workload.classes.begin(), scenario.workload.classes.end(),
                     [&](const WorkloadClass& one) { return open(one.arrivals); });
}

struct FurtherRuns {
  std::vector<RunDigest> seeds;  // the main run first
  std::optional<Headroom> headroom;
  bool complete = true;
};

FurtherRuns make_further_runs(const Scenario& scenario, const Deployment& deployment,
                              const Summary& main_run, const RunOptions& options,
                              ProgressBar& progress) {
  FurtherRuns further;
  further.seeds.push_back(digest_of(main_run, scenario.seed, 0));
  const std::int64_t jobs = options.jobs > 0
                                ? options.jobs
                                : std::max<std::int64_t>(1, std::thread::hardware_concurrency());
  const auto runner = [&](const char* what) {
    return [&, what](const RunRequest& request) -> std::optional<RunDigest> {
      if (g_stop) return std::nullopt;
      QuietSink sink;
      SimulationOptions simulation;
      simulation.load_factor = static_cast<double>(100 + request.load_percent) / 100;
      const Result result = simulate(scenario, deployment, request.seed, sink, simulation);
      if (result.summary.stopped_early) return std::nullopt;
      progress.further_run_done(what);
      return digest_of(result.summary, request.seed, request.load_percent);
    };
  };
  std::vector<RunRequest> seeds;
  const bool drawn =
      scenario.workload.requests.empty();  // written-out requests are the same with every seed
  for (std::int64_t i = 1; drawn && i < options.seeds; ++i)
    seeds.push_back({scenario.seed + static_cast<std::uint64_t>(i), 0});
  for (auto& digest : make_runs(seeds, jobs, runner("the spread over seeds")))
    if (digest)
      further.seeds.push_back(std::move(*digest));
    else
      further.complete = false;
  if (!options.headroom || main_run.slo.empty() || !load_can_change(scenario)) return further;
  const std::int64_t step = main_run.requests.arrived > kLongRunArrivals ? 2 : 1;
  further.headroom =
      search_headroom(main_run.slo_met(), step, [&](const std::vector<std::int64_t>& loads) {
        std::vector<RunRequest> requests;
        for (const std::int64_t load : loads) requests.push_back({scenario.seed, load});
        return make_runs(requests, jobs, runner("the headroom"));
      });
  further.complete = further.complete && further.headroom->complete;
  return further;
}

void print_outcome(const Json& data, const WallSection& wall, const OutputFolder& folder,
                   bool further_complete) {
  std::string text = terminal_summary(data, wall, color_wanted(STDOUT_FILENO));
  std::string files;
  for (const std::string& name : folder.names()) files += (files.empty() ? "" : ", ") + name;
  text += fmt::format("    files  {} in {}\n", files, folder.path());
  text += fmt::format("\nopen {}\n", folder.path_of("report.html"));
  if (data.at("summary").at("stopped_early").get<bool>())
    text +=
        "Stopped by Ctrl-C: all figures and files are partial, and no further runs were made.\n";
  else if (!further_complete)
    text +=
        "Stopped by Ctrl-C during further runs: the main run is whole; spread and headroom are "
        "partial.\n";
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

PriceList price_file(const std::string& path, Problems& problems) {
  std::error_code error;
  if (std::filesystem::is_regular_file(path, error))
    return read_prices(read_whole_file(path), path, problems);
  problems.add(path, {}, "no such price file; `fleetsim show prices` prints one to start from");
  return {};
}

/// The main run. Streams files into `folder`; the wall times go to `wall`.
Result main_run(const Scenario& scenario, const Deployment& deployment, const RecordNames& names,
                OutputFolder& folder, ProgressBar& progress, WallSection& wall) {
  FileSink sink(scenario, deployment, folder, names, progress);
  const auto begin = std::chrono::steady_clock::now();
  Result result = simulate(scenario, deployment, scenario.seed, sink);
  wall.simulate_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  wall.requests_per_wall_s =
      wall.simulate_s > 0 ? static_cast<double>(result.summary.requests.arrived) / wall.simulate_s
                          : 0;
  wall.peak_rss_bytes = peak_rss_bytes();
  sink.finish(folder, result.timeseries);
  if (scenario.outputs.timeseries)
    folder.add("timeseries.csv", timeseries_csv(result.timeseries, names));
  return result;
}

}  // namespace

int run_command(const RunOptions& options) {
  Problems problems;
  std::string data_dir = options.data_dir;
  if (const char* environment = std::getenv("FLEETSIM_DATA"); data_dir.empty() && environment)
    data_dir = environment;
  const std::optional<Scenario> scenario =
      load_scenario(options.scenario, options.sets, options.seed, data_dir, problems);
  problems.throw_if_any();
  CHECK(scenario.has_value(), "a scenario without problems was not read");
  const PriceList prices =
      options.prices.empty() ? built_in_prices() : price_file(options.prices, problems);
  Deployment deployment = deploy(*scenario, problems);
  problems.throw_if_any();
  price_by_list(deployment, prices);

  std::vector<std::string> request_names;  // also finds faults in traces before anything is written
  if (!scenario->workload.requests.empty())
    request_names = RequestSource(*scenario, scenario->seed).names();
  const RecordNames names = record_names(*scenario, deployment, std::move(request_names));
  OutputFolder folder(options.out.empty() ? "results/" + scenario->name : options.out,
                      scenario->name, options.force);
  const std::string resolved = resolved_scenario_yaml(*scenario);
  folder.add("scenario.yaml", resolved);

  const StopOnInterrupt interrupts;
  ProgressBar progress;
  WallSection wall;
  const Result result = main_run(*scenario, deployment, names, folder, progress, wall);
  FurtherRuns further;
  if (result.summary.stopped_early)
    further.seeds = {digest_of(result.summary, scenario->seed, 0)};
  else
    further = make_further_runs(*scenario, deployment, result.summary, options, progress);
  progress.clear();

  const RunIdentity identity{scenario->name, scenario->seed, scenario->sha256, fleetsim_version()};
  const Json data = report_data({*scenario, deployment, result, identity,
                                 question_of(options.scenario, *scenario), resolved, further.seeds,
                                 further.headroom});
  folder.add("report_data.json", data.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  folder.add("report.html", report_html(data));
  folder.add("summary.json", json_text(summary_json(result.summary, identity, wall)));
  folder.commit();
  print_outcome(data, wall, folder, further.complete);
  // a run that was stopped has no verdict that a script may rely on
  if (options.check_slo && (!result.summary.slo_met() || result.summary.stopped_early))
    return kExitSloMissed;
  return 0;
}

int report_command(const std::string& dir) {
  const std::string path = dir + "/report_data.json";
  const auto refuse = [&](const std::string& message) {
    Problems problems;
    problems.add(path, {}, message);
    throw ConfigError(std::move(problems));
  };
  if (!std::filesystem::exists(path))
    refuse("no finished run here: `fleetsim run` writes this file");
  const Json data = Json::parse(read_whole_file(path), nullptr, false);
  if (!data.is_object() || data.value("schema", "") != "fleetsim.report/1")
    refuse("not a report of this version");
  OutputFile page(dir + "/report.html");
  try {
    page.write(report_html(data));
  } catch (const Json::exception& error) {
    refuse(fmt::format("the report data is damaged: {}", error.what()));
  }
  page.commit();
  fmt::print("wrote {}/report.html\n", dir);
  return 0;
}

}  // namespace fleetsim
