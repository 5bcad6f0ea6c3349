// A model and a GPU on the command line become a scenario with one request, read and deployed like
// any other, so that both ways to ask have the same checks and words.

#include "sim/app/breakdown_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>

#include "hw_models/check.h"
#include "hw_models/problems.h"
#include "sim/app/scenario_argument.h"
#include "sim/app/terminal_color.h"
#include "sim/breakdown/breakdown.h"
#include "sim/breakdown/breakdown_json.h"
#include "sim/breakdown/breakdown_page.h"
#include "sim/breakdown/breakdown_text.h"
#include "sim/fleet/deployment.h"
#include "sim/report/output_folder.h"
#include "sim/report/summary_json.h"
#include "sim/scenario/field_reader.h"
#include "sim/scenario/scenario_reader.h"

namespace fleetsim {
namespace {

/// The request is a place-holder: a scenario needs a workload, and nothing here simulates it.
constexpr const char* kScenarioText =
    "name: {}\n"
    "workload: {{requests: [{{id: one, arrival: 0s, prompt_tokens: 1, output_tokens: 1}}]}}\n"
    "model: qwen3-0.6b\n"
    "fleet: {{pools: [{{name: main, gpu: h100-sxm}}]}}\n";

/// Options of the command line as overrides of that scenario; faults name the option instead.
struct NamedSets {
  std::vector<std::string> sets;
  std::map<std::string, std::string> option_of;  // "--set a.b=c" -> "--tp 3"
  void add(const std::string& option, const std::string& set) {
    sets.push_back(set);
    option_of["--set " + set] = option;
  }
};

void add_precision(const BreakdownOptions& options, NamedSets& named) {
  const std::string option = "--precision " + options.precision;
  const auto part = [&](std::size_t index) -> std::string {
    std::size_t at = 0;
    for (; index > 0; --index) {
      at = options.precision.find('/', at);
      if (at == std::string::npos) return "";
      ++at;
    }
    return options.precision.substr(at, options.precision.find('/', at) - at);
  };
  if (!options.precision.empty()) {
    const std::string weights = part(0);
    named.add(option, "precision.weights=" + weights);
    // int4 is weight-only; the other formats are what the tensor cores multiply
    std::string activations = part(1);
    if (activations.empty()) activations = weights == "int4" ? "bf16" : weights;
    named.add(option, "precision.activations=" + activations);
    if (!part(2).empty()) named.add(option, "precision.kv_cache=" + part(2));
    if (part(2).empty() && (weights == "fp32" || weights == "fp16"))
      named.add(option, "precision.kv_cache=" + weights);
  }
  if (!options.kv_cache.empty())
    named.add("--kv-cache " + options.kv_cache, "precision.kv_cache=" + options.kv_cache);
}

NamedSets named_sets(const BreakdownOptions& options, const BreakdownQuestion& question) {
  NamedSets named;
  if (options.model.ends_with(".json"))
    named.add("--model " + options.model, "model={hf_config: '" + options.model + "'}");
  else
    named.add("--model " + options.model, "model=" + options.model);
  named.add("--gpu " + options.gpu, "fleet.pools.main.gpu=" + options.gpu);
  add_precision(options, named);
  if (options.tp)
    named.add(fmt::format("--tp {}", *options.tp),
              fmt::format("fleet.pools.main.parallelism.tp={}", *options.tp));
  if (options.pp)
    named.add(fmt::format("--pp {}", *options.pp),
              fmt::format("fleet.pools.main.parallelism.pp={}", *options.pp));
  // One sequence of this length must fit; the model's longest need not, since nobody asks for it.
  const bool prompt = question.prompt > question.context;
  const std::int64_t longest = std::max(question.prompt, question.context);
  named.add(fmt::format("{} {}", prompt ? "--prompt" : "--context", longest),
            fmt::format("fleet.pools.main.engine.max_model_len={}", longest));
  for (const std::string& set : options.sets) named.sets.push_back(set);
  return named;
}

/// Faults under the names of the options that caused them.
void move_problems(const Problems& from, const NamedSets& named, Problems& to) {
  for (const Problem& problem : from.sorted()) {
    const auto found = named.option_of.find(problem.file);
    to.add(found == named.option_of.end() ? problem.file : found->second, problem.position,
           problem.message);
  }
}

/// The mean that a law of lengths states; nullopt where it states none.
std::optional<double> stated_mean(const LengthDistribution& law) {
  switch (law.kind) {
    case LengthDistribution::Kind::fixed:
      return static_cast<double>(law.value);
    case LengthDistribution::Kind::uniform:
      return static_cast<double>(law.min + law.max.value_or(law.min)) / 2;
    case LengthDistribution::Kind::lognormal:
    case LengthDistribution::Kind::gamma:
    case LengthDistribution::Kind::geometric:
      return law.mean;
    case LengthDistribution::Kind::zipf:
    case LengthDistribution::Kind::empirical:
      return std::nullopt;
  }
  return std::nullopt;
}

/// Lengths that nobody gave: the means of the scenario's first class where it states them (the
/// context with half of the answer), else the defaults of BreakdownQuestion.
void fill_lengths(const Scenario& scenario, const BreakdownOptions& options,
                  BreakdownQuestion& question) {
  if (scenario.workload.classes.empty() || !scenario.workload.requests.empty()) return;
  const WorkloadClass& first = scenario.workload.classes.front();
  const auto prompt = stated_mean(first.prompt_tokens), output = stated_mean(first.output_tokens);
  if (!options.prompt && prompt && *prompt >= 1) question.prompt = std::llround(*prompt);
  if (!options.context && prompt && output)
    question.context = std::max<std::int64_t>(1, std::llround(*prompt + *output / 2));
}

std::size_t pool_index(const Scenario& scenario, const std::string& name, Problems& problems) {
  if (name.empty()) return 0;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < scenario.pools.size(); ++i) {
    if (scenario.pools[i].name == name) return i;
    names.push_back(scenario.pools[i].name);
  }
  problems.add("--pool " + name, {}, "the scenario has no such pool" + suggestion(name, names));
  return 0;
}

/// The batch that nobody gave: the default, or the most that the engine and its memory hold.
std::int64_t default_batch(const Scenario& scenario, const PoolDeployment& pool, std::int64_t tp,
                           const BreakdownQuestion& question) {
  const std::int64_t fits =
      kv_need(pool.model, scenario.precision, tp, pool.memory, question.context).batch_fits;
  return std::max<std::int64_t>(1, std::min({question.batch, fits, pool.rules.max_num_seqs,
                                             pool.rules.max_num_batched_tokens}));
}

std::string folder_name(const BreakdownOptions& options) {
  const std::string model = std::filesystem::path(options.model).filename().string();
  std::string name = model + "-" + options.gpu;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.') c = '-';
  return name;
}

/// Both files appear together or not at all. A folder that holds another thing than a breakdown or
/// a run is left alone without `force`.
void write_files(const Breakdown& breakdown, const BreakdownOptions& options) {
  namespace fs = std::filesystem;
  const auto refuse = [&](const std::string& message) {
    Problems problems;
    problems.add(options.out, {}, message);
    throw ConfigError(std::move(problems));
  };
  std::error_code error;
  const fs::path folder(options.out);
  if (fs::exists(folder, error) && !fs::is_directory(folder, error))
    refuse("the output folder is a file");
  const bool known =
      fs::exists(folder / "breakdown.json", error) || fs::exists(folder / "summary.json", error);
  if (fs::exists(folder, error) && !known && !fs::is_empty(folder, error) && !options.force)
    refuse(
        "the folder is not empty and holds no breakdown or run; choose another with --out, or use "
        "--force");
  fs::create_directories(folder, error);
  if (error) refuse(fmt::format("cannot create the output folder: {}", error.message()));
  OutputFile json(options.out + "/breakdown.json"), page(options.out + "/breakdown.html");
  json.write(json_text(breakdown_json(breakdown)));
  page.write(breakdown_html(breakdown));
  page.commit();
  json.commit();
}

}  // namespace

int breakdown_command(const BreakdownOptions& options) {
  Problems problems;
  BreakdownQuestion question;
  if (options.batch) question.batch = *options.batch;
  if (options.context) question.context = *options.context;
  if (options.prompt) question.prompt = *options.prompt;
  std::optional<Scenario> scenario;
  NamedSets named;
  Problems found;
  if (options.scenario.empty()) {
    named = named_sets(options, question);
    scenario =
        read_scenario_text(fmt::format(kScenarioText, folder_name(options)), "the command line", "",
                           {named.sets, options.data_dir, {}, {}}, found);
  } else {
    scenario = load_scenario(options.scenario, options.sets, std::nullopt, options.data_dir, found);
    if (scenario) fill_lengths(*scenario, options, question);
  }
  move_problems(found, named, problems);
  problems.throw_if_any();
  CHECK(scenario.has_value(), "a scenario without problems was not read");

  Problems undeployed;
  const Deployment deployment = deploy(*scenario, undeployed, DeployFor::breakdown);
  move_problems(undeployed, named, problems);
  const std::size_t pool = pool_index(*scenario, options.pool, problems);
  problems.throw_if_any();
  if (!options.batch)
    question.batch = default_batch(*scenario, deployment.pools[pool],
                                   scenario->pools[pool].parallelism.tp, question);
  const Breakdown breakdown = break_down(*scenario, deployment, pool, question, problems);
  problems.throw_if_any();

  if (!options.out.empty()) write_files(breakdown, options);
  std::string text = breakdown_text(breakdown, {options.operators, color_wanted(STDOUT_FILENO)});
  if (!options.out.empty())
    text += fmt::format("\nopen {0}/breakdown.html   (figures: {0}/breakdown.json)\n", options.out);
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
  return 0;
}

}  // namespace fleetsim
