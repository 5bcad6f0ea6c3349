// The memory of one GPU divided as vLLM does at start-up: budget, minus weights, minus what a dummy
// forward of the largest batch needs, minus CUDA graphs where the release counts them; the rest is
// KV. The estimates of what is not exact are fitted to one published start-up log (Qwen3-8B-FP8,
// vLLM of 2025-09, 24 GB card, max_num_batched_tokens 2048, max_num_seqs 256): weights 8.80 GiB,
// peak activation 1.40, non-torch 0.02, CUDA graphs 0.68 GiB.

#include "hw_models/kv_memory.h"

#include <algorithm>
#include <cmath>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

constexpr double kGiB = 1073741824.0;

/// Sampling stage of the dummy forward, bytes a logit: 16-bit logits 2, fp32 copy 4, sorted values
/// 4, sorted indices 8, the sort's second buffer 12, probabilities 4, cumulative sum 4. It and the
/// hidden states give 1.39 of the log's 1.40 GiB (256 rows x 151,936 logits).
constexpr double kBytesPerLogit = 38;
/// Tensors of one layer alive at once, in activations: residual, norm output, attention in and out,
/// and gate, up and their product. Below the sampling stage unless the token budget is large.
constexpr double kHiddenTensors = 4, kFfnTensors = 3;
/// CUDA graphs: the log's 0.68 GiB over 67 captured sizes x 36 layers.
constexpr double kGraphBytesPerSizeAndLayer = 0.68 * kGiB / (67 * 36);
/// Non-torch memory of the profiling run: the log's 0.02 GiB. The CUDA context (23.08 of 23.53 GiB
/// were free at start) is not subtracted by the engine and lies outside the budget.
constexpr double kNonTorchBytes = 0.02 * kGiB;
/// NCCL and custom all-reduce buffers with tensor parallelism: 1 GiB of the 0.5-2 GB that engines
/// show for context and NCCL together (engine-semantics §1.10).
constexpr double kCollectiveBytes = 1.0 * kGiB;

Bytes whole(double bytes) { return {static_cast<std::int64_t>(std::ceil(bytes))}; }

Bytes estimate_activations(const ModelSpec& model, const Precision& precision,
                           const MemoryRequest& request) {
  const double element = precision.activations == NumberFormat::fp32 ? 4 : 2;
  const double tokens = static_cast<double>(request.max_num_batched_tokens);
  const double hidden = static_cast<double>(model.hidden);
  const double tp = static_cast<double>(request.tp);
  double layer = kHiddenTensors * hidden + kFfnTensors * static_cast<double>(model.ffn) / tp;
  if (model.moe) {
    const auto& moe = *model.moe;
    const double routed = static_cast<double>(moe.experts_per_token) *
                          (kFfnTensors * static_cast<double>(moe.expert_ffn) / tp + hidden);
    layer = std::max(layer, kHiddenTensors * hidden + routed);
  }
  const double rows =
      static_cast<double>(std::min(request.max_num_seqs, request.max_num_batched_tokens));
  const double sampling = rows * static_cast<double>(model.vocab) * kBytesPerLogit;
  return whole(tokens * hidden * element + std::max(tokens * layer * element, sampling));
}

Bytes estimate_graphs(const ModelSpec& model, const MemoryRequest& request) {
  if (request.enforce_eager) return {0};
  return whole(kGraphBytesPerSizeAndLayer * static_cast<double>(request.captured_graphs) *
               static_cast<double>(model.layers));
}

/// Blocks a request keeps whatever its length, in units of a growing block: a sliding window spans
/// at most ceil((W-1)/block)+1 blocks on each windowed layer, linear layers keep their state.
std::int64_t fixed_blocks(const ModelSpec& model, const MemoryRequest& request, Bytes block) {
  std::int64_t blocks = 0;
  if (model.windowed_layers > 0 && !model.chunked_window) {
    const std::int64_t size = request.block_size;
    const std::int64_t span = (model.window - 1 + size - 1) / size + 1;
    const std::int64_t growing = model.kv_layers();
    blocks += (span * model.windowed_layers + growing - 1) / growing;
  }
  const Bytes state = model.state_bytes_per_sequence_per_rank(request.tp);
  return blocks + (state.value + block.value - 1) / block.value;
}

void fill_pool(const ModelSpec& model, const MemoryRequest& request, Bytes available, Bytes page,
               MemoryPlan& plan) {
  const std::int64_t growing = model.kv_layers();
  Bytes wanted = available;
  if (request.kv_cache_memory_bytes > 0) wanted = {request.kv_cache_memory_bytes};
  plan.blocks = kv_blocks(wanted, page, growing);
  if (request.num_gpu_blocks_override > 0) {
    plan.blocks = request.num_gpu_blocks_override;
    wanted = plan.blocks * plan.block_bytes;
  }
  const Bytes others = plan.weights + plan.activations + plan.cuda_graphs + plan.non_torch;
  plan.kv_cache = {std::max<std::int64_t>(0, wanted.value)};
  plan.free = plan.total - others - plan.kv_cache;
  const Bytes smallest = 2 * plan.block_bytes;  // the null block and one more
  if (plan.free < Bytes{0}) plan.missing = Bytes{0} - plan.free;
  if (wanted < smallest) plan.missing = std::max(plan.missing, smallest - wanted);
  plan.free = std::max(plan.free, Bytes{0});
}

}  // namespace

std::int64_t MemoryPlan::kv_tokens() const { return blocks * block_size; }

Bytes requested_memory(Bytes total, double gpu_memory_utilization) {
  CHECK(gpu_memory_utilization > 0 && gpu_memory_utilization <= 1, "gpu_memory_utilization");
  return whole(static_cast<double>(total.value) * gpu_memory_utilization);
}

Bytes kv_budget(const MemoryParts& parts) {
  return requested_memory(parts.total, parts.gpu_memory_utilization) - parts.weights -
         parts.activations - parts.non_torch - parts.cuda_graphs;
}

std::int64_t kv_blocks(Bytes kv_cache, Bytes page_bytes_per_layer, std::int64_t layers) {
  CHECK(page_bytes_per_layer.value > 0 && layers > 0, "page bytes and layers must be positive");
  if (kv_cache.value <= 0) return 0;
  return kv_cache.value / page_bytes_per_layer.value / layers;
}

double maximum_concurrency(std::int64_t kv_tokens, std::int64_t tokens_per_request) {
  CHECK(tokens_per_request >= 1, "tokens per request");
  return static_cast<double>(kv_tokens) / static_cast<double>(tokens_per_request);
}

MemoryPlan plan_memory(const ModelSpec& model, const GpuSpec& gpu, const Precision& precision,
                       const MemoryRequest& request) {
  CHECK(request.tp >= 1 && request.block_size >= 1 && model.kv_layers() >= 1, model.name);
  MemoryPlan plan;
  plan.block_size = request.block_size;
  plan.total = gpu.memory_reported;
  plan.requested = requested_memory(plan.total, request.gpu_memory_utilization);
  plan.weights = model.weight_bytes_per_rank(precision, request.tp) + model.rotary_table_bytes();
  plan.activations = estimate_activations(model, precision, request);
  plan.cuda_graphs = estimate_graphs(model, request);
  plan.non_torch = whole(kNonTorchBytes + (request.tp > 1 ? kCollectiveBytes : 0));
  const Bytes page =
      request.block_size * model.kv_bytes_per_token_per_layer(precision.kv_cache, request.tp);
  plan.block_bytes = model.kv_layers() * page;
  plan.window_blocks_per_request = fixed_blocks(model, request, plan.block_bytes);

  MemoryParts parts;
  parts.total = plan.total;
  parts.gpu_memory_utilization = request.gpu_memory_utilization;
  parts.weights = plan.weights;
  parts.activations = plan.activations;
  parts.non_torch = plan.non_torch;
  if (request.graphs_inside_budget) parts.cuda_graphs = plan.cuda_graphs;
  fill_pool(model, request, kv_budget(parts), page, plan);
  return plan;
}

}  // namespace fleetsim
