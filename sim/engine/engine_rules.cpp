// Defaults and dated rules of vLLM v1, one table a kind. Source: engine-semantics §1.1, §1.3-1.5,
// §1.8, read at vLLM commit 017e9f4448 (2026-08-17) and tag v0.10.0.

#include "sim/engine/engine_rules.h"

#include <algorithm>
#include <charconv>

#include "hw_models/check.h"

namespace fleetsim {

namespace {

struct Release {
  const char* name;
  std::int64_t date;  // yyyymmdd of the tag
};

// Tag dates of vllm-project/vllm, from memory; 0.18 by its package, 0.16, 0.17 and 0.19 between
// their neighbours and the first rows measured with them. A release in between takes the rules of
// the one before it.
constexpr Release kReleases[] = {
    {"0.10", 20250724},   {"0.10.0", 20250724}, {"0.10.1", 20250818}, {"0.10.2", 20250913},
    {"0.11", 20251002},   {"0.11.0", 20251002}, {"0.11.1", 20251118}, {"0.11.2", 20251120},
    {"0.12", 20251203},   {"0.12.0", 20251203}, {"0.13", 20251218},   {"0.13.0", 20251218},
    {"0.14", 20260120},   {"0.14.0", 20260120}, {"0.15", 20260129},   {"0.15.0", 20260129},
    {"0.15.1", 20260204}, {"0.16", 20260225},   {"0.16.0", 20260225}, {"0.17", 20260307},
    {"0.17.0", 20260307}, {"0.18", 20260320},   {"0.18.0", 20260320}, {"0.19", 20260403},
    {"0.19.0", 20260403},
};

// Since-dates of the rules that changed within v1. Where the source gives a month only, its first
// day; for the two read to differ from v0.10.0 without a date, the day after that release.
constexpr std::int64_t kAsyncByDefault = 20251229;
constexpr std::int64_t kReserveFullIsl = 20260324;
constexpr std::int64_t kGraphsInsideBudget = 20260401;
constexpr std::int64_t kKernelsOf2026 = 20251101;      // no measured row between 0.10.2 and 0.11.2
constexpr std::int64_t kAllHeadsNormFused = 20260320;  // in the launch scripts from 0.18 on
constexpr std::int64_t kUnhashedFirst = 20260601;
constexpr std::int64_t kWatermark = 20260611;
constexpr std::int64_t kVictimUnscheduled =
    20250725;  // later than v0.10.0, where it was read not to hold
constexpr std::int64_t kFirstV1 = 20250724;
constexpr std::int64_t kLastRead = 20260831;
constexpr std::int64_t kLargeCaptureSizes =
    20250725;  // the list read in v0.10.0 has steps of 8 throughout

std::optional<std::int64_t> whole_number(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "2026-08" is the state at the end of that month, "2026-08-17" at the end of that day.
std::optional<std::int64_t> date_of(const std::string& version) {
  if (version.size() == 7 || version.size() == 10) {
    if (version[4] == '-' && (version.size() == 7 || version[7] == '-')) {
      const auto year = whole_number(version.substr(0, 4));
      const auto month = whole_number(version.substr(5, 2));
      const auto day = version.size() == 10 ? whole_number(version.substr(8, 2))
                                            : std::optional<std::int64_t>(31);
      if (!year || !month || !day || *month < 1 || *month > 12 || *day < 1 || *day > 31) {
        return std::nullopt;
      }
      return *year * 10000 + *month * 100 + *day;
    }
  }
  for (const Release& release : kReleases) {
    if (version == release.name) return release.date;
  }
  return std::nullopt;
}

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

// Defaults by memory class, for a server: >= 160 GiB, 70..160 GiB and not an A100, the rest.
struct ClassDefaults {
  std::int64_t max_num_batched_tokens, max_num_seqs;
};
ClassDefaults class_defaults(const GpuSpec& gpu) {
  const double memory = static_cast<double>(gpu.memory_reported.value) / kGiB;
  const bool a100 = gpu.name.rfind("a100", 0) == 0;
  if (memory >= 160) return {16384, 1024};
  if (memory >= 70 && !a100) return {8192, 1024};
  return {2048, 256};
}

std::optional<AttentionBackend> attention_backend(EngineSettings::Attention asked) {
  switch (asked) {
    case EngineSettings::Attention::automatic:
      return std::nullopt;
    case EngineSettings::Attention::naive:
      return AttentionBackend::naive;
    case EngineSettings::Attention::fa2:
      return AttentionBackend::fa2;
    case EngineSettings::Attention::fa3:
      return AttentionBackend::fa3;
    case EngineSettings::Attention::trtllm:
      return AttentionBackend::trtllm;
  }
  CHECK(false, "attention backend");
  return std::nullopt;
}

// Kernels of old releases against those that the fits are of. Fitted on the closed-loop
// Llama-3.3-70B rows of vLLM 0.10.2 (decode over fp8 KV on H100, nvfp4 on B200); see VALIDATION.md.
// Experts in fp4 on Hopper: the time to first token of vLLM 0.18 says Marlin, whichever release;
// the fit is of Triton. Marlin's rate is the median of its mxfp4 and int4 rows of 8192 tokens in
// aiconfigurator's tables (H100 and H200, tensor-parallel widths 1 to 16: 112 to 206 TFLOP/s).
KernelAge kernel_age(std::int64_t date, const GpuSpec& gpu) {
  KernelAge age;
  if (gpu.architecture_sm == 90) age.fp4_experts_rate = FlopsPerSecond{176e12};
  if (date >= kKernelsOf2026) return age;
  if (gpu.architecture_sm == 90) age.fp8_kv_decode = 1.9;
  if (gpu.architecture_sm == 100) age.nvfp4_gemm = 1.2;
  return age;
}

// Reads one setting, with its default, and reports a value outside its range.
struct SettingReader {
  const SourceMap& source;
  const std::string& path;
  Problems& problems;

  void fault(const char* key, const std::string& message) const {
    source.report(problems, path + "." + key, message);
  }
};

}  // namespace

const std::vector<DatedRule>& vllm_v1_rules() {
  static const std::vector<DatedRule> rules = {
      {"2025-07-24",
       "one token budget for prefill and decode; running requests first, in admission order"},
      {"2025-07-24", "strict head-of-line blocking; no admission in a step with a preemption"},
      {"2025-07-24",
       "preemption by recompute; the victim is the latest admitted, or the largest (priority, "
       "arrival)"},
      {"2025-07-24", "full blocks become shareable when the step that fills them is scheduled"},
      {"2025-07-25",
       "a victim already scheduled in the step gives its tokens back (not in v0.10.0; from when on "
       "was not read)"},
      {"2025-11-01",
       "today's kernels for decode over fp8 KV on Hopper and for nvfp4 on Blackwell (fitted; no "
       "measured "
       "row lies between 0.10.2 and 0.11.2)"},
      {"2025-12-29",
       "async scheduling by default: two steps in flight, host time hidden behind the GPU"},
      {"2026-03-24", "admission gate over the whole sequence (scheduler_reserve_full_isl)"},
      {"2026-03-20", "MiniMax's norm over all heads is one kernel"},
      {"2026-04-01",
       "CUDA graphs count against gpu_memory_utilization, whose default becomes 0.92"},
      {"2026-06-01", "freed blocks without a hash are reused first"},
      {"2026-06-11", "watermark for waiting requests (default 0)"},
  };
  return rules;
}

const std::vector<SchedulerRow>& scheduler_table() {
  static const std::vector<SchedulerRow> table = {
      {"vllm-v1",
       "vLLM v1, releases 0.10 to 2026-08: continuous batching with chunked prefill and prefix "
       "cache"},
  };
  return table;
}

std::vector<std::int64_t> capture_sizes(std::int64_t version_date, std::int64_t max_num_seqs,
                                        std::int64_t max_num_batched_tokens,
                                        bool data_centre_blackwell,
                                        std::optional<std::int64_t> largest_asked) {
  const bool wide_steps = version_date >= kLargeCaptureSizes;
  const std::int64_t cap = wide_steps && data_centre_blackwell ? 1024 : 512;
  std::int64_t largest = largest_asked.value_or(std::min(2 * max_num_seqs, cap));
  if (wide_steps || largest_asked) largest = std::min(largest, max_num_batched_tokens);
  std::vector<std::int64_t> sizes;
  for (const std::int64_t size : {1, 2, 4}) {
    if (size <= largest) sizes.push_back(size);
  }
  for (std::int64_t size = 8; size <= largest; size += size < 256 || !wide_steps ? 8 : 16) {
    sizes.push_back(size);
  }
  if (wide_steps && max_num_batched_tokens <= largest && !sizes.empty() &&
      sizes.back() < max_num_batched_tokens) {
    sizes.push_back(max_num_batched_tokens);
  }
  return sizes;
}

EngineRules resolve_engine_rules(const EngineSettings& settings, const GpuSpec& gpu,
                                 const ModelSpec& model, const SourceMap& source,
                                 const std::string& path, Problems& problems) {
  const SettingReader reader{source, path, problems};
  EngineRules rules;
  rules.scheduler = settings.scheduler;
  rules.version = settings.version;
  const std::optional<std::int64_t> date = date_of(settings.version);
  if (!date) {
    std::vector<std::string> names;
    for (const Release& release : kReleases) names.push_back(release.name);
    const std::string near = nearest_word(settings.version, names);
    reader.fault("version",
                 "unknown version '" + settings.version +
                     "'; give a release from 0.10 to 0.19.0 or a date such as \"2026-08\"" +
                     (near.empty() ? "" : "; did you mean '" + near + "'?"));
  } else if (*date < kFirstV1 || *date > kLastRead) {
    reader.fault("version",
                 "version '" + settings.version +
                     "' lies outside the rules that are known, 0.10 (2025-07-24) to 2026-08");
  }
  rules.version_date = date.value_or(kLastRead);

  const ClassDefaults defaults = class_defaults(gpu);
  rules.block_size = settings.block_size.value_or(16);
  rules.max_model_len = settings.max_model_len.value_or(model.max_context);
  rules.max_num_seqs = settings.max_num_seqs.value_or(defaults.max_num_seqs);
  rules.enable_chunked_prefill = settings.enable_chunked_prefill.value_or(true);
  std::int64_t budget = defaults.max_num_batched_tokens;
  if (!rules.enable_chunked_prefill) budget = std::max(budget, rules.max_model_len);
  budget = std::min(budget, rules.max_num_seqs * rules.max_model_len);
  rules.max_num_batched_tokens = settings.max_num_batched_tokens.value_or(budget);
  if (!settings.max_num_seqs) {
    rules.max_num_seqs = std::min(rules.max_num_seqs, rules.max_num_batched_tokens);
  }
  if (!rules.enable_chunked_prefill && rules.max_num_batched_tokens < rules.max_model_len) {
    reader.fault("max_num_batched_tokens", "without chunked prefill max_num_batched_tokens (" +
                                               std::to_string(rules.max_num_batched_tokens) +
                                               ") must be at least max_model_len (" +
                                               std::to_string(rules.max_model_len) + ")");
  }
  if (rules.max_num_seqs > rules.max_num_batched_tokens) {
    reader.fault("max_num_seqs", "max_num_seqs (" + std::to_string(rules.max_num_seqs) +
                                     ") is larger than max_num_batched_tokens (" +
                                     std::to_string(rules.max_num_batched_tokens) + ")");
  }
  if (settings.max_model_len && model.max_context > 0 &&
      *settings.max_model_len > model.max_context) {
    reader.fault("max_model_len", "max_model_len " + std::to_string(*settings.max_model_len) +
                                      " is beyond the " + std::to_string(model.max_context) +
                                      " positions of " + model.name);
  }
  rules.long_prefill_token_threshold = settings.long_prefill_token_threshold.value_or(0);
  rules.enable_prefix_caching = settings.enable_prefix_caching.value_or(true);
  rules.async_scheduling =
      settings.async_scheduling.value_or(rules.version_date >= kAsyncByDefault);
  rules.enforce_eager = settings.enforce_eager.value_or(false);
  rules.fused_kernels = settings.fusion.value_or(true);
  rules.attention_backend = attention_backend(settings.attention_backend);
  if (rules.attention_backend == AttentionBackend::fa3 && gpu.architecture_sm != 90) {
    reader.fault("attention_backend", "FlashAttention 3 runs on Hopper (sm_90) only; " + gpu.name +
                                          " is sm_" + std::to_string(gpu.architecture_sm));
  }
  const bool own_latent_kernels =
      model.latent && rules.attention_backend && *rules.attention_backend != AttentionBackend::fa3;
  if (own_latent_kernels) {
    reader.fault("attention_backend", model.name +
                                          " has latent attention, whose kernels are its own; "
                                          "leave attention_backend out");
  }
  if (rules.attention_backend == AttentionBackend::trtllm && gpu.architecture_sm < 90) {
    reader.fault("attention_backend", "TensorRT-LLM's kernels run on Hopper and Blackwell; " +
                                          gpu.name + " is sm_" +
                                          std::to_string(gpu.architecture_sm));
  }
  if (settings.routing_skew && !model.moe)
    reader.fault("routing_skew", model.name + " has no routed experts");
  rules.routing_skew = settings.routing_skew;
  rules.model_sampling = settings.generation_config == EngineSettings::GenerationConfig::automatic;
  rules.fused_all_heads_norm = rules.version_date >= kAllHeadsNormFused;
  rules.kernel_age = kernel_age(rules.version_date, gpu);
  rules.priority_policy = settings.scheduling_policy == EngineSettings::SchedulingPolicy::priority;
  rules.gpu_memory_utilization = settings.gpu_memory_utilization.value_or(
      rules.version_date >= kGraphsInsideBudget ? 0.92 : 0.9);

  const bool has_gate = rules.version_date >= kReserveFullIsl;
  if (settings.scheduler_reserve_full_isl && *settings.scheduler_reserve_full_isl && !has_gate) {
    reader.fault("scheduler_reserve_full_isl",
                 "scheduler_reserve_full_isl came on 2026-03-24; version '" + settings.version +
                     "' is older");
  }
  rules.reserve_full_isl = settings.scheduler_reserve_full_isl.value_or(has_gate) && has_gate;
  rules.watermark = settings.watermark.value_or(0);
  if (rules.watermark > 0 && rules.version_date < kWatermark) {
    reader.fault("watermark",
                 "watermark came on 2026-06-11; version '" + settings.version + "' is older");
  }
  rules.unhashed_blocks_first = rules.version_date >= kUnhashedFirst;
  rules.preempted_victim_is_unscheduled = rules.version_date >= kVictimUnscheduled;
  rules.graphs_inside_budget = rules.version_date >= kGraphsInsideBudget;
  if (!rules.enforce_eager) {
    rules.capture_sizes =
        capture_sizes(rules.version_date, rules.max_num_seqs, rules.max_num_batched_tokens,
                      gpu.data_centre && gpu.architecture_sm >= 100 && gpu.architecture_sm < 110,
                      settings.max_cudagraph_capture_size);
  }
  return rules;
}

}  // namespace fleetsim
