// See the header. The model and GPU stand for nothing here: the iteration time is fixed.

#include "tests/fleet/engine_run.h"

#include <sstream>

#include "tests/catch.h"

namespace fleetsim::test {

namespace {

class LineSink : public Sink {
 public:
  explicit LineSink(const RecordNames& names, EngineRun& run) : names_(names), run_(run) {}
  bool wants_iterations() const override { return true; }
  void on_request(const RequestRecord& record) override { run_.requests.push_back(record); }
  void on_iteration(const IterationRecord& record) override {
    fmt::memory_buffer line;
    append_iteration_line(line, record, names_);
    run_.lines.push_back(nlohmann::json::parse(line.data(), line.data() + line.size()));
  }

 private:
  const RecordNames& names_;
  EngineRun& run_;
};

}  // namespace

std::vector<NamedStretch> stretches(const std::string& text) {
  std::vector<NamedStretch> parsed;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const std::size_t open = word.find('['), colon = word.find(':');
    parsed.push_back({word.substr(0, open), std::stoll(word.substr(open + 1)),
                      std::stoll(word.substr(colon + 1))});
  }
  return parsed;
}

Scenario scenario_of(const EngineCase& engine_case) {
  Scenario scenario;
  scenario.name = "engine-case";
  scenario.model.name = "test-model";
  scenario.workload.requests = engine_case.requests;
  Pool pool;
  pool.gpu = "h100-sxm";
  pool.engine = engine_case.engine;
  scenario.pools = {pool};
  scenario.cost_model.kind = CostModel::Kind::fixed;
  return scenario;
}

Deployment deployment_of(const Scenario& scenario, SimTime iteration) {
  Deployment deployment;
  for (const Pool& pool : scenario.pools) {
    PoolDeployment deployed;
    deployed.name = pool.name;
    deployed.gpu = find_gpu(pool.gpu);
    deployed.model.name = scenario.model.name;
    deployed.model.max_context = 1 << 20;
    Problems problems;
    deployed.rules = resolve_engine_rules(pool.engine, *deployed.gpu, deployed.model,
                                          scenario.source, "engine", problems);
    REQUIRE(problems.text() == "");
    deployed.rules.num_gpu_blocks = pool.engine.num_gpu_blocks_override.value();
    deployed.replicas = pool.replicas;
    deployed.step_time = std::make_shared<const StepTime>(
        StepTime::linear(to_seconds(iteration), Seconds{0}, Seconds{0}));
    deployment.pools.push_back(deployed);
  }
  return deployment;
}

EngineRun run_engine(const EngineCase& engine_case, const RunAhead& run_ahead) {
  const Scenario scenario = scenario_of(engine_case);
  const Deployment deployment = deployment_of(scenario, engine_case.iteration);
  const RecordNames names = record_names(scenario, deployment, RequestSource(scenario, 1).names());
  EngineRun run;
  LineSink sink(names, run);
  SimulationOptions options;
  options.run_ahead = run_ahead;
  run.result = simulate(scenario, deployment, 1, sink, options);
  return run;
}

std::string scheduled_text(const nlohmann::json& line) {
  std::string text;
  for (const auto& entry : line["scheduled"]) {
    if (!text.empty()) text += " ";
    text += entry["id"].get<std::string>() + ":" + std::to_string(entry["tokens"].get<int>());
  }
  return text;
}

}  // namespace fleetsim::test
