#pragma once
// What a scenario file says, as plain values. Defaults live here and nowhere else; the reader
// (scenario_reader), the schema and the echo are three visitors of one description of these fields.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "hw_models/precision.h"
#include "hw_models/problems.h"
#include "sim/core/sim_time.h"

namespace fleetsim {

/// A law of whole token counts. Which fields count depends on `kind` (product.md).
struct LengthDistribution {
  enum class Kind { fixed, uniform, lognormal, gamma, geometric, zipf, empirical };
  Kind kind = Kind::fixed;
  std::int64_t value = 0;           // fixed
  std::int64_t min = 0;             // uniform, both ends included; others: lower bound 1 is implied
  std::optional<std::int64_t> max;  // uniform, zipf: required; others: values above are redrawn
  double mean = 0;                  // lognormal, gamma, geometric
  double p95 = 0;                   // lognormal
  double cv = 1;                    // gamma
  double exponent = 1;              // zipf
  std::string path, column;         // empirical: a CSV file (.gz allowed), found, and its column
  std::string path_as_written;      // empirical: as the scenario says it
};

/// One state of a Markov-modulated Poisson process.
struct MmppState {
  double rate_per_s = 0;
  SimTime mean_duration = 0;
};
/// One step of a piecewise-constant rate; it holds until the next step's `from`.
struct RateStep {
  SimTime from = 0;
  double rate_per_s = 0;
};

struct Arrivals {
  enum class Process { poisson, constant, gamma, mmpp, piecewise, batch, closed, trace };
  enum class TraceFormat { azure, mooncake, burstgpt, csv };
  Process process = Process::poisson;
  double rate_per_s = 0;  // poisson, constant, gamma
  double peak_to_mean =
      1;  // poisson, constant, gamma: rate(t) = rate (1 + (ptm-1) sin(2 pi t/period))
  SimTime period = 0;
  double cv = 1;                  // gamma: coefficient of variation of the gaps
  std::vector<MmppState> states;  // mmpp
  std::vector<RateStep> steps;    // piecewise
  std::int64_t requests = 0;      // batch: all at 0; closed: total, 0 = until `duration`
  std::int64_t clients = 0;       // closed
  SimTime think_time = 0;         // closed: fixed pause between an answer and the next request
  TraceFormat format = TraceFormat::csv;
  std::string path;             // trace; already resolved to an existing file by the reader
  std::string path_as_written;  // trace: as the scenario says it
  double rate_scale = 1;        // trace: gaps are divided by it
};

struct Prefixes {
  std::int64_t system_prompts = 0;  // 0: no shared prefixes
  std::int64_t tokens = 0;
  enum class Popularity { uniform, zipf };
  Popularity popularity = Popularity::uniform;
  double exponent = 1;
};

/// Multi-turn conversations: each turn's prompt is the whole conversation so far plus fresh tokens
/// drawn from prompt_tokens; the next turn arrives `think_time` after the answer.
struct Sessions {
  std::optional<LengthDistribution> turns;  // absent: single requests
  SimTime think_time = 0;
};

struct ResponseCache {
  double hit_rate = 0;  // independent draws; a hit never reaches a GPU
  SimTime latency = 0;
};

struct Retry {
  std::int64_t max = 0;  // attempts after the first
  SimTime backoff = kNanosecondsPerSecond;
};

/// Limits that a request must meet. Absent limits do not count.
struct Slo {
  std::optional<SimTime> ttft, tpot, itl, e2e;
  double percentile = 95;
  SimTime window = 60 * kNanosecondsPerSecond;
  bool include_cache_hits = false;
};

/// One class of requests. A scenario without `workload.classes` has exactly one, named "default".
struct WorkloadClass {
  std::string name = "default";
  double share = 1;                  // weight among classes that use the workload's arrivals
  std::optional<Arrivals> arrivals;  // own arrivals, independent of the workload's
  LengthDistribution prompt_tokens, output_tokens;
  std::optional<LengthDistribution> max_tokens;  // declared limit; absent: equal to output_tokens
  Prefixes prefixes;
  Sessions sessions;
  std::optional<SimTime> timeout;
  Retry retry;
  std::optional<Slo> slo;     // absent: the scenario's
  std::int64_t priority = 0;  // smaller is earlier
  std::string model;          // empty: the scenario's
};

/// A stretch of a named token stream, end exclusive, e.g. S[0:8].
struct NamedStretch {
  std::string stream;
  std::int64_t from = 0, to = 0;
};

/// A request written out in the scenario.
struct WrittenRequest {
  std::string id;
  SimTime arrival = 0;
  std::int64_t prompt_tokens = 0;  // tokens of its own; or `prompt`
  std::vector<NamedStretch> prompt;
  std::int64_t output_tokens = 0;  // 0: prefill only
  std::optional<std::int64_t> max_tokens;
  std::int64_t priority = 0;
  std::vector<std::int64_t> accepted_drafts;
};

struct Workload {
  std::optional<Arrivals>
      arrivals;  // absent when `requests` are written out or every class has its own
  std::vector<WorkloadClass>
      classes;  // at least one; beside `requests`: one that carries time-out and retry
  std::vector<WrittenRequest> requests;
  ResponseCache response_cache;
};

struct Parallelism {
  std::int64_t tp = 1, pp = 1, dp = 1, ep = 1;
};

/// Engine settings under vLLM's names. Absent: the default of the engine version (engine_rules).
struct EngineSettings {
  std::string scheduler = "vllm-v1";
  std::string version = "2026-08";  // a release ("0.10") or a date ("2026-08")
  std::optional<std::int64_t> max_num_seqs, max_num_batched_tokens, block_size, max_model_len,
      max_cudagraph_capture_size;
  std::optional<std::int64_t> num_gpu_blocks_override;  // includes the null block
  std::optional<Bytes> kv_cache_memory_bytes;
  std::optional<double> gpu_memory_utilization, watermark;
  std::optional<std::int64_t> long_prefill_token_threshold;
  std::optional<bool> enable_prefix_caching, async_scheduling, scheduler_reserve_full_isl,
      enable_chunked_prefill, enforce_eager, fusion;
  enum class Attention { automatic, naive, fa2, fa3, trtllm };
  Attention attention_backend = Attention::automatic;
  std::optional<double> routing_skew;  // exponent of the experts' popularity; 0: uniform
  enum class GenerationConfig { automatic, vllm };
  GenerationConfig generation_config = GenerationConfig::automatic;
  enum class SchedulingPolicy { fcfs, priority };
  SchedulingPolicy scheduling_policy = SchedulingPolicy::fcfs;
};

struct Pool {
  std::string name = "main";
  std::string gpu;  // canonical catalogue name after reading
  std::int64_t replicas = 1;
  Parallelism parallelism;
  std::string model;  // empty: the scenario's
  EngineSettings engine;
};

struct Frontend {
  SimTime network = 0;  // one way; counted on the way in and on the way out
  SimTime tokenize_base = 0, tokenize_per_token = 0;
  /// Prompts that the front end works on at a time, others wait in order; absent: all.
  std::optional<std::int64_t> tokenize_at_once;
  std::int64_t stream_interval = 1;  // tokens a chunk (the first token always goes out alone)
};

struct Router {
  std::string policy = "round-robin";
  double load_bound = 1.25;  // prefix-affinity: a replica's share of the mean load before overflow
};

/// Where step times come from.
struct CostModel {
  enum class Kind { automatic, calibrated, roofline, fixed, linear };
  Kind kind = Kind::automatic;
  SimTime fixed_iteration = 0;
  SimTime linear_base = 0;
  Seconds linear_per_token, linear_per_context_token;  // real: 30ns a token is below rounding noise
};

struct Outputs {
  bool requests = true, timeseries = true, iterations = false, perfetto = false, metrics = false;
  SimTime timeseries_interval = 0;  // 0: chosen from the duration (about 300 points, 1 s at least)
};

/// A model: a catalogue name, or a Hugging Face config.json.
struct ModelChoice {
  std::string name;                  // catalogue name, or the config's file stem
  std::string hf_config;             // resolved path, or empty
  std::string hf_config_as_written;  // as the scenario says it
};

/// Where in which file a key stands, for errors found after reading. Keys are dotted paths such as
/// "fleet.pools.0.engine.max_num_seqs"; a missing key falls back to its nearest parent.
struct SourceMap {
  std::string file;
  std::map<std::string, SourcePosition> positions;
  std::map<std::string, std::string> overrides;  // dotted path -> "--set a.b=c"
  /// Adds a problem at the place of `path`.
  void report(Problems& problems, const std::string& path, const std::string& message) const;
};

struct Scenario {
  std::string name;
  std::uint64_t seed = 1;
  std::optional<SimTime> duration;  // absent: until the trace, list or closed loop ends
  SimTime warmup = 0;
  std::optional<SimTime> drain;  // absent: equal to duration
  Workload workload;
  std::optional<Slo> slo;
  ModelChoice model;
  Precision precision;
  std::vector<Pool> pools;
  Frontend frontend;
  Router router;
  std::optional<double> usd_per_gpu_hour;                 // one price for every GPU
  std::map<std::string, double> usd_per_gpu_hour_by_gpu;  // or a price by catalogue name
  CostModel cost_model;
  Outputs outputs;

  SourceMap source;
  std::string sha256;  // of the resolved scenario (the echo), hex
};

}  // namespace fleetsim
