// Memory to KV blocks: the published start-up log of Qwen3-8B-FP8 and the laws of a plan.

#include "hw_models/kv_memory.h"

#include <cmath>

#include "tests/catch.h"

using namespace fleetsim;

namespace {

Bytes gib(double n) { return {std::llround(n * 1073741824.0)}; }

/// Of one layer and block of Qwen3-8B in 16 bits.
Bytes qwen_page() {
  return 16 * find_model("qwen3-8b")->kv_bytes_per_token_per_layer(NumberFormat::fp16, 1);
}

}  // namespace

TEST_CASE("9,232,221,491 bytes of KV are 62,608 tokens and 61.14 requests of 1,024", "[unit]") {
  const std::int64_t blocks = kv_blocks({9232221491}, qwen_page(), 36);
  CHECK(blocks == 3913);
  CHECK(blocks * 16 == 62608);
  CHECK(std::round(100 * maximum_concurrency(blocks * 16, 1024)) == 6114);
}

TEST_CASE("the log's rounded parts give the same pool within 0.1 %", "[unit]") {
  MemoryParts parts;
  parts.total = gib(23.53);
  parts.gpu_memory_utilization = 0.8;
  parts.weights = gib(8.80);
  parts.activations = gib(1.40);
  parts.non_torch = gib(0.02);
  const Bytes kv = kv_budget(parts);
  CHECK(static_cast<double>(kv.value) == Approx(9232221491.0).epsilon(0.001));
  CHECK(static_cast<double>(16 * kv_blocks(kv, qwen_page(), 36)) == Approx(62608.0).epsilon(0.001));
}

TEST_CASE("the estimates reproduce the log: activations, CUDA graphs, non-torch, pool", "[unit]") {
  GpuSpec card = *find_gpu("rtx4090");
  card.memory_reported = gib(23.53);
  MemoryRequest request;
  request.gpu_memory_utilization = 0.8;
  request.graphs_inside_budget = false;
  request.max_num_batched_tokens = 2048;
  request.max_num_seqs = 256;
  request.captured_graphs = 67;
  const Precision fp8{NumberFormat::fp8, NumberFormat::fp8, NumberFormat::fp16};
  const MemoryPlan plan = plan_memory(*find_model("qwen3-8b"), card, fp8, request);
  const auto in_gib = [](Bytes bytes) { return static_cast<double>(bytes.value) / 1073741824.0; };
  CHECK(in_gib(plan.weights) == Approx(8.80).epsilon(0.002));
  CHECK(in_gib(plan.activations) == Approx(1.40).epsilon(0.01));
  CHECK(in_gib(plan.cuda_graphs) == Approx(0.68).epsilon(0.001));
  CHECK(in_gib(plan.non_torch) == Approx(0.02).epsilon(0.001));
  CHECK(static_cast<double>(plan.kv_tokens()) == Approx(62608).epsilon(0.005));
}

TEST_CASE("the parts of a plan add up to the GPU's memory", "[invariant]") {
  for (const ModelSpec& model : model_catalogue())
    for (const GpuSpec& gpu : gpu_catalogue())
      for (const std::int64_t tp : {1, 2, 4, 8})
        for (const bool inside : {true, false}) {
          MemoryRequest request;
          request.tp = tp;
          request.graphs_inside_budget = inside;
          request.gpu_memory_utilization = 0.9;
          const MemoryPlan plan = plan_memory(model, gpu, {}, request);
          INFO(model.name << " on " << gpu.name << " tp " << tp);
          REQUIRE(plan.requested.value ==
                  static_cast<std::int64_t>(std::ceil(0.9 * double(plan.total.value))));
          if (plan.missing.value > 0) {
            REQUIRE(plan.free >= Bytes{0});
            continue;
          }
          REQUIRE((plan.weights + plan.activations + plan.cuda_graphs + plan.non_torch +
                   plan.kv_cache + plan.free) == plan.total);
          REQUIRE(plan.blocks >= 2);
          REQUIRE(plan.blocks * plan.block_bytes <= plan.kv_cache);
          REQUIRE((plan.blocks + 1) * plan.block_bytes > plan.kv_cache);
        }
}

TEST_CASE("a model that does not fit says how many bytes are missing", "[unit]") {
  MemoryRequest request;
  const ModelSpec& model = *find_model("llama-3.1-70b");
  const MemoryPlan plan = plan_memory(model, *find_gpu("h100"), {}, request);
  CHECK(plan.blocks == 0);
  const Bytes others = plan.weights + plan.activations + plan.cuda_graphs + plan.non_torch;
  CHECK(plan.missing == others + 2 * plan.block_bytes - plan.requested);
  request.tp = 4;
  CHECK(plan_memory(model, *find_gpu("h100"), {}, request).missing == Bytes{0});
}

TEST_CASE("CUDA graphs shrink the pool only where the release counts them", "[unit]") {
  MemoryRequest request;
  const ModelSpec& model = *find_model("qwen3-14b");
  const GpuSpec& gpu = *find_gpu("h100");
  const MemoryPlan inside = plan_memory(model, gpu, {}, request);
  request.graphs_inside_budget = false;
  const MemoryPlan outside = plan_memory(model, gpu, {}, request);
  CHECK(outside.kv_cache - inside.kv_cache == inside.cuda_graphs);
  CHECK(inside.cuda_graphs == outside.cuda_graphs);
  request.enforce_eager = true;
  CHECK(plan_memory(model, gpu, {}, request).cuda_graphs == Bytes{0});
}

TEST_CASE("overrides decide the pool, and one that does not fit is missing memory", "[unit]") {
  MemoryRequest request;
  const ModelSpec& model = *find_model("qwen3-14b");
  const GpuSpec& gpu = *find_gpu("h100");
  request.num_gpu_blocks_override = 100;
  CHECK(plan_memory(model, gpu, {}, request).blocks == 100);
  CHECK(plan_memory(model, gpu, {}, request).missing == Bytes{0});
  request.num_gpu_blocks_override = 100'000'000;
  CHECK(plan_memory(model, gpu, {}, request).missing > Bytes{0});
  request.num_gpu_blocks_override = 0;
  request.kv_cache_memory_bytes = 10'000'000'000;
  const MemoryPlan plan = plan_memory(model, gpu, {}, request);
  CHECK(plan.kv_cache.value == 10'000'000'000);
  CHECK(plan.blocks == 10'000'000'000 / (16 * 4096) / 40);
}

TEST_CASE("blocks are floor(floor(KV / page) / layers)", "[unit]") {
  CHECK(kv_blocks({99}, {10}, 3) == 3);  // 9 pages
  CHECK(kv_blocks({89}, {10}, 3) == 2);  // 8 pages
  CHECK(kv_blocks({-5}, {10}, 3) == 0);
}

TEST_CASE("windowed layers are a fixed reserve a request, not part of a block", "[unit]") {
  MemoryRequest request;
  const MemoryPlan plan = plan_memory(*find_model("gpt-oss-120b"), *find_gpu("h100"), {}, request);
  CHECK(plan.block_bytes.value == 16 * 36864);
  // A window of 128 tokens touches at most 9 blocks of 16; as many windowed layers as growing ones.
  CHECK(plan.window_blocks_per_request == 9);
  CHECK(plan_memory(*find_model("qwen3-8b"), *find_gpu("h100"), {}, request)
            .window_blocks_per_request == 0);
}

TEST_CASE("linear layers are a fixed reserve a request too, chunked ones are not", "[unit]") {
  MemoryRequest request;
  request.tp = 8;
  const ModelSpec& qwen = *find_model("qwen3.5-397b");
  const MemoryPlan plan = plan_memory(qwen, *find_gpu("b300"), {}, request);
  CHECK(plan.missing == Bytes{0});
  // One of 2 KV heads on a rank: 15 layers x 2 x 256 x 2 bytes x 16 tokens.
  CHECK(plan.block_bytes.value == 16 * 15 * 1024);
  const std::int64_t state = qwen.state_bytes_per_sequence_per_rank(8).value;
  CHECK(plan.window_blocks_per_request == (state + 16 * 15 * 1024 - 1) / (16 * 15 * 1024));
  const MemoryPlan scout =
      plan_memory(*find_model("llama-4-scout"), *find_gpu("b300"), {}, request);
  CHECK(scout.window_blocks_per_request == 0);
  CHECK(scout.block_bytes.value == 16 * 48 * 512);
}
