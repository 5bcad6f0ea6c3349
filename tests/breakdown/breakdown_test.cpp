// Memory to the byte, FLOPs by the formulas of kernels-and-cost-models §3, sums that close,
// verdicts that are known beforehand.

#include "sim/breakdown/breakdown.h"

#include <cmath>

#include "tests/breakdown/taken_apart.h"

#include "tests/catch.h"

using namespace fleetsim;
using example::find_operator;
using example::take_apart;
using example::TakenApart;

namespace {

bool near(double a, double b, double share = 1e-9) {
  return std::fabs(a - b) <= share * std::max(std::fabs(a), std::fabs(b));
}

void check_memory_closes(const Breakdown& b) {
  Bytes weights{};
  for (const WeightPart& part : b.memory.weights) weights = weights + part.bytes;
  CHECK(weights == b.memory.stored_weights);
  const MemoryPlan& plan = b.memory.plan;
  CHECK(weights + b.memory.rotary_table == plan.weights);
  CHECK(plan.weights + plan.kv_cache + plan.activations + plan.cuda_graphs + plan.non_torch +
            plan.free ==
        plan.total);
  CHECK(b.memory.kv_of_batch <= plan.kv_cache);
}

void check_times_close(const PhaseBreakdown& phase) {
  double seconds = 0, share = 0, flops = 0, bytes = 0, bounds = 0, groups = 0;
  for (const OperatorShare& one : phase.operators) {
    seconds += one.cost.time.value;
    share += one.share;
    flops += one.cost.flops.value;
    bytes += one.cost.bytes;
    CHECK(one.mfu <= 1);
    CHECK(one.mbu <= 1.0001);  // rows under the physical floor would show here
  }
  for (const double one : phase.share_by_bound) bounds += one;
  for (const Seconds one : phase.by_group) groups += one.value;
  CHECK(near(seconds, phase.time.value));
  CHECK(near(groups, phase.time.value));
  CHECK(near(share, 1));
  CHECK(near(bounds, 1));
  CHECK(near(flops, phase.flops.value));
  CHECK(near(bytes, phase.bytes));
}

}  // namespace

TEST_CASE("memory of Llama-3.1-8B on an H100 is the model's own, byte for byte", "[breakdown]") {
  const TakenApart apart = take_apart({8, 1000, 500});
  REQUIRE(apart.faults.empty());
  const MemoryBreakdown& memory = apart.breakdown.memory;
  CHECK(memory.stored_weights.value == 2 * 8'030'261'248);
  CHECK(memory.parameters == 8'030'261'248);
  check_memory_closes(apart.breakdown);
  const auto bytes_of = [&](const std::string& name) {
    for (const WeightPart& part : memory.weights)
      if (part.name == name) return part.bytes.value;
    return std::int64_t{0};
  };
  CHECK(bytes_of("qkv projection") == 32LL * 4096 * (32 + 8 + 8) * 128 * 2);
  CHECK(bytes_of("down projection") == 32LL * 14336 * 4096 * 2);
  CHECK(bytes_of("head") == 128256LL * 4096 * 2);
  CHECK(memory.kv.per_token.value == 131'072);
  CHECK(memory.kv.per_token_and_layer.value == 4'096);
  CHECK(memory.kv.blocks == 63);  // 1000 tokens in blocks of 16
  CHECK(memory.kv_of_batch.value == 8LL * 63 * 16 * 131'072);
}

TEST_CASE("weights add up to the byte with scales, shards, experts and a head that is shared",
          "[breakdown]") {
  using Sets = std::vector<std::string>;
  for (const Sets& sets : {
           Sets{"model=llama-3.1-70b", "fleet.pools.main.parallelism.tp=8"},
           Sets{"model=llama-3.1-70b", "precision.weights=int4",
                "fleet.pools.main.parallelism.tp=2"},
           Sets{"model=qwen3-0.6b"},
           Sets{"model=gpt-oss-120b", "fleet.pools.main.parallelism.tp=2"},
           Sets{"model=qwen3-30b-a3b", "precision.weights=fp8", "precision.activations=fp8"},
       }) {
    const TakenApart apart = take_apart({2, 512, 512}, sets);
    CAPTURE(sets.front(), apart.faults);
    REQUIRE(apart.faults.empty());
    check_memory_closes(apart.breakdown);
    check_times_close(apart.breakdown.prefill);
    check_times_close(apart.breakdown.decode);
  }
}

TEST_CASE("FLOPs are those of the formulas: 2TKN a product, 4hd a pair of attention",
          "[breakdown]") {
  const std::int64_t prompt = 2048, batch = 16, context = 3000;
  const TakenApart apart = take_apart({batch, context, prompt});
  REQUIRE(apart.faults.empty());
  const Breakdown& b = apart.breakdown;
  const auto flops_of = [](const PhaseBreakdown& phase, const std::string& name) {
    const OperatorShare* one = find_operator(phase, name);
    REQUIRE(one != nullptr);
    return one->cost.flops.value;
  };
  const double t = static_cast<double>(prompt), rows = static_cast<double>(batch);
  CHECK(near(flops_of(b.prefill, "qkv projection"), 32 * 2 * t * 4096 * 6144));
  CHECK(near(flops_of(b.prefill, "gate-up projection"), 32 * 2 * t * 4096 * 2 * 14336));
  CHECK(near(flops_of(b.prefill, "prefill attention"), 32 * 4.0 * 32 * 128 * t * (t + 1) / 2));
  CHECK(near(flops_of(b.prefill, "head"), 2.0 * 4096 * 128256));  // one row
  CHECK(near(flops_of(b.decode, "down projection"), 32 * 2 * rows * 14336 * 4096));
  CHECK(near(flops_of(b.decode, "head"), 2.0 * rows * 4096 * 128256));
  CHECK(near(flops_of(b.decode, "decode attention"),
             32 * 4.0 * 32 * 128 * rows * static_cast<double>(context)));
  // a decoded token: 13.96 G in the layers (kernels-and-cost-models §3), logits, attention
  CHECK(near(b.request.linear_flops, 13.96e9, 1e-3));
  CHECK(near(b.request.head_flops, 2.0 * 4096 * 128256));
  CHECK(near(b.request.attention_flops, 32 * 4.0 * 32 * 128 * static_cast<double>(context)));
  CHECK(near(b.request.flops() * rows, b.decode.useful_flops.value));
}

TEST_CASE("a rank of Llama-3.1-70B does its share of the FLOPs", "[breakdown]") {
  const TakenApart apart =
      take_apart({4, 1024, 1024}, {"model=llama-3.1-70b", "fleet.pools.main.parallelism.tp=8"});
  REQUIRE(apart.faults.empty());
  const OperatorShare* up = find_operator(apart.breakdown.prefill, "gate-up projection");
  REQUIRE(up != nullptr);
  CHECK(near(up->cost.flops.value, 80 * 2 * 1024.0 * 8192 * 2 * 28672 / 8));
  CHECK(near(apart.breakdown.request.linear_flops, 136.9e9, 1e-3));
  CHECK(near(apart.breakdown.decode.mfu, apart.breakdown.decode.useful_flops.value /
                                             (8 * 989e12 * apart.breakdown.decode.time.value)));
}

TEST_CASE("parts add up to the price of the iteration", "[breakdown]") {
  const TakenApart apart = take_apart({32, 2048, 2048});
  REQUIRE(apart.faults.empty());
  const Breakdown& b = apart.breakdown;
  check_times_close(b.prefill);
  check_times_close(b.decode);
  const StepTime& step = *b.deployment.step_time;
  // compiled prices of attention may be tables, explained ones are not
  CHECK(near(b.decode.time.value, step.price(decode_shape(step, 32, 2048)).total.value, 0.02));
  CHECK(near(b.prefill.time.value, step.price(prefill_shapes(step, 2048, 8192)[0]).total.value,
             0.02));
}

TEST_CASE("a prompt beyond the token budget is prefilled in chunks that see what was cached",
          "[breakdown]") {
  const TakenApart apart = take_apart({1, 20000, 20000});
  REQUIRE(apart.faults.empty());
  const StepTime& step = *apart.breakdown.deployment.step_time;
  const std::vector<BatchShape> chunks = prefill_shapes(step, 20000, 8192);
  REQUIRE(chunks.size() == 3);
  CHECK(apart.breakdown.prefill.iterations == 3);
  CHECK(apart.breakdown.prefill.tokens == 20000);
  std::int64_t pairs = 0;
  for (const BatchShape& chunk : chunks) pairs += chunk.prefill_pairs;
  CHECK(pairs == 20000LL * 20001 / 2);
  CHECK(chunks.back().prefill_context == 20000);

  const TakenApart windowed =
      take_apart({1, 3000, 3000}, {"model=gpt-oss-20b",
                                   "fleet.pools.main.engine.max_num_batched_"
                                   "tokens=1000"});
  REQUIRE(windowed.faults.empty());
  const StepTime& sliding = *windowed.breakdown.deployment.step_time;
  REQUIRE(sliding.window() == 128);
  std::int64_t seen = 0;
  for (const BatchShape& chunk : prefill_shapes(sliding, 3000, 1000))
    seen += chunk.prefill_window_pairs;
  std::int64_t expected = 0;
  for (std::int64_t query = 1; query <= 3000; ++query)
    expected += std::min<std::int64_t>(query, 128);
  CHECK(seen == expected);
}

TEST_CASE("decoding one request waits for memory or launches, a prompt of 8k tokens for arithmetic",
          "[breakdown]") {
  for (const char* model : {"llama-3.1-8b", "qwen3-14b"}) {
    const TakenApart apart = take_apart(
        {1, 1024, 8192},
        {std::string("model=") + model, "fleet.pools.main.engine.max_num_batched_tokens=8192"});
    CAPTURE(model, apart.faults);
    REQUIRE(apart.faults.empty());
    int products = 0;
    for (const OperatorShare& one : apart.breakdown.decode.operators) {
      if (one.cost.group != CostGroup::gemm) continue;
      ++products;
      CAPTURE(one.cost.name);
      CHECK((one.bound == Bound::memory || one.bound == Bound::latency));
    }
    CHECK(products >= 5);
    CHECK(apart.breakdown.decode.bound == Bound::memory);
    for (const char* name :
         {"qkv projection", "output projection", "gate-up projection", "down projection"}) {
      const OperatorShare* one = find_operator(apart.breakdown.prefill, name);
      REQUIRE(one != nullptr);
      CHECK(one->bound == Bound::compute);
    }
    CHECK(apart.breakdown.prefill.bound == Bound::compute);
  }
}

TEST_CASE("all-reduces wait for each other when small and for the link when large", "[breakdown]") {
  const TakenApart apart =
      take_apart({1, 512, 8192}, {"model=llama-3.1-70b", "fleet.pools.main.parallelism.tp=4"});
  REQUIRE(apart.faults.empty());
  const char* name = "tensor-parallel all-reduce";
  const OperatorShare* small = find_operator(apart.breakdown.decode, name);
  const OperatorShare* large = find_operator(apart.breakdown.prefill, name);
  REQUIRE(small != nullptr);
  REQUIRE(large != nullptr);
  CHECK(small->bound == Bound::latency);
  CHECK(large->bound == Bound::network);
  CHECK(large->cost.wire_bytes == 160.0 * 8192 * 8192 * 2 * 2 * 3 / 4);
}

TEST_CASE("the batch at which products turn compute-bound is the first one, and what fits fits",
          "[breakdown]") {
  const TakenApart apart = take_apart({32, 2048, 512});
  REQUIRE(apart.faults.empty());
  const DecodeSweeps& sweeps = apart.breakdown.sweeps;
  REQUIRE(sweeps.products_turn_at.has_value());
  // bf16 weights alone would turn at the ridge, 989e12 / 3350e9 = 295; activations move it up
  CHECK(*sweeps.products_turn_at > 295);
  CHECK(*sweeps.products_turn_at < 420);
  CHECK(sweeps.batches.front().batch == 1);
  CHECK(sweeps.batches.back().batch == sweeps.largest_batch);
  CHECK(sweeps.contexts.back().context == sweeps.longest_context);
  CHECK(take_apart({sweeps.largest_batch, 2048, 512}).faults.empty());
  CHECK(take_apart({sweeps.largest_batch + 1, 2048, 512}).faults.find("does not fit") !=
        std::string::npos);
  CHECK(take_apart({32, sweeps.longest_context, 512}).faults.empty());
  CHECK_FALSE(take_apart({32, sweeps.longest_context + 1, 512}).faults.empty());
  for (std::size_t i = 1; i < sweeps.batches.size(); ++i)
    CHECK(sweeps.batches[i].tokens_per_second > sweeps.batches[i - 1].tokens_per_second);
}

TEST_CASE("a batch that does not fit says how many bytes are missing and what would fit",
          "[breakdown]") {
  const TakenApart apart = take_apart({64, 10'000, 512});
  const MemoryPlan& plan = apart.deployment.pools.at(0).memory;
  const std::int64_t missing = (64 * 625 - (plan.blocks - 1)) * plan.block_bytes.value;
  CAPTURE(apart.faults);
  CHECK(apart.faults.find(
            "--batch 64: error: does not fit at context 10000: " + std::to_string(missing) +
            " bytes are missing on each h100-sxm") != std::string::npos);
  CHECK(apart.faults.find("fits at context 10000, context ") != std::string::npos);
  CHECK(apart.faults.find("would hold it: tp: 2") != std::string::npos);
}

TEST_CASE("what the engine or the model does not take is refused under the option's name",
          "[breakdown]") {
  CHECK(take_apart({5000, 100, 100})
            .faults.find("--batch 5000: error: the engine runs at most 1024 requests") !=
        std::string::npos);
  CHECK(take_apart({1, 200'000, 100}).faults.find("--context 200000: error: ") !=
        std::string::npos);
  CHECK(take_apart({1, 100, 200'000}).faults.find("--prompt 200000: error: ") != std::string::npos);
  CHECK(take_apart({1, 100, 100}, {"cost_model={fixed: {iteration: 10ms}}"})
            .faults.find("no hardware that could be taken apart") != std::string::npos);
}

TEST_CASE("a request's KV cache over PCIe takes its bytes at the datasheet's rate", "[breakdown]") {
  const TakenApart apart = take_apart({4, 4096, 512});
  REQUIRE(apart.faults.empty());
  const RequestCosts& costs = apart.breakdown.request;
  CHECK(costs.kv_per_gpu.value == 4096LL * 131'072);
  CHECK(near(costs.swap_one_way.value, 4096.0 * 131'072 / 64e9));
  CHECK(costs.recompute > costs.swap_one_way);
}
