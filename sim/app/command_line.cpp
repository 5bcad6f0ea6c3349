// One function a command declares its options and binds what runs; CLI11 does the rest.

#include "sim/app/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <functional>
#include <iostream>
#include <string>

#include "hw_models/prices.h"
#include "hw_models/problems.h"
#include "sim/app/breakdown_command.h"
#include "sim/app/built_in_text.h"
#include "sim/app/calibrate_command.h"
#include "sim/app/calibrate_fit.h"
#include "sim/app/calibrate_import.h"
#include "sim/app/calibrate_replay.h"
#include "sim/app/calibrate_transfer.h"
#include "sim/app/calibrate_validate.h"
#include "sim/app/run_command.h"
#include "sim/app/scenario_argument.h"
#include "sim/app/validate_command.h"
#include "sim/fleet/deployment.h"
#include "sim/report/summary_json.h"
#include "sim/scenario/scenario_reader.h"
#include "sim/workload/workload.h"

namespace fleetsim {
namespace {

constexpr int kExitUsage = 2;

/// What the chosen command will do; set by CLI11 while it parses, called afterwards.
using Action = std::function<int()>;

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

CLI::App& add_command(CLI::App& app, const char* name, const char* does, const char* example) {
  CLI::App* command = app.add_subcommand(name, does);
  command->footer(fmt::format("Example:\n  {}", example));
  return *command;
}

/// What is wrong with a seed's text; CLI11 would let -1 wrap around and cut what is too large.
std::string whole_seed(const std::string& text) {
  std::uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (error == std::errc() && end == text.data() + text.size()) return "";
  return fmt::format("'{}' is no whole number from 0 to 2^64 - 1", text);
}

void add_scenario_options(CLI::App& command, RunOptions& options) {
  command
      .add_option("SCENARIO", options.scenario,
                  "a scenario file, or a name of `fleetsim list scenarios`")
      ->required();
  command.add_option("--set", options.sets, "override a key: path.to.key=value; repeat for more")
      ->allow_extra_args(false)
      ->take_all();
  command.add_option("--seed", options.seed, "override the scenario's seed")
      ->check(whole_seed, "whole number");
  command
      .add_option("--data", options.data_dir,
                  "second folder where the scenario's files are looked up")
      ->envname("FLEETSIM_DATA");
}

void add_run(CLI::App& app, RunOptions& options, Action& action) {
  CLI::App& command = add_command(
      app, "run", "Simulate a scenario and write its results and report",
      "fleetsim run scenarios/chat-2k-rps.yaml --set fleet.pools.main.replicas=200 --check-slo");
  add_scenario_options(command, options);
  command.add_option("--out", options.out, "folder of the results (default: results/<name>)");
  command.add_flag("--check-slo", options.check_slo, "exit with 3 when the SLO is missed");
  command.add_flag("--force", options.force,
                   "write into a folder that holds another scenario's results");
  command
      .add_option("--seeds", options.seeds, "also run the next seeds, for the spread of the answer")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1000}))
      ->capture_default_str();
  command.add_flag_callback(
      "--no-headroom", [&options] { options.headroom = false; },
      "leave out the runs that look for the load it breaks at");
  command.add_option("--jobs", options.jobs, "threads for further runs (default: one a core)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{4096}));
  command.add_option("--prices", options.prices,
                     "price file for scenarios without a cost (default: `fleetsim show prices`)");
  command.callback([&] { action = [&options] { return run_command(options); }; });
}

/// Everything a run looks at before it starts: keys, files, memory, trace rows.
int check_command(const RunOptions& options) {
  Problems problems;
  const auto scenario =
      load_scenario(options.scenario, options.sets, options.seed, options.data_dir, problems);
  problems.throw_if_any();
  const Deployment deployment = deploy(*scenario, problems);
  problems.throw_if_any();
  const RequestSource source(*scenario, scenario->seed);
  print(fmt::format("{}: ok: {}, {} pool{}, sha256 {}\n", options.scenario, scenario->name,
                    deployment.pools.size(), deployment.pools.size() == 1 ? "" : "s",
                    scenario->sha256));
  return 0;
}

void add_check(CLI::App& app, RunOptions& options, Action& action) {
  CLI::App& command =
      add_command(app, "check", "Validate a scenario, its files and its memory; run nothing",
                  "fleetsim check scenarios/rag.yaml");
  add_scenario_options(command, options);
  command.callback([&] { action = [&options] { return check_command(options); }; });
}

void add_printer(CLI::App& parent, const char* name, const char* does, const char* example,
                 std::string (*text)(), Action& action) {
  add_command(parent, name, does, example).callback([&action, text] {
    action = [text] {
      print(text());
      return 0;
    };
  });
}

void add_list(CLI::App& app, Action& action) {
  CLI::App& list = add_command(app, "list", "List what is built in", "fleetsim list models");
  list.require_subcommand(1);
  add_printer(list, "gpus", "GPUs", "fleetsim list gpus", gpu_list, action);
  add_printer(list, "models", "Models", "fleetsim list models", model_list, action);
  add_printer(list, "policies", "Routers, schedulers and their dated rules",
              "fleetsim list policies", policy_list, action);
  add_printer(list, "scenarios", "Scenarios", "fleetsim list scenarios", scenario_list, action);
}

void add_page(CLI::App& show, const char* kind, const char* does, const char* example,
              std::string (*page)(const std::string&), std::string& name, Action& action) {
  CLI::App& command = add_command(show, kind, does, example);
  command.add_option("NAME", name, "as `fleetsim list` gives it")->required();
  command.callback([&name, &action, page] {
    action = [&name, page] {
      print(page(name));
      return 0;
    };
  });
}

void add_show(CLI::App& app, std::string& name, Action& action) {
  CLI::App& show = add_command(app, "show", "Show one built-in entry with its sources",
                               "fleetsim show gpu h200");
  show.require_subcommand(1);
  add_page(show, "gpu", "A GPU's figures", "fleetsim show gpu h200", gpu_page, name, action);
  add_page(show, "model", "A model's architecture", "fleetsim show model qwen3-14b", model_page,
           name, action);
  add_printer(show, "prices", "The prices of GPUs that stand in for those a scenario does not give",
              "fleetsim show prices > my-prices.yaml", built_in_prices_yaml, action);
  add_page(show, "scenario", "A scenario's file", "fleetsim show scenario chat-2k-rps > my.yaml",
           scenario_page, name, action);
}

void add_report(CLI::App& app, std::string& folder, Action& action) {
  CLI::App& command = add_command(app, "report", "Write the report of a finished run again",
                                  "fleetsim report results/chat-2k-rps");
  command.add_option("DIR", folder, "folder of a finished run")->required();
  command.callback([&] { action = [&folder] { return report_command(folder); }; });
}

void add_import(CLI::App& calibrate, ImportOptions& options, Action& action) {
  CLI::App& command = add_command(
      calibrate, "import",
      "Read tables of measurements as their owners publish them and write them in one form.\n"
      "Rows that a fit must not trust (faster than the GPU can be, bound by the host's launch,\n"
      "warm in the cache) are flagged and counted, not dropped.",
      "fleetsim calibrate import tables/ --from aiconfigurator --gpu h200 --out measured/h200");
  command.add_option("PATH", options.paths, "files, or folders of them")->required();
  command
      .add_option("--from", options.from,
                  "whose form: aiconfigurator, vidur, llmservingsim, profile")
      ->required();
  command.add_option("--gpu", options.gpu, "whose rows; as `fleetsim list gpus` gives it")
      ->required();
  command.add_option("--out", options.out, "folder to write (default: only the report)");
  command.add_flag("--force", options.force, "overwrite the table that the folder holds");
  command.callback([&] { action = [&options] { return import_command(options); }; });
}

void add_fit(CLI::App& calibrate, FitOptions& options, Action& action) {
  CLI::App& command = add_command(
      calibrate, "fit",
      "Fit times of operators to measurements and show how well they are met, on sites\n"
      "that the fit has not seen, too. The file holds smooth curves, no rows.",
      "fleetsim calibrate fit measured/h200 --gpu h200 --out h200-sxm.yaml");
  command.add_option("FOLDER", options.folders, "folders that `fleetsim calibrate import` wrote")
      ->required();
  command.add_option("--gpu", options.gpu, "whose operators; as `fleetsim list gpus` gives it")
      ->required();
  command.add_option("--out", options.out, "file to write (default: only the report)");
  command.add_flag("--force", options.force, "overwrite the file");
  command.callback([&] { action = [&options] { return fit_command(options); }; });
}

void add_transfer(CLI::App& calibrate, TransferOptions& options, Action& action) {
  CLI::App& command = add_command(
      calibrate, "transfer",
      "Operator times of a GPU that nobody measured, from the fit of another: floors and surfaces\n"
      "are kept, rates follow the GPUs' ceilings, and what the GPU cannot run is left out.",
      "fleetsim calibrate transfer --from h200-sxm --to h100-sxm --out h100-sxm.yaml");
  command.add_option("--from", options.from, "GPU with a fit")->required();
  command.add_option("--to", options.to, "GPU to make one for")->required();
  command.add_option(
      "--anchors", options.anchors,
      "folder of `calibrate import` with rows of that GPU: families with 40 or more\n"
      "get their floor and rates from them");
  command.add_option("--measured", options.measured, "such a folder to score the transfer on");
  command.add_option("--out", options.out, "file to write (default: only the report)");
  command.add_flag("--force", options.force, "overwrite the file");
  command.callback([&] { action = [&options] { return transfer_command(options); }; });
}

void add_bench(CLI::App& calibrate, CalibrateOptions& options, Action& action) {
  CLI::App& bench = add_command(
      calibrate, "bench",
      "Measure the kernels of an iteration on this machine's GPU and write a profile folder.\n"
      "Ceilings come first, then the most valuable points of every operator; each kernel is "
      "checked\n"
      "before it is timed. Clocks are read, never set. Needs fleetsim-kernels, which is built "
      "where\n"
      "a CUDA compiler is.",
      "fleetsim calibrate bench --quick --out my-gpu\n"
      "  fleetsim calibrate bench --points > points.jsonl   # for a GPU machine without fleetsim,\n"
      "  fleetsim-kernels --jobs < points.jsonl             # and there");
  bench.get_formatter()->column_width(24);
  CLI::Option* quick = bench.add_flag("--quick", options.quick, "the coarse grid, about a minute");
  bench
      .add_flag_callback(
          "--full", [] {}, "the whole grid, at most eight minutes (the default)")
      ->excludes(quick);
  bench.add_option("--only", options.only, "one operator, behind the ceilings; e.g. gemm");
  bench.add_option("--out", options.out,
                   "folder of the profile (default: hw_models/profiles/<gpu>/<date>)");
  bench.add_option("--budget", options.budget,
                   "device time to spend (default: 480s; with --quick 120s)");
  bench.add_option("--seed", options.seed, "of inputs and of the points' order")
      ->check(whole_seed, "whole number")
      ->capture_default_str();
  bench.add_flag("--force", options.force, "overwrite the profile that the folder holds");
  bench.add_flag("--points", options.points, "print the points as job lines; measure nothing");
  bench.callback([&] { action = [&options] { return bench_command(options); }; });
}

void add_kept_out(CLI::App& calibrate, KeptOutOptions& options, Action& action) {
  CLI::App& command = add_command(
      calibrate, "validate",
      "How well measurements predict points that are kept out of their own fit: every site once,\n"
      "by a fit that has not seen it; and the replay that is stored beside a profile.",
      "fleetsim calibrate validate hw_models/profiles/my-gpu\n"
      "  fleetsim calibrate validate measured/h200 --gpu h200 --json");
  command
      .add_option("FOLDER", options.folders,
                  "profiles of `calibrate bench`, or folders of `calibrate import`, of one GPU")
      ->required();
  command.add_option("--gpu", options.gpu, "whose rows they must be (default: the first folder's)");
  command.add_flag("--json", options.json, "print JSON instead of tables");
  command.callback([&] { action = [&options] { return kept_out_command(options); }; });
}

void add_replay(CLI::App& calibrate, ReplayCommandOptions& options, Action& action) {
  CLI::App& command = add_command(
      calibrate, "replay",
      "Run iterations of a simulation on this machine's GPU through a stack of real kernels and\n"
      "hold predictions against them: whole iterations as CUDA graphs, and operator by operator.\n"
      "GPU time alone: the host's part of an iteration is in neither side.",
      "fleetsim run chatbot --set outputs.iterations=true --out results/chatbot\n"
      "  fleetsim calibrate replay results/chatbot/iterations.jsonl --profile my-gpu\n"
      "  fleetsim calibrate replay --measured my-gpu/replay       # again, without a GPU");
  command.get_formatter()->column_width(24);
  CLI::Option* log =
      command.add_option("ITERATIONS.jsonl", options.log, "log of a run with outputs.iterations");
  CLI::Option* measured = command
                              .add_option("--measured", options.measured,
                                          "compare a stored replay; nothing is measured")
                              ->excludes(log);
  CLI::Option* profile = command.add_option(
      "--profile", options.profile,
      "predict by the fit of this profile (default: of the one that the replay lies in,\n"
      "else the catalogue's), and store the replay in PROFILE/replay");
  CLI::Option* fit =
      command.add_option("--fit", options.fit, "predict by a file of `calibrate fit`")
          ->excludes(profile);
  command.add_option("--gpu", options.gpu, "predict by the catalogue's fit of this GPU")
      ->excludes(profile)
      ->excludes(fit);
  command.add_option(
      "--out", options.out,
      "folder of the replay (default: results/replay); with --measured: of its page");
  command
      .add_option("--count", options.count, "iterations to choose, beside ten built from extremes")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{10000}))
      ->excludes(measured)
      ->capture_default_str();
  command
      .add_option("--parts", options.with_parts,
                  "iterations whose operators are measured one by one, too")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{10000}))
      ->excludes(measured)
      ->capture_default_str();
  command
      .add_option("--stack", options.stack,
                  "llama-3.1-8b or llama-3.1-70b-tp8-rank (default: as in the log)")
      ->excludes(measured);
  command.add_option("--budget", options.budget, "device time to spend (default: 480s)")
      ->excludes(measured);
  command.add_option("--seed", options.seed, "of the choice and of inputs")
      ->check(whole_seed, "whole number")
      ->excludes(measured)
      ->capture_default_str();
  command.add_flag("--force", options.force, "overwrite the replay that the folder holds");
  command.add_flag("--points", options.points, "print the points as job lines; measure nothing")
      ->excludes(measured);
  command.add_flag(
      "--gates", options.gates,
      "exit with 1 when the median error is above 5 %, the 90th percentile above 10 %\n"
      "or the bias above 2 %");
  command.callback([&] {
    if (options.log.empty() && options.measured.empty())
      throw CLI::RequiredError("ITERATIONS.jsonl, or --measured");
    action = [&options] { return replay_command(options); };
  });
}

void add_validate(CLI::App& app, ValidateOptions& options, Action& action) {
  CLI::App& command = add_command(
      app, "validate", "Hold predictions against measured operators and whole services",
      "fleetsim validate --data measurements --only llama-3.3-70b --only h100 --out results/check");
  command.add_option("--data", options.data_dir, "folder of the measurements, with e2e/ in it")
      ->envname("FLEETSIM_DATA");
  command.add_option("--out", options.out, "folder for validation.json and validation.html");
  command.add_option("--markdown", options.markdown, "also write the tables as Markdown");
  command.add_option("--gates", options.gates,
                     "a file of gates: exit with 1 when an error is beyond its gate");
  command.add_option("--record-gates", options.record_gates,
                     "write such a file at the errors that are reached now");
  command
      .add_option("--only", options.only,
                  "a source, model or GPU of the measurements; repeat for more")
      ->allow_extra_args(false)
      ->take_all();
  CLI::Option* operators = command.add_flag_callback(
      "--operators", [&options] { options.services = false; }, "operators only");
  command
      .add_flag_callback(
          "--services", [&options] { options.operators = false; }, "whole services only")
      ->excludes(operators);
  command.add_flag("--rows", options.rows, "print one CSV line a row instead of tables");
  command.add_option("--jobs", options.jobs, "threads (default: one a core)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{4096}));
  command.callback([&] { action = [&options] { return validate_command(options); }; });
}

void add_breakdown(CLI::App& app, BreakdownOptions& options, Action& action) {
  CLI::App& command =
      add_command(app, "breakdown",
                  "Where memory, FLOPs, bytes and time of one deployment go: per operator, prefill "
                  "and decode",
                  "fleetsim breakdown --model llama-3.1-8b --gpu h100 --batch 64 --context 4096\n"
                  "  fleetsim breakdown chat-2k-rps --out results/breakdown");
  command.get_formatter()->column_width(24);
  const auto count = CLI::Range(std::int64_t{1}, std::int64_t{1} << 30);
  CLI::Option* scenario =
      command.add_option("SCENARIO", options.scenario,
                         "a scenario file, or a name of `fleetsim list scenarios`; or --model and "
                         "--gpu");
  CLI::Option* model = command
                           .add_option("--model", options.model,
                                       "a model of `fleetsim list models`, or a config.json")
                           ->excludes(scenario);
  CLI::Option* gpu = command.add_option("--gpu", options.gpu, "a GPU of `fleetsim list gpus`")
                         ->excludes(scenario)
                         ->needs(model);
  model->needs(gpu);
  command
      .add_option("--precision", options.precision,
                  "of weights, or WEIGHTS/ACTIVATIONS/KV_CACHE (default: bf16)")
      ->excludes(scenario);
  command.add_option("--kv-cache", options.kv_cache, "number format of the KV cache")
      ->excludes(scenario);
  command.add_option("--tp", options.tp, "GPUs that share the model (tensor parallelism)")
      ->excludes(scenario)
      ->check(count);
  command.add_option("--pp", options.pp, "pipeline stages; the largest is taken apart")
      ->excludes(scenario)
      ->check(count);
  command
      .add_option("--batch", options.batch,
                  "requests of the decode iteration (default: 32, or as many as fit)")
      ->check(count);
  command
      .add_option("--context", options.context,
                  "tokens of each in the KV cache (default: the scenario's mean prompt and half "
                  "its answer; 2048)")
      ->check(count);
  command
      .add_option("--prompt", options.prompt,
                  "tokens of the prompt to prefill (default: the scenario's mean; 2048)")
      ->check(count);
  command.add_option("--pool", options.pool, "pool of the scenario (default: its first)")
      ->needs(scenario);
  command.add_option("--set", options.sets, "override a scenario key: path.to.key=value")
      ->allow_extra_args(false)
      ->take_all();
  command.add_option("--data", options.data_dir, "second folder for the scenario's files")
      ->envname("FLEETSIM_DATA");
  command.add_flag("--operators", options.operators, "list every operator and both sweeps");
  command.add_option("--out", options.out, "write breakdown.html and breakdown.json into a folder");
  command.add_flag("--force", options.force, "write into a folder that holds other things");
  command.callback([&] {
    if (options.scenario.empty() && options.model.empty())
      throw CLI::RequiredError("SCENARIO, or --model and --gpu");
    action = [&options] { return breakdown_command(options); };
  });
}

/// The command that was asked for and does not exist, as a line for people; empty when the fault
/// is another one. CLI11 says of it that "a subcommand is required".
std::string unknown_command(const CLI::App& app) {
  const std::vector<std::string> left = app.remaining();
  const auto chosen = app.get_subcommands();
  if (!chosen.empty()) return unknown_command(*chosen.front());
  const auto known = app.get_subcommands([](const CLI::App*) { return true; });
  if (left.empty() || known.empty() || left.front().starts_with("-")) return "";
  std::vector<std::string> names;
  for (const CLI::App* command : known) names.push_back(command->get_name());
  const std::string hint = nearest_word(left.front(), names);
  return fmt::format("{}: error: there is no command '{}'{}; there are {}\n", app.get_name(),
                     left.front(), hint.empty() ? "" : fmt::format("; did you mean '{}'?", hint),
                     fmt::join(names, ", "));
}

}  // namespace

int run_command_line(int argc, const char* const* argv) {
  RunOptions options;
  CalibrateOptions calibrate_options;
  ImportOptions import_options;
  FitOptions fit_options;
  TransferOptions transfer_options;
  ReplayCommandOptions replay_options;
  KeptOutOptions kept_out_options;
  ValidateOptions validate_options;
  BreakdownOptions breakdown_options;
  std::string name;
  Action action;
  CLI::App app("fleetsim: how many GPUs, of which kind, set up how, does an LLM service need?",
               "fleetsim");
  app.set_version_flag("--version", std::string("fleetsim ") + fleetsim_version());
  app.footer(
      "Example:\n  fleetsim run chat-2k-rps\n\n"
      "Exit codes: 0 done, 1 internal error, 2 bad input or usage, 3 SLO missed (--check-slo).\n"
      "calibrate bench, replay: 1 a check or gate failed or the measurement broke off, 2 no GPU, "
      "130 Ctrl-C.");
  app.require_subcommand(1);
  add_run(app, options, action);
  add_check(app, options, action);
  add_printer(app, "schema", "Print the JSON Schema of scenario files",
              "fleetsim schema > scenario.schema.json", scenario_json_schema, action);
  add_list(app, action);
  add_show(app, name, action);
  add_report(app, name, action);
  CLI::App& calibrate = add_command(app, "calibrate", "Measure a GPU, or read what others measured",
                                    "fleetsim calibrate bench --quick");
  calibrate.require_subcommand(1);
  add_bench(calibrate, calibrate_options, action);
  add_import(calibrate, import_options, action);
  add_fit(calibrate, fit_options, action);
  add_transfer(calibrate, transfer_options, action);
  add_kept_out(calibrate, kept_out_options, action);
  add_replay(calibrate, replay_options, action);
  add_validate(app, validate_options, action);
  add_breakdown(app, breakdown_options, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const std::string unknown =
        error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError)
            ? unknown_command(app)
            : "";
    if (!unknown.empty()) {
      std::cerr << unknown;
      return kExitUsage;
    }
    // exit() prints help and version to stdout, faults to stderr
    return app.exit(error, std::cout, std::cerr) == 0 ? 0 : kExitUsage;
  }
  return action();
}

}  // namespace fleetsim
