// Keys of a scenario file outside `workload`, and what must hold between sections.

#include "sim/scenario/scenario_fields.h"

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "hw_models/gpu_spec.h"
#include "hw_models/model_spec.h"
#include "sim/scenario/field_reader.h"

namespace fleetsim {
namespace {

constexpr WholeRange kDataParallel{1, 1024, 1};  // refused above 1 until simulated
constexpr WholeRange kPipeline{1, 1024};         // the fleet refuses to simulate more than 1
constexpr WholeRange kExpertParallel{1, 1024};
constexpr WholeRange kTensorParallel{1, 64};
constexpr WholeRange kSeats{1, 1'000'000};
constexpr WholeRange kTokens{1, kTokensMax};

std::string unknown_name(const char* kind, const std::string& name,
                         const std::vector<std::string>& known) {
  return fmt::format("unknown {} '{}'{}", kind, shown(name), suggestion(name, known));
}

std::string gpu_fault(const std::string& name) {
  return find_gpu(name) != nullptr ? "" : unknown_name("gpu", name, gpu_names());
}
std::string canonical_gpu(const std::string& name) { return find_gpu(name)->name; }

/// The name makes the folder of the results, so it must be a plain file name.
std::string name_fault(const std::string& name) {
  constexpr const char* kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  if (name.size() <= 100 && name[0] != '.' && name[0] != '-' &&
      name.find_first_not_of(kAllowed) == std::string::npos)
    return "";
  return fmt::format("'name' must be letters, digits, '.', '_' and '-', at most 100, not '{}'",
                     shown(name));
}

std::vector<Word> format_words() {
  std::vector<Word> words;
  for (int i = 0; i <= static_cast<int>(NumberFormat::fp4); ++i)
    words.push_back({name_of(static_cast<NumberFormat>(i)), ""});
  return words;
}

/// Written only where it was given.
Field experts_format(Precision& p) {
  Access<int> access;
  access.get = [&p] { return static_cast<int>(p.experts.value_or(p.weights)); };
  access.set = [&p](int format) { p.experts = static_cast<NumberFormat>(format); };
  Field field = field_of("experts", "routed experts, where they alone are quantised",
                         WordValue{access, format_words()}, access);
  return written_if(std::move(field), [&p] { return p.experts.has_value(); });
}

Record precision_record(Precision& precision) {
  return record<Precision>("precision", place(precision), [](Precision& p) {
    return std::vector<Field>{word("weights", p.weights, format_words(), "stored weights"),
                              word("activations", p.activations, format_words(), "GEMM inputs"),
                              word("kv_cache", p.kv_cache, format_words(), "keys and values"),
                              experts_format(p)};
  });
}

Record parallelism_record(Parallelism& parallelism) {
  return record<Parallelism>("parallelism", place(parallelism), [](Parallelism& p) {
    return std::vector<Field>{
        whole("tp", p.tp, kTensorParallel, "tensor-parallel GPUs of a replica"),
        whole("pp", p.pp, kPipeline,
              "pipeline stages: breakdown prices the largest, run refuses above 1"),
        whole("dp", p.dp, kDataParallel, "data-parallel ranks of an engine"),
        whole("ep", p.ep, kExpertParallel, "ranks that share out the routed experts: 1 or tp")};
  });
}

/// A closed list kept as text, because the table of schedulers lives with the engines.
Field scheduler_field(std::string& scheduler) {
  static const std::vector<std::string> kNames = {
      "vllm-v1", "vllm-v0",    "sglang",    "trtllm", "nim",
      "tgi",     "sarathi",    "orca",      "static", "fastertransformer",
      "dynamic", "individual", "llama-cpp", "ollama"};
  const std::string simulated = EngineSettings{}.scheduler;
  return text(
      "scheduler", scheduler, "engine whose scheduler is followed",
      [simulated](const std::string& name) -> std::string {
        if (name == simulated) return "";
        for (const std::string& known : kNames)
          if (known == name)
            return fmt::format("scheduler '{}' is not simulated yet (simulated: {})", name,
                               simulated);
        return unknown_name("scheduler", name, kNames);
      },
      kNames);
}

std::vector<Field> engine_fields(EngineSettings& e) {
  return {
      scheduler_field(e.scheduler),
      text("version", e.version, "a release (\"0.15.1\") or a date (\"2026-08\")"),
      also_called(whole("max_num_seqs", e.max_num_seqs, kSeats, "running requests at most"),
                  {"max_running_requests", "max_batch_size"}),
      also_called(whole("max_num_batched_tokens", e.max_num_batched_tokens, kTokens,
                        "token budget of an iteration"),
                  {"chunked_prefill_size", "max_num_tokens"}),
      also_called(whole("block_size", e.block_size, {1, 65536}, "tokens of a KV block"),
                  {"page_size", "tokens_per_block"}),
      also_called(whole("max_model_len", e.max_model_len, kTokens,
                        "longer prompts are rejected; absent: the model's"),
                  {"context_length"}),
      whole("num_gpu_blocks_override", e.num_gpu_blocks_override, {2, 1'000'000'000},
            "KV blocks, the null block included; absent: what memory holds"),
      bytes("kv_cache_memory_bytes", e.kv_cache_memory_bytes,
            "KV cache of a GPU; overrides gpu_memory_utilization"),
      also_called(real("gpu_memory_utilization", e.gpu_memory_utilization, {0, 1, true},
                       "share of GPU memory the engine takes"),
                  {"mem_fraction_static"}),
      real("watermark", e.watermark, {0, 1}, "share of KV blocks kept free at admission"),
      whole("long_prefill_token_threshold", e.long_prefill_token_threshold, {0, kTokensMax},
            "longer prompts are cut into chunks of it; 0: off"),
      flag("enable_prefix_caching", e.enable_prefix_caching, "reuse KV blocks of shared prefixes"),
      flag("async_scheduling", e.async_scheduling, "plan an iteration while the one before runs"),
      flag("scheduler_reserve_full_isl", e.scheduler_reserve_full_isl,
           "admit only what has room for its whole prompt"),
      flag("enable_chunked_prefill", e.enable_chunked_prefill,
           "prompts may be split over iterations"),
      flag("enforce_eager", e.enforce_eager, "no CUDA graphs"),
      flag("fusion", e.fusion,
           "norms, activations and rotary embedding as one kernel each; absent: yes"),
      word("attention_backend", e.attention_backend,
           {{"auto", "what the engine takes on this GPU"},
            {"naive", "scores written to memory and read back"},
            {"fa2", "FlashAttention 2"},
            {"fa3", "FlashAttention 3, Hopper only"},
            {"trtllm", "TensorRT-LLM's kernels, as FlashInfer runs them"}},
           "kernels of attention"),
      real("routing_skew", e.routing_skew, {0, 1.2},
           "exponent of a power law of the experts' popularity; 0: uniform; absent: the model's"),
      word("generation_config", e.generation_config,
           {{"auto", "what the model's publisher asks for, top-p sampling of Llama 3 for one"},
            {"vllm", "neutral; also where requests ask for temperature 0"}},
           "how requests are sampled that do not say it"),
      whole("max_cudagraph_capture_size", e.max_cudagraph_capture_size, kTokens,
            "tokens of the largest CUDA graph; absent: the default of the version"),
      also_called(word("scheduling_policy", e.scheduling_policy,
                       {{"fcfs", "in order of arrival"}, {"priority", "by priority, then arrival"}},
                       "order of the waiting queue"),
                  {"schedule_policy"}),
      not_yet("schedule_conservativeness", "SGLang: how early retraction is avoided"),
      not_yet("overlap_schedule", "SGLang: plan while the GPU runs"),
      not_yet("speculative", "speculative decoding: method, num_speculative_tokens, acceptance"),
  };
}

Record pool_record(Pool& pool) {
  return record<Pool>("pool", place(pool), [](Pool& p) {
    Field gpu = text("gpu", p.gpu, "a name of `fleetsim list gpus`", gpu_fault, gpu_names());
    std::get<TextValue>(gpu.shape).value.set = [&p](const std::string& name) {
      p.gpu = canonical_gpu(name);
    };
    const auto always = [] { return true; };
    return std::vector<Field>{
        text("name", p.name, "of the pool, in outputs and overrides"),
        required(std::move(gpu)),
        whole("replicas", p.replicas, {1, 1'000'000}, "engine instances"),
        section("parallelism", parallelism_record(p.parallelism), always, "GPUs of one replica"),
        written_if(model_name("model", p.model, "absent: the scenario's"),
                   [&p] { return !p.model.empty(); }),
        section("engine",
                record<EngineSettings>("engine", place(p.engine),
                                       [](EngineSettings& e) { return engine_fields(e); }),
                always, "settings under vLLM's names; absent: the default of the version")};
  });
}

Record fleet_record(Scenario& scenario) {
  Record made;
  made.name = "fleet";
  made.reset = [&scenario] { scenario.pools.clear(); };
  made.fields = [&scenario] {
    return std::vector<Field>{
        required(list<Pool>("pools", scenario.pools, pool_record, "groups of equal replicas"))};
  };
  made.check = [&scenario](FieldCheck& check) {
    std::set<std::string> names;
    for (std::size_t i = 0; i < scenario.pools.size(); ++i) {
      const std::string path = fmt::format("pools.{}.name", i);
      if (check.sound(path) && !names.insert(scenario.pools[i].name).second)
        check.fault(path, fmt::format("duplicate pool name '{}'", shown(scenario.pools[i].name)));
    }
  };
  return made;
}

Field model_field(ModelChoice& model, const FieldContext& context) {
  Record config;
  config.name = "model_file";
  config.reset = [&model] { model = ModelChoice{}; };
  config.fields = [&model, &context] {
    Field path = file_path("hf_config", model.hf_config_as_written, model.hf_config, context,
                           "a Hugging Face config.json");
    auto& value = std::get<TextValue>(path.shape).value;
    value.set = [set = value.set, &model](const std::string& written) {
      set(written);
      model.name = std::filesystem::path(written).stem().string();
    };
    return std::vector<Field>{required(std::move(path))};
  };
  const auto is_name = [&model] { return model.hf_config.empty(); };
  const std::string doc = "a name of `fleetsim list models`, or {hf_config: path}";
  return {
      "model",
      doc,
      Either{std::make_shared<Field>(model_name("model", model.name, doc)),
             std::make_shared<Field>(section("model", std::move(config), is_name, doc)), is_name},
      [] { return true; },
      {},
      true};
}

Record frontend_record(Frontend& frontend) {
  return record<Frontend>("frontend", place(frontend), [](Frontend& f) {
    Record tokenize;
    tokenize.name = "tokenize";
    tokenize.reset = [&f] {
      f.tokenize_base = f.tokenize_per_token = 0;
      f.tokenize_at_once.reset();
    };
    tokenize.fields = [&f] {
      return std::vector<Field>{
          time("base", f.tokenize_base, Zero::allowed, "of each prompt"),
          time("per_token", f.tokenize_per_token, Zero::allowed, "of each prompt token"),
          whole("at_once", f.tokenize_at_once, {1, 1'000'000},
                "prompts worked on at a time, the others wait; absent: all of them")};
    };
    return std::vector<Field>{
        time("network", f.network, Zero::allowed, "one way; counted in and out"),
        section(
            "tokenize", std::move(tokenize), [] { return true; },
            "time to make tokens of a prompt"),
        whole("stream_interval", f.stream_interval, {1, kTokensMax},
              "tokens of a delivered chunk; the first goes out alone")};
  });
}

Record router_record(Router& router, const FieldContext& context) {
  return record<Router>("router", place(router), [&context](Router& r) {
    return std::vector<Field>{
        text(
            "policy", r.policy, "a name of `fleetsim list policies`",
            [&context](const std::string& name) -> std::string {
              const auto& known = context.router_policies;
              for (const std::string& policy : known)
                if (policy == name) return "";
              return known.empty() ? "" : unknown_name("policy", name, known);
            },
            context.router_policies),
        real("load_bound", r.load_bound, {1, 100},
             "prefix-affinity: share of the mean load at which a replica overflows")};
  });
}

Field cost_field(Scenario& s) {
  const std::string key = "usd_per_gpu_hour";
  const std::string doc = "USD per GPU and hour: a number, or a map by GPU";
  const RealRange range{0, 1e6};
  Field several{
      key,
      doc,
      NamedReals{&s.usd_per_gpu_hour_by_gpu, range, gpu_fault, canonical_gpu, gpu_names()},
      [&s] { return !s.usd_per_gpu_hour_by_gpu.empty(); },
      {},
      false};
  return {key,
          doc,
          Either{std::make_shared<Field>(real(key, s.usd_per_gpu_hour, range, doc)),
                 std::make_shared<Field>(std::move(several)),
                 [&s] { return s.usd_per_gpu_hour.has_value(); }},
          [] { return true; },
          {},
          true};
}

Record fixed_cost_record(CostModel& c) {
  Record made;
  made.name = "fixed_cost";
  made.reset = [&c] {
    c = CostModel{};
    c.kind = CostModel::Kind::fixed;
  };
  made.fields = [&c] {
    return std::vector<Field>{
        required(time("iteration", c.fixed_iteration, Zero::refused, "of every iteration"))};
  };
  return made;
}

Record linear_cost_record(CostModel& c) {
  Record made;
  made.name = "linear_cost";
  made.reset = [&c] {
    c = CostModel{};
    c.kind = CostModel::Kind::linear;
  };
  made.fields = [&c] {
    return std::vector<Field>{
        required(time("base", c.linear_base, Zero::refused, "of every iteration")),
        seconds("per_token", c.linear_per_token, "of each token computed"),
        seconds("per_context_token", c.linear_per_context_token, "of each token attended to")};
  };
  return made;
}

Field cost_model_field(CostModel& c) {
  using Kind = CostModel::Kind;
  const std::string key = "cost_model";
  const std::string doc = "where step times come from";
  const auto is = [&c](Kind kind) { return [&c, kind] { return c.kind == kind; }; };
  Record formulas;
  formulas.name = "cost_formula";
  formulas.reset = [] {};
  formulas.fields = [&c, is] {
    return std::vector<Field>{section("fixed", fixed_cost_record(c), is(Kind::fixed),
                                      "every iteration takes the same time"),
                              section("linear", linear_cost_record(c), is(Kind::linear),
                                      "base + per_token * tokens + per_context_token * context")};
  };
  formulas.check = [](FieldCheck& check) {
    if (check.given("fixed") == check.given("linear") && check.sound(""))
      check.fault(
          "", "'cost_model' takes one of auto, calibrated, roofline, {fixed: ...}, {linear: ...}");
  };
  const Field single =
      word(key, c.kind,
           {{"auto", "calibrated where the GPU has been measured, else the roofline"},
            {"calibrated", "fitted to measurements"},
            {"roofline", "datasheet limits and stated efficiencies"}},
           doc);
  return {key,
          doc,
          Either{std::make_shared<Field>(single),
                 std::make_shared<Field>(section(
                     key, std::move(formulas), [] { return true; }, doc)),
                 [&c] { return c.kind != Kind::fixed && c.kind != Kind::linear; }},
          [] { return true; },
          {},
          false};
}

Record outputs_record(Outputs& outputs) {
  return record<Outputs>("outputs", place(outputs), [](Outputs& o) {
    return std::vector<Field>{
        flag("requests", o.requests, "requests.csv"),
        flag("timeseries", o.timeseries, "timeseries.csv"),
        flag("iterations", o.iterations, "iterations.jsonl"),
        flag("perfetto", o.perfetto, "trace.json"),
        flag("metrics", o.metrics, "metrics.prom"),
        written_if(time("timeseries_interval", o.timeseries_interval, Zero::refused,
                        "of a row of timeseries.csv; absent: about 300 rows"),
                   [&o] { return o.timeseries_interval > 0; })};
  });
}

/// Arrivals that never end by themselves need a duration.
bool endless(const std::optional<Arrivals>& arrivals) {
  if (!arrivals) return false;
  using Process = Arrivals::Process;
  switch (arrivals->process) {
    case Process::batch:
    case Process::trace:
      return false;
    case Process::closed:
      return arrivals->requests == 0;
    default:
      return true;
  }
}

void check_duration(FieldCheck& check, const Scenario& s) {
  if (s.duration && check.sound("warmup") && check.sound("duration") && s.warmup >= *s.duration)
    check.fault(check.given("warmup") ? "warmup" : "duration",
                fmt::format("warmup {} must be shorter than duration {}", format_time(s.warmup),
                            format_time(*s.duration)));
  if (s.duration || check.given("duration")) return;
  const auto require = [&](const std::string& path, const std::optional<Arrivals>& arrivals) {
    if (check.sound(path) && endless(arrivals))
      check.fault(
          path, "missing key 'duration' in the scenario: these arrivals have no end of their own");
  };
  require("workload.arrivals", s.workload.arrivals);
  for (std::size_t i = 0; i < s.workload.classes.size(); ++i)
    require(fmt::format("workload.classes.{}.arrivals", i), s.workload.classes[i].arrivals);
}

/// Every class finds a pool that serves its model.
void check_models(FieldCheck& check, const Scenario& s) {
  if (!check.sound("model") || !check.sound("fleet") || !check.given("fleet")) return;
  const auto effective = [&](const std::string& model) {
    return model.empty() ? s.model.name : model;
  };
  std::vector<std::string> served;
  for (const Pool& pool : s.pools) served.push_back(effective(pool.model));
  for (std::size_t i = 0; i < s.workload.classes.size(); ++i) {
    const std::string path = fmt::format("workload.classes.{}.model", i);
    const std::string model = effective(s.workload.classes[i].model);
    bool found = false;
    for (const std::string& one : served) found = found || one == model;
    if (!found && check.sound(path))
      check.fault(check.given(path) ? path : "fleet.pools",
                  fmt::format("no pool serves the model '{}'", model));
  }
}

std::vector<Field> scenario_fields(Scenario& s, const FieldContext& context) {
  const auto always = [] { return true; };
  return {
      text("name", s.name, "of the scenario and of its results folder; absent: the file's",
           name_fault),
      whole("seed", s.seed, {0}, "every random draw follows from it"),
      time("duration", s.duration, Zero::refused,
           "of arrivals; absent: until a trace or list ends"),
      time("warmup", s.warmup, Zero::allowed,
           "requests that arrive in it are left out of statistics"),
      time("drain", s.drain, Zero::allowed,
           "time after arrivals for what is left; absent: `duration`"),
      required(section("workload", workload_record(s.workload, context), always, "what is asked")),
      section(
          "slo", slo_record(place(s.slo)), [&s] { return s.slo.has_value(); },
          "limits; absent: no verdict"),
      model_field(s.model, context),
      section("precision", precision_record(s.precision), always, "number formats"),
      required(section("fleet", fleet_record(s), always, "what answers")),
      section("frontend", frontend_record(s.frontend), always, "time before and after the engines"),
      section("router", router_record(s.router, context), always, "which replica takes a request"),
      section(
          "cost",
          Record{"cost", [] {}, [&s] { return std::vector<Field>{cost_field(s)}; }, nullptr,
                 nullptr, nullptr},
          [&s] { return s.usd_per_gpu_hour || !s.usd_per_gpu_hour_by_gpu.empty(); },
          "prices; absent: no money in the results"),
      cost_model_field(s.cost_model),
      section("outputs", outputs_record(s.outputs), always, "files to write"),
      not_yet("plan", "choices of `fleetsim plan`"),
      not_yet("sweep", "grid of `fleetsim sweep`"),
  };
}

}  // namespace

std::vector<std::string> FieldContext::candidates(const std::string& path) const {
  const std::filesystem::path wanted(path);
  if (wanted.is_absolute()) return {path};
  std::vector<std::string> places = {(std::filesystem::path(folder) / wanted).string()};
  if (!data_dir.empty()) places.push_back((std::filesystem::path(data_dir) / wanted).string());
  return places;
}

std::string FieldContext::find_file(const std::string& path) const {
  for (const std::string& candidate : candidates(path)) {
    std::error_code error;
    if (std::filesystem::is_regular_file(candidate, error)) return candidate;
  }
  return "";
}

std::string FieldContext::file_fault(const std::string& path) const {
  if (!find_file(path).empty()) return "";
  std::string places;
  for (const std::string& candidate : candidates(path))
    places += (places.empty() ? "" : " and ") + shown(candidate);
  const bool more = data_dir.empty() && !std::filesystem::path(path).is_absolute();
  return fmt::format("file '{}' not found; looked for {}{}", shown(path), places,
                     more ? " (--data DIR or FLEETSIM_DATA names a second place)" : "");
}

Field file_path(std::string key, std::string& written, std::string& resolved,
                const FieldContext& context, std::string doc) {
  Field field = text(std::move(key), written, std::move(doc),
                     [&context](const std::string& path) { return context.file_fault(path); });
  std::get<TextValue>(field.shape).value.set = [&](const std::string& path) {
    written = path;
    resolved = context.find_file(path);
  };
  return field;
}

Field model_name(std::string key, std::string& model, std::string doc) {
  Field field = text(
      std::move(key), model, std::move(doc),
      [](const std::string& name) -> std::string {
        if (find_model(name) != nullptr) return "";
        return unknown_name("model", name, model_names());
      },
      model_names());
  std::get<TextValue>(field.shape).value.set = [&model](const std::string& name) {
    model = find_model(name)->name;
  };
  return field;
}

Record slo_record(const Place<Slo>& where) {
  return record<Slo>(
      "slo", where,
      [](Slo& s) {
        return std::vector<Field>{
            time("ttft", s.ttft, Zero::refused, "arrival to first token"),
            time("tpot", s.tpot, Zero::refused, "mean time per output token after the first"),
            time("itl", s.itl, Zero::refused, "gap between delivered chunks"),
            time("e2e", s.e2e, Zero::refused, "arrival to last token"),
            real("percentile", s.percentile, {0, 100, true}, "share that must meet each limit"),
            time("window", s.window, Zero::refused, "the worst window of arrivals decides"),
            flag("include_cache_hits", s.include_cache_hits,
                 "judge requests that the response cache answered, too")};
      },
      [](FieldCheck& check, const Slo& s) {
        if (!s.ttft && !s.tpot && !s.itl && !s.e2e && check.sound(""))
          check.fault("", "'slo' sets no limit; give ttft, tpot, itl or e2e");
      });
}

Record scenario_record(Scenario& scenario, const FieldContext& context) {
  Record made;
  made.name = "scenario";
  made.reset = [] {};
  made.fields = [&scenario, &context] { return scenario_fields(scenario, context); };
  made.check = [&scenario](FieldCheck& check) {
    check_duration(check, scenario);
    check_models(check, scenario);
  };
  return made;
}

}  // namespace fleetsim
