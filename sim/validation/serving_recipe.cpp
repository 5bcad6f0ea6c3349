// Settings by source. Those of `inferencex` are what the launch scripts of the benchmark say
// (github.com/SemiAnalysisAI/InferenceX, benchmarks/, the scripts named below); a row does not say
// which revision of a script ran, so that each taken from one is an assumption as well.

#include "sim/validation/serving_recipe.h"

#include <fmt/format.h>

#include <cmath>

namespace fleetsim {
namespace {

/// The newest version whose rules are known, for rows that name none.
constexpr const char* kNewestVersion = "2026-08";

constexpr std::int64_t kConnectionsOf2025 = 100;

std::int64_t whole(double value) { return std::llround(value); }

/// What a scenario calls the version of a row.
void set_version(const ServiceRow& row, ServingRecipe& recipe) {
  if (row.version.starts_with("nightly 2026-02")) {
    recipe.version = "2026-02";
  } else if (row.version.starts_with("nightly")) {
    recipe.version = row.measured_on;
    recipe.assumptions.push_back("the nightly build is that of the day of the measurement");
  } else if (row.version.empty()) {
    recipe.unknown = "no engine version is published";
    recipe.version = row.measured_on.empty() ? kNewestVersion : row.measured_on;
    recipe.assumptions.push_back(
        fmt::format("no version is published; the rules of {} are assumed", recipe.version));
  } else {
    recipe.version = row.version;
  }
}

void set_precision(const ServiceRow& row, ServingRecipe& recipe) {
  const bool blackwell = row.gpu.starts_with("b") || row.gpu.starts_with("gb");
  recipe.weights = recipe.activations = recipe.kv_cache = "bf16";
  if (row.precision == "fp8" || row.precision == "FP8") {
    recipe.weights = recipe.activations = "fp8";
  } else if (row.precision == "int4") {
    // the published checkpoint of Kimi: int4 experts, the rest in 16 bits
    if (!row.model.starts_with("kimi")) recipe.weights = "int4";
  } else if (row.precision == "fp4") {
    if (row.model.starts_with("gpt-oss")) {
      // mxfp4 is how its makers store the experts; everything else is bf16
      if (blackwell) recipe.activations = "fp8";  // VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8=1
    } else {
      recipe.weights = "fp4";
      recipe.kv_cache = "fp8";
      recipe.assumptions.push_back(
          "fp8 KV, as NVIDIA's NVFP4 checkpoints ask for (kv_cache_quant_algo); in 16 bits 64 "
          "clients "
          "with 8 k prompts would wait where the rows do not");
      if (row.model.starts_with("kimi")) {  // NVFP4 checkpoints of it quantise the experts alone
        recipe.weights = "bf16";
        recipe.experts = "fp4";
      }
      recipe.activations = blackwell ? "fp4" : "bf16";
    }
  } else if (row.precision == "FP16" || row.precision == "fp16") {
    recipe.assumptions.push_back("fp16 is priced as bf16: same bytes, same rates");
  }
  if (!row.kv_format.empty()) recipe.kv_cache = row.kv_format;
}

/// The context that the scripts ask for: lengths and a little more.
std::int64_t context_of(const ServiceRow& row) {
  const double isl = row.prompt_tokens.value_or(0), osl = row.output_tokens.value_or(0);
  return whole(isl + osl) + (isl == 1024 && osl == 1024 ? 20 : 200);
}

void inferencex_llama(const ServiceRow& row, ServingRecipe& recipe) {
  // the data's README
  recipe.max_num_batched_tokens = 8192;
  recipe.max_num_seqs = row.clients;
  recipe.max_model_len = 10240;
  recipe.gpu_memory_utilization = 0.9;
  recipe.async_scheduling = true;
}

void inferencex_gpt_oss(const ServiceRow& row, ServingRecipe& recipe) {
  recipe.max_num_batched_tokens = 8192;
  recipe.gpu_memory_utilization = 0.9;
  recipe.async_scheduling = true;
  recipe.max_cudagraph_capture_size = 2048;
  if (row.gpu == "b200") {
    recipe.kv_cache = "fp8";
    recipe.max_num_seqs = 512;
    recipe.max_model_len = context_of(row);
    recipe.assumptions.push_back("settings and fp8 KV as in gptoss_fp4_b200.sh");
  } else {
    recipe.max_num_seqs = row.clients;
    recipe.max_model_len = 10240;
    recipe.assumptions.push_back("settings and bf16 KV as in gptoss_fp4_h100.sh");
  }
  // Rows of 2025 with 512 clients have 88 to 98 requests in flight by Little's law, whatever the
  // GPUs: the benchmark's HTTP client opened 100 connections (aiohttp's default) and the others
  // waited for one, which counts into TTFT. Seats do the same. Rows of 2026 have all clients in
  // flight.
  if (row.clients.value_or(0) > kConnectionsOf2025 && row.measured_on < "2026") {
    recipe.max_num_seqs = kConnectionsOf2025;
    recipe.assumptions.push_back("the client of 2025 held at most 100 connections");
    recipe.unknown = "what kept most of the 512 clients waiting is not published";
  }
}

void inferencex_minimax(const ServiceRow& row, ServingRecipe& recipe) {
  recipe.max_model_len = context_of(row);
  if (row.gpu == "h100") {
    recipe.gpu_memory_utilization = 0.9;
    recipe.max_num_seqs = 256;
    recipe.assumptions.push_back("settings as in minimaxm2.5_fp8_h100.sh");
    return;
  }
  if (row.gpu == "h200") {
    recipe.gpu_memory_utilization = 0.95;
    recipe.max_num_seqs = 512;
    recipe.assumptions.push_back("memory share and seats as in minimaxm2.5_fp8_h200.sh");
    return;
  }
  if (row.version != "0.17.0") {
    // About 103 requests of 8192/1024 are in flight where 128 and 256 clients ask two B200 for the
    // fp8 model (Little's law): twice what a bf16 cache has room for.
    recipe.kv_cache = "fp8";
    recipe.assumptions.push_back("fp8 KV, as the later scripts say and the room in memory shows");
  }
  if (row.precision == "fp4") {
    recipe.gpu_memory_utilization = 0.9;
    recipe.max_num_seqs = row.clients;
    recipe.assumptions.push_back("settings as in minimaxm2.5_fp4_b200.sh");
    return;
  }
  recipe.gpu_memory_utilization = 0.95;
  recipe.block_size = 32;
  recipe.assumptions.push_back("settings as in minimaxm2.5_fp8_b200.sh");
  if (row.gpu == "b200" && row.measured_on < "2026-04-10" && recipe.ep < recipe.tp) {
    // The script of March passed --enable-expert-parallel whatever the label said; rows that differ
    // in the label alone agree within 1 %.
    recipe.ep = recipe.tp;
    recipe.assumptions.push_back(
        "experts are spread over all GPUs, as the script of its time did whatever the label says");
  }
}

void inferencex_kimi(const ServiceRow& row, ServingRecipe& recipe) {
  recipe.max_model_len = context_of(row);
  recipe.max_num_seqs = row.clients;
  recipe.gpu_memory_utilization = row.precision == "int4" ? 0.95 : 0.9;
  recipe.assumptions.push_back(
      fmt::format("settings as in kimik2.5_{}_{}.sh", row.precision, row.gpu));
}

void set_engine(const ServiceRow& row, ServingRecipe& recipe) {
  if (row.source == "inferencex") {
    recipe.prefix_caching = false;
    if (row.model.starts_with("llama")) inferencex_llama(row, recipe);
    if (row.model.starts_with("gpt-oss")) inferencex_gpt_oss(row, recipe);
    if (row.model.starts_with("minimax")) inferencex_minimax(row, recipe);
    if (row.model.starts_with("kimi")) inferencex_kimi(row, recipe);
  } else if (row.source == "inferencex-exp") {
    recipe.assumptions.push_back(
        "the engine's defaults, as in experimental/token_position_decode_slo/*/serve_*.sh");
    recipe.gpu_memory_utilization = 0.9;
  } else if (row.source == "nvidia-aic-e2e") {
    recipe.unknown = "neither settings nor the number and repetition of prompts are published";
    recipe.assumptions.push_back("the engine's defaults, 10 requests a client, no prompt twice");
    recipe.prefix_caching = false;
  } else if (row.source == "vllm-openloop") {
    recipe.max_num_batched_tokens = row.max_num_batched_tokens;
    recipe.max_num_seqs = 128;
    recipe.max_model_len = 4096;
    recipe.api_base = "6ms";  // inference-perf's clients; fitted on their first tokens
    recipe.gpu_memory_utilization = row.gpu_memory_utilization.value_or(0.9);
    recipe.prefix_caching = true;
    if (!row.gpu_memory_utilization)
      recipe.assumptions.push_back("gpu_memory_utilization is not published; 0.9 is assumed");
  }
}

}  // namespace

ServingRecipe serving_recipe(const ServiceRow& row) {
  ServingRecipe recipe;
  recipe.tp = row.tp.value_or(1);
  recipe.ep = row.ep.value_or(1);
  set_version(row, recipe);
  set_precision(row, recipe);
  set_engine(row, recipe);
  recipe.greedy = row.source != "vllm-openloop";  // inference-perf leaves it to the model
  return recipe;
}

}  // namespace fleetsim
