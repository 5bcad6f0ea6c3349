// See the header. Nothing here uses the test library while a simulation runs, so that two may run
// at once.

#include "tests/fleet/scenario_run.h"

#include <algorithm>
#include <sstream>

#include "sim/fleet/router.h"
#include "sim/report/requests_csv.h"
#include "sim/report/summary_json.h"
#include "sim/report/timeseries_csv.h"
#include "sim/scenario/scenario_reader.h"

#include "tests/catch.h"

namespace fleetsim::test {

namespace {

class KeepingSink : public Sink {
 public:
  KeepingSink(WholeRun& run, bool observed) : run_(run), observed_(observed) {}
  bool wants_iterations() const override { return observed_; }
  void on_request(const RequestRecord& record) override { run_.requests.push_back(record); }
  void on_iteration(const IterationRecord& record) override {
    run_.iterations.push_back({record,
                               {record.scheduled.begin(), record.scheduled.end()},
                               {record.preempted.begin(), record.preempted.end()},
                               {record.finished.begin(), record.finished.end()}});
  }

 private:
  WholeRun& run_;
  bool observed_;
};

}  // namespace

ReadyScenario ready(const std::string& yaml, const std::vector<std::string>& sets) {
  ReadOptions options;
  options.sets = sets;
  options.known_router_policies = router_names();
  Problems problems;
  INFO(yaml);
  std::optional<Scenario> scenario =
      read_scenario_text(yaml, "test.yaml", FLEETSIM_SOURCE_DIR, options, problems);
  REQUIRE(problems.text() == "");
  ReadyScenario made{std::move(*scenario), {}};
  made.deployment = deploy(made.scenario, problems);
  REQUIRE(problems.text() == "");
  return made;
}

const RequestRecord& WholeRun::of(RequestId id) const {
  const auto found = std::find_if(requests.begin(), requests.end(),
                                  [&](const RequestRecord& record) { return record.id == id; });
  REQUIRE(found != requests.end());
  return *found;
}

WholeRun run_whole(const ReadyScenario& ready, const SimulationOptions& options, bool observed) {
  WholeRun run;
  KeepingSink sink(run, observed);
  run.result = simulate(ready.scenario, ready.deployment, ready.scenario.seed, sink, options);
  return run;
}

std::string bytes_of(const ReadyScenario& ready, const WholeRun& run) {
  const RecordNames names = record_names(
      ready.scenario, ready.deployment, RequestSource(ready.scenario, ready.scenario.seed).names());
  fmt::memory_buffer out;
  for (const RequestRecord& r : run.requests) {
    append_request_row(out, r, names);
    fmt::format_to(std::back_inserter(out), "{} {} {} {} {} {}\n", r.arrival, r.first_scheduled,
                   r.first_token, r.last_token, r.cached_tokens, r.preemptions);
  }
  for (const KeptIteration& kept : run.iterations) {
    IterationRecord record = kept.record;
    record.scheduled = kept.scheduled;
    record.preempted = kept.preempted;
    record.finished = kept.finished;
    append_iteration_line(out, record, names);
    out.push_back('\n');
  }
  std::string text = fmt::to_string(out);
  text += timeseries_csv(run.result.timeseries, names);
  const RunIdentity identity{ready.scenario.name, ready.scenario.seed, ready.scenario.sha256,
                             "test"};
  text += json_text(summary_json(run.result.summary, identity, std::nullopt));
  for (const LatencyCurve& curve : run.result.curves) {
    text += curve.metric;
    for (const double value : curve.seconds) text += fmt::format(" {}", value);
    text += "\n";
  }
  return text;
}

std::string first_difference(const std::string& a, const std::string& b) {
  if (a == b) return "";
  std::istringstream lines_a(a), lines_b(b);
  std::string line_a, line_b;
  for (int number = 1;; ++number) {
    const bool more_a = static_cast<bool>(std::getline(lines_a, line_a));
    const bool more_b = static_cast<bool>(std::getline(lines_b, line_b));
    if (more_a && more_b && line_a == line_b) continue;
    return fmt::format("line {}:\n  {}\n  {}", number, more_a ? line_a : "(end)",
                       more_b ? line_b : "(end)");
  }
}

}  // namespace fleetsim::test
