// Step time: sane against the figures of kernels-and-cost-models §3, never under the physical
// floor, and the compiled price equal to the explained one.

#include "hw_models/step_time.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "hw_models/operators.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

/// vLLM's list up to 512 tokens (engine-semantics §1.8).
std::vector<std::int64_t> graph_sizes() {
  std::vector<std::int64_t> sizes{1, 2, 4};
  for (std::int64_t n = 8; n <= 248; n += 8) sizes.push_back(n);
  for (std::int64_t n = 256; n <= 512; n += 16) sizes.push_back(n);
  return sizes;
}

LaunchRules graph_rules() {
  LaunchRules rules;
  rules.capture_sizes = graph_sizes();
  rules.host.between_per_request = Seconds{0};  // a claim of its own below
  return rules;
}

BatchShape decodes(std::int64_t requests, std::int64_t context, std::int64_t window = 0) {
  BatchShape shape;
  shape.tokens = shape.sampled_rows = shape.decode_requests = requests;
  shape.decode_context = requests * context;
  shape.decode_window_context = requests * (window > 0 ? std::min(window, context) : context);
  return shape;
}

/// Keys seen by queries c+1 .. c+q when each sees at most w of them.
std::int64_t pairs(std::int64_t q, std::int64_t c, std::int64_t w) {
  std::int64_t sum = 0;
  for (std::int64_t i = 1; i <= q; ++i) sum += std::min(c + i, w);
  return sum;
}

void add_chunk(BatchShape& shape, std::int64_t q, std::int64_t c, std::int64_t window) {
  shape.tokens += q;
  shape.prefill_requests += 1;
  shape.prefill_context += c + q;
  shape.prefill_pairs += q * c + q * (q + 1) / 2;
  shape.prefill_window_pairs += pairs(q, c, window > 0 ? window : c + q);
}

BatchShape random_shape(std::mt19937& random, std::int64_t max_tokens, std::int64_t window) {
  auto draw = [&](std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random() % static_cast<std::uint32_t>(high - low + 1));
  };
  BatchShape shape;
  if (draw(0, 3) > 0) {
    const std::int64_t count = draw(1, std::min<std::int64_t>(300, max_tokens));
    for (std::int64_t i = 0; i < count; ++i) {
      const BatchShape one = decodes(1, draw(2, 9000), window);
      shape.tokens += 1;
      shape.decode_requests += 1;
      shape.sampled_rows += 1;
      shape.decode_context += one.decode_context;
      shape.decode_window_context += one.decode_window_context;
    }
  }
  const std::int64_t chunks = shape.tokens == 0 ? draw(1, 3) : draw(0, 2);
  for (std::int64_t i = 0; i < chunks && shape.tokens < max_tokens; ++i) {
    add_chunk(shape, draw(1, std::min<std::int64_t>(900, max_tokens - shape.tokens)), draw(0, 4000),
              window);
    shape.sampled_rows += draw(0, 1);
  }
  return shape;
}

const ModelSpec& model(const std::string& name) { return *find_model(name); }
const GpuSpec& gpu(const std::string& name) { return *find_gpu(name); }

Precision precision(NumberFormat weights, NumberFormat activations,
                    NumberFormat kv = NumberFormat::bf16) {
  return {weights, activations, kv};
}

double relative(double a, double b) { return std::abs(a / b - 1); }

}  // namespace

TEST_CASE("Llama-3.1-8B on H200 decodes within 25 % of the 4.3 TB/s floors", "[unit]") {
  const StepTime step(model("llama-3.1-8b"), gpu("h200"), {}, 1, graph_rules(), 8192);
  struct Case {
    std::int64_t batch, context;
    double milliseconds;
  };
  for (const Case& c : {Case{64, 2048, 7.5}, Case{128, 4096, 19.5}, Case{256, 1024, 11.5}}) {
    const double ms = step.price(decodes(c.batch, c.context)).total.value * 1e3;
    INFO("batch " << c.batch << " context " << c.context << ": " << ms << " ms");
    CHECK(relative(ms, c.milliseconds) < 0.25);
  }
  const double single = step.price(decodes(1, 2048)).total.value * 1e3;
  CHECK(single > 3.55);
  CHECK(single < 5.5);
}

TEST_CASE("a prefill of 8192 tokens of Llama-3.1-8B takes between 165 and 260 ms on H200",
          "[unit]") {
  const StepTime step(model("llama-3.1-8b"), gpu("h200"), {}, 1, graph_rules(), 8192);
  BatchShape shape;
  add_chunk(shape, 8192, 0, 0);
  shape.sampled_rows = 1;
  const double ms = step.price(shape).total.value * 1e3;
  CHECK(ms > 165);
  CHECK(ms < 260);
  // 114.4 + 17.6 TFLOP, as the table has them (head on one row: 1 GFLOP).
  CHECK(step.useful_flops(shape).value == Approx(114.4e12 + 17.6e12).epsilon(0.002));
}

TEST_CASE("minimum bytes of a decode step are weights without the embedding, and KV", "[unit]") {
  const StepTime step(model("llama-3.1-8b"), gpu("h200"), {}, 1, graph_rules(), 8192);
  CHECK(step.minimum_bytes(decodes(1, 2048)) == Approx(15.28e9).epsilon(0.002));
  CHECK(step.minimum_bytes(decodes(64, 2048)) == Approx(32.2e9).epsilon(0.002));
  CHECK(step.minimum_bytes(decodes(256, 1024)) == Approx(49.4e9).epsilon(0.002));
  CHECK(step.minimum_bytes(decodes(128, 4096)) == Approx(83.7e9).epsilon(0.002));
}

TEST_CASE("compiled and explained prices agree, and none is under the physical floor",
          "[invariant]") {
  std::mt19937 random(7);
  const std::int64_t max_tokens = 2048;
  const Precision precisions[] = {
      {},
      precision(NumberFormat::fp8, NumberFormat::fp8, NumberFormat::fp8),
      precision(NumberFormat::int4, NumberFormat::fp16),
      precision(NumberFormat::fp4, NumberFormat::fp4),
      precision(NumberFormat::int8, NumberFormat::int8)};
  std::int64_t priced = 0, deployments = 0;
  for (const ModelSpec& m : model_catalogue())
    for (const GpuSpec& g : gpu_catalogue())
      for (const std::int64_t tp : {1, 2, 4, 8}) {
        const Precision& p = precisions[random() % 5];
        if (find_pricing_problem(m, g, p, tp)) continue;
        LaunchRules rules = graph_rules();
        rules.enforce_eager = random() % 4 == 0;
        rules.async_scheduling = random() % 2 == 0;
        const StepTime step(m, g, p, tp, rules, max_tokens);
        ++deployments;
        double peak = 0;
        for (const auto& [format, rate] : g.dense_peak) peak = std::max(peak, rate.value);
        for (int i = 0; i < 12; ++i, ++priced) {
          const BatchShape shape = random_shape(random, max_tokens, m.window);
          const Price price = step.price(shape);
          double explained = 0, attention = 0, bytes = 0;
          for (const OperatorCost& cost : step.explain(shape)) {
            explained += cost.time.value;
            bytes += cost.bytes;
            if (cost.group == CostGroup::attention) attention += cost.time.value;
          }
          double groups = price.attention.value + price.host_overhead.value;
          for (const CostGroup group :
               {CostGroup::gemm, CostGroup::communication, CostGroup::elementwise})
            groups += step.group_time(group, shape.tokens, shape.sampled_rows).value;
          const double ranks = static_cast<double>(tp);
          const double floor =
              std::max(step.useful_flops(shape).value / (ranks * peak),
                       step.minimum_bytes(shape) / ranks / g.memory_bandwidth.value);
          INFO(m.name << " on " << g.name << " tp " << tp << " " << name_of(p.weights));
          REQUIRE(relative(explained, price.total.value) < 1e-9);
          REQUIRE(relative(groups, price.total.value) < 1e-9);
          REQUIRE(attention == Approx(price.attention.value).epsilon(1e-9));
          REQUIRE(ranks * bytes >= step.minimum_bytes(shape));
          REQUIRE(price.total.value >= floor);
        }
      }
  CHECK(deployments > 300);
  CHECK(priced > 3600);
}

TEST_CASE("more work never costs less in a graph", "[invariant]") {
  const StepTime step(model("qwen3-30b-a3b"), gpu("h100"), {}, 2, graph_rules(), 4096);
  double previous = 0;
  for (std::int64_t t = 1; t <= 512; ++t) {
    const double now = step.price(decodes(t, 1000)).total.value;
    REQUIRE(now >= previous);
    previous = now;
  }
  CHECK(step.price(decodes(64, 2001)).attention > step.price(decodes(64, 2000)).attention);
}

TEST_CASE("token-dependent operators run at the captured size, attention at the real one",
          "[unit]") {
  const StepTime step(model("qwen3-8b"), gpu("h100"), {}, 1, graph_rules(), 2048);
  for (const CostGroup group : {CostGroup::gemm, CostGroup::elementwise}) {
    CHECK(step.group_time(group, 249, 0) == step.group_time(group, 256, 0));
    CHECK(step.group_time(group, 256, 0) < step.group_time(group, 257, 0));
    CHECK(step.group_time(group, 513, 0) < step.group_time(group, 520, 0));
  }
  CHECK(step.price(decodes(249, 900)).attention < step.price(decodes(256, 900)).attention);
}

TEST_CASE("a request that needs no logits costs no head", "[unit]") {
  const StepTime step(model("qwen3-8b"), gpu("h100"), {}, 1, graph_rules(), 2048);
  BatchShape shape;
  add_chunk(shape, 512, 0, 0);
  const double without = step.price(shape).total.value;
  shape.sampled_rows = 1;
  const double head = step.price(shape).total.value - without;
  // 151,936 x 4,096 weights in 2 bytes at 0.82 of 3.35 TB/s is 453 us.
  CHECK(head > 453e-6);
  CHECK(head < 475e-6);
}

TEST_CASE("the host is hidden behind the GPU when scheduling is asynchronous, else added",
          "[unit]") {
  LaunchRules rules = graph_rules();
  const ModelSpec& m = model("llama-3.1-8b");
  const StepTime async(m, gpu("h200"), {}, 1, rules, 512);
  rules.async_scheduling = false;
  const StepTime sync(m, gpu("h200"), {}, 1, rules, 512);
  const BatchShape large = decodes(256, 1024);
  CHECK(async.price(large).host_overhead.value == 0);
  CHECK(sync.price(large).host_overhead.value == Approx(1e-3 + 256 * 4e-3 / 512));
  CHECK(sync.price(large).total.value - async.price(large).total.value ==
        Approx(1e-3 + 256 * 4e-3 / 512));
  // A model so small that the host is the longer of the two.
  const StepTime tiny(model("qwen2.5-0.5b"), gpu("b200"), {}, 1, graph_rules(), 512);
  const Price price = tiny.price(decodes(256, 100));
  CHECK(price.host_overhead.value > 0);
  CHECK(price.total.value == Approx(1e-3 + 256 * 4e-3 / 512 + 5e-6));
}

TEST_CASE("every request costs the GPU idle time between iterations, hidden or not", "[unit]") {
  LaunchRules rules = graph_rules();
  const ModelSpec& m = model("llama-3.1-8b");
  const double without =
      StepTime(m, gpu("h200"), {}, 1, rules, 512).price(decodes(256, 1024)).total.value;
  rules.host.between_per_request = Seconds{8e-6};
  const Price with = StepTime(m, gpu("h200"), {}, 1, rules, 512).price(decodes(256, 1024));
  CHECK(with.total.value - without == Approx(256 * 8e-6));
  CHECK(with.host_overhead.value == Approx(256 * 8e-6));
}

TEST_CASE("attention of fitted GPUs is tabulated within 2 % of its family", "[unit]") {
  const FittedGpu* fitted = find_fitted("h100-sxm");
  REQUIRE(fitted != nullptr);
  const StepTime step(model("llama-3.1-8b"), gpu("h100"), {}, 1, graph_rules(), 4096, fitted);
  CHECK(step.kind() == "calibrated");
  DecodeAttentionShape one;
  one.query_heads = 32;
  one.kv_heads = 8;
  const OperatorFamily* family = fitted->find(family_of(OperatorShape{one}));
  REQUIRE(family != nullptr);
  for (const std::int64_t batch : {1, 7, 33, 200})
    for (const std::int64_t context : {130, 777, 5000, 60000}) {
      one.batch = static_cast<double>(batch);
      one.context = static_cast<double>(context);
      const double exact = 32 * family->time(work_of(OperatorShape{one})).time.value;
      INFO(batch << " x " << context);
      CHECK(relative(step.price(decodes(batch, context)).attention.value, exact) < 0.02);
    }
}

TEST_CASE("fitted prices explain themselves to the nanosecond, whatever the model", "[invariant]") {
  std::mt19937 random(11);
  std::int64_t priced = 0;
  for (const ModelSpec& m : model_catalogue())
    for (const char* name : {"h100-sxm", "h200-sxm", "b200-sxm", "rtx4090"})
      for (const std::int64_t tp : {1, 8}) {
        const GpuSpec& g = gpu(name);
        if (find_pricing_problem(m, g, {}, tp)) continue;
        const StepTime step(m, g, {}, tp, graph_rules(), 1024, find_fitted(name));
        for (int i = 0; i < 4; ++i, ++priced) {
          const BatchShape shape = random_shape(random, 1024, step.window());
          double explained = 0;
          for (const OperatorCost& cost : step.explain(shape)) explained += cost.time.value;
          INFO(m.name << " on " << name << " tp " << tp);
          REQUIRE(relative(explained, step.price(shape).total.value) < 1e-9);
        }
      }
  CHECK(priced > 400);
}

TEST_CASE("naive attention, unfused kernels and eager execution each cost time", "[unit]") {
  const FittedGpu* fitted = find_fitted("h100-sxm");
  const ModelSpec& m = model("llama-3.1-8b");
  BatchShape prompt;
  add_chunk(prompt, 4096, 0, 0);
  prompt.sampled_rows = 1;
  const auto seconds = [&](const LaunchRules& rules, const BatchShape& shape) {
    return StepTime(m, gpu("h100"), {}, 1, rules, 4096, fitted).price(shape).total.value;
  };
  const double plain = seconds(graph_rules(), prompt);
  LaunchRules rules = graph_rules();
  rules.attention_backend = AttentionBackend::fa2;
  const double fa2 = seconds(rules, prompt);
  rules.attention_backend = AttentionBackend::naive;
  const double naive = seconds(rules, prompt);
  CHECK(fa2 > plain);
  CHECK(naive > fa2);
  rules = graph_rules();
  rules.fused = false;
  CHECK(seconds(rules, prompt) > plain);
  rules = graph_rules();
  rules.enforce_eager = true;
  CHECK(seconds(rules, decodes(8, 500)) > 1.5 * seconds(graph_rules(), decodes(8, 500)));
}

TEST_CASE("experts shared out over the ranks cost the same weights and the busiest rank's rows",
          "[unit]") {
  const FittedGpu* fitted = find_fitted("h200-sxm");
  const ModelSpec& m = model("qwen3-235b-a22b");
  const Precision fp8 = precision(NumberFormat::fp8, NumberFormat::fp8);
  LaunchRules uneven = graph_rules(), even = graph_rules();
  even.routing_skew = 0;
  uneven.routing_skew = 1.0;
  const auto gemm = [&](const LaunchRules& rules, const Sharding& sharding, std::int64_t tokens) {
    return StepTime(m, gpu("h200"), fp8, sharding, rules, 4096, fitted)
        .group_time(CostGroup::gemm, tokens, 0)
        .value;
  };
  CHECK(gemm(uneven, {4, 1}, 32) < gemm(even, {4, 1}, 32));      // fewer experts are read
  CHECK(gemm(uneven, {4, 4}, 4096) > gemm(even, {4, 4}, 4096));  // the busiest rank decides
  CHECK(find_pricing_problem(m, gpu("h200"), fp8, {4, 2}).has_value());
  CHECK(find_pricing_problem(model("llama-3.1-8b"), gpu("h200"), {}, {4, 4}).has_value());
}

TEST_CASE("top-p sampling sorts the rows that are sampled, where the model asks for it", "[unit]") {
  LaunchRules asked = graph_rules();
  asked.model_sampling = true;
  const auto total = [&](const char* name, const LaunchRules& rules, const BatchShape& shape) {
    return StepTime(model(name), gpu("h100"), {}, 1, rules, 2048, find_fitted("h100-sxm"))
        .price(shape)
        .total.value;
  };
  const auto added = [&](const char* name, const BatchShape& shape) {
    return total(name, asked, shape) - total(name, graph_rules(), shape);
  };
  CHECK(added("llama-3.1-8b", decodes(1, 500)) == Approx(0.5e-3).epsilon(0.05));
  // as many rows more as there are requests more, each about 8 us
  CHECK(added("llama-3.1-8b", decodes(65, 500)) - added("llama-3.1-8b", decodes(1, 500)) ==
        Approx(64 * 8e-6).epsilon(0.1));
  CHECK(added("qwen3-8b", decodes(64, 500)) == 0);  // its publisher's file is not known here
}

TEST_CASE("what lies between router and experts grows with tokens and chosen experts alone",
          "[unit]") {
  const auto choice = [&](const char* name, std::int64_t ranks, std::int64_t tokens) {
    KernelPlan plan;
    plan.tp = ranks;
    plan.fitted = find_fitted("h200-sxm");
    const OperatorList list = list_operators(model(name), gpu("h200"), {}, plan);
    for (const RowOperator& op : list.rows)
      if (op.name == "expert choice")
        return launch_cost(op, tokens).time.value - launch_cost(op, 1).time.value;
    FAIL("no expert choice in " + std::string(name));
    return 0.0;
  };
  const double k8 = choice("qwen3-235b-a22b", 4, 8193);  // 8 experts a token
  CHECK(k8 > 8192 * 8 * 10e-9);
  CHECK(choice("qwen3-235b-a22b", 8, 8193) == k8);
  CHECK(k8 > 1.8 * choice("gpt-oss-120b", 4, 8193));  // 4 experts a token
}

TEST_CASE("experts whose kernel has a known ceiling are no faster than it", "[unit]") {
  LaunchRules capped = graph_rules();
  capped.age.fp4_experts_rate = FlopsPerSecond{176e12};
  const Precision fp4 = precision(NumberFormat::fp4, NumberFormat::bf16);
  const auto gemm = [&](const LaunchRules& rules, std::int64_t tokens) {
    return StepTime(model("gpt-oss-120b"), gpu("h100"), fp4, 2, rules, 8192,
                    find_fitted("h100-sxm"))
        .group_time(CostGroup::gemm, tokens, 0)
        .value;
  };
  const double flops = 36.0 * 4 * 6 * 2880 * 2880 / 2;  // a token and GPU
  CHECK(gemm(capped, 8192) > 8192 * flops / 176e12);
  CHECK(gemm(graph_rules(), 8192) < 8192 * flops / 176e12);
  CHECK(gemm(capped, 16) == gemm(graph_rules(), 16));  // reading weights decides
}

TEST_CASE("eager execution is at least as slow as its launches", "[unit]") {
  LaunchRules eager = graph_rules();
  eager.enforce_eager = true;
  const StepTime step(model("qwen2.5-0.5b"), gpu("b200"), {}, 1, eager, 512);
  const StepTime graph(model("qwen2.5-0.5b"), gpu("b200"), {}, 1, graph_rules(), 512);
  const double launches = 24 * 9;  // layers x (4 GEMMs, attention, rope, 2 norms, activation)
  CHECK(step.price(decodes(1, 10)).total.value > 5e-6 * launches);
  CHECK(step.price(decodes(1, 10)).total > graph.price(decodes(1, 10)).total);
}

TEST_CASE("low precision is cheaper where the GPU has it, weight-only and said aloud where not",
          "[unit]") {
  const ModelSpec& m = model("llama-3.1-8b");
  const Precision fp8 = precision(NumberFormat::fp8, NumberFormat::fp8);
  const StepTime on_h100(m, gpu("h100"), fp8, 1, graph_rules(), 4096);
  const StepTime h100_bf16(m, gpu("h100"), {}, 1, graph_rules(), 4096);
  const StepTime on_a100(m, gpu("a100"), fp8, 1, graph_rules(), 4096);
  const StepTime a100_bf16(m, gpu("a100"), {}, 1, graph_rules(), 4096);
  BatchShape prefill;
  add_chunk(prefill, 4096, 0, 0);
  const auto gemm = [](const StepTime& step, std::int64_t tokens) {
    return step.group_time(CostGroup::gemm, tokens, 0).value;
  };
  CHECK(gemm(on_h100, 4096) < 0.85 * gemm(h100_bf16, 4096));
  CHECK(gemm(on_a100, 4096) == Approx(gemm(a100_bf16, 4096)).epsilon(0.01));  // math at bf16 rate
  CHECK(gemm(on_a100, 1) < 0.6 * gemm(a100_bf16, 1));                         // bytes of fp8
  const auto says = [](const StepTime& step, const std::string& part) {
    return std::any_of(step.notes().begin(), step.notes().end(), [&](const std::string& note) {
      return note.find(part) != std::string::npos;
    });
  };
  CHECK(says(on_a100, "a100-80gb-sxm has no fp8"));
  CHECK_FALSE(says(on_h100, "weight-only"));
  const Precision w4a16 = precision(NumberFormat::int4, NumberFormat::bf16);
  const StepTime int4(m, gpu("h100"), w4a16, 1, graph_rules(), 4096);
  CHECK(says(int4, "W4A16"));
  CHECK(gemm(int4, 4096) == Approx(gemm(h100_bf16, 4096)).epsilon(0.01));
  CHECK(gemm(int4, 1) < 0.4 * gemm(h100_bf16, 1));
  const Precision fp4 = precision(NumberFormat::fp4, NumberFormat::fp4);
  CHECK(says(StepTime(m, gpu("h100"), fp4, 1, graph_rules(), 64), "h100-sxm has no fp4"));
  CHECK_FALSE(says(StepTime(m, gpu("b200"), fp4, 1, graph_rules(), 64), "weight-only"));
}

TEST_CASE("what cannot be priced is said in one line", "[unit]") {
  const auto problem = [](const std::string& m, std::int64_t tp, const Precision& p = {}) {
    return find_pricing_problem(model(m), gpu("h100"), p, tp).value_or("");
  };
  CHECK(problem("qwen2.5-0.5b", 4) ==
        "tp 4 does not divide the 14 attention heads of qwen2.5-0.5b");
  CHECK(problem("llama-3.1-8b", 16) ==
        "tp 16 leaves the node: all-reduce is known among at most 8 GPUs");
  CHECK(problem("llama-3.1-8b", 1, precision(NumberFormat::bf16, NumberFormat::fp8)) ==
        "activations fp8 with weights bf16: fp8 activations need fp8 weights");
  CHECK(problem("llama-3.1-8b", 1, precision(NumberFormat::int4, NumberFormat::int4)) ==
        "activations int4 with weights int4: int4 is weight-only (W4A16); use bf16 or fp16 "
        "activations");
  CHECK(problem("llama-3.1-8b", 1, precision(NumberFormat::fp32, NumberFormat::bf16)) ==
        "weights fp32 with activations bf16: fp32 runs only with fp32");
  CHECK(problem("llama-3.1-8b", 1,
                precision(NumberFormat::bf16, NumberFormat::bf16, NumberFormat::int4)) ==
        "kv_cache int4: no engine modelled here keeps KV in it");
  CHECK(problem("qwen3-30b-a3b", 8) == "");  // 4 KV heads on 8 ranks: replicated
  CHECK(problem("qwen2.5-0.5b", 1,
                precision(NumberFormat::fp32, NumberFormat::fp32, NumberFormat::fp32)) == "");
}

TEST_CASE("all-reduce follows the measured curves", "[unit]") {
  const AllReduceCurve eight = all_reduce_curve(gpu("h200"), 8);
  CHECK(curve_time(eight.points, 1048576).value == Approx(13.1e-6));
  CHECK(curve_time(eight.points, 10).value == Approx(3.7e-6));
  CHECK(curve_time(eight.points, 536870912).value == Approx(2029e-6));
  CHECK(curve_time(eight.points, 2.0 * 536870912) > Seconds{2 * 1800e-6});
  CHECK(curve_time(eight.points, 2.5 * 1048576).value == Approx(22.55e-6));  // halfway 1 to 4 MiB
  const AllReduceCurve four = all_reduce_curve(gpu("h200"), 4);
  CHECK(curve_time(four.points, 1048576).value == Approx(9.5e-6));  // log2: halfway of 5.9 and 13.1
  for (const GpuSpec& g : gpu_catalogue())
    for (const std::int64_t n : {2, 4, 8}) {
      const AllReduceCurve curve = all_reduce_curve(g, n);
      const double link = g.nvlink_per_direction.value_or(g.pcie_per_direction).value;
      for (double bytes = 1024; bytes < 2e9; bytes *= 1.7) {
        INFO(g.name << " x" << n << " " << bytes);
        // In-network reduction sends every byte once: nothing can be faster than that.
        REQUIRE(curve_time(curve.points, bytes).value > bytes / link * (1 - 1.0 / double(n)));
        REQUIRE(curve_time(curve.points, bytes) <= curve_time(curve.points, bytes * 1.7));
      }
    }
  // Two all-reduces a layer and one behind the embedding, 2TH bytes each.
  const StepTime step(model("llama-3.1-8b"), gpu("h200"), {}, 8, graph_rules(), 2048);
  CHECK(step.group_time(CostGroup::communication, 128, 0).value == Approx(65 * 13.1e-6));
}

TEST_CASE("experts read grow with the batch as the uniform law says", "[unit]") {
  CHECK(std::lround(distinct_experts(256, 8, 1)) == 8);
  CHECK(std::lround(distinct_experts(256, 8, 8)) == 57);
  CHECK(std::lround(distinct_experts(256, 8, 32)) == 163);
  CHECK(std::lround(distinct_experts(256, 8, 128)) == 252);
  CHECK(std::lround(distinct_experts(128, 4, 8)) == 29);
  CHECK(std::lround(distinct_experts(128, 4, 32)) == 82);
  CHECK(std::lround(distinct_experts(128, 4, 128)) == 126);
  const StepTime step(model("qwen3-30b-a3b"), gpu("h100"), {}, 1, graph_rules(), 512);
  const double one = step.minimum_bytes(decodes(1, 16)), all = step.minimum_bytes(decodes(512, 16));
  CHECK(one ==
        Approx(2 * (3.35e9 - 0.31e9)).epsilon(0.02));  // active weights without the embedding
  CHECK(all > 60e9);
}

TEST_CASE("sliding-window layers stop paying for the context", "[unit]") {
  const ModelSpec& m = model("gpt-oss-120b");
  const StepTime step(m, gpu("h100"), {}, 1, graph_rules(), 512);
  CHECK(step.window() == 128);
  const double short_kv = step.minimum_bytes(decodes(1, 1000, 128));
  const double long_kv = step.minimum_bytes(decodes(1, 2000, 128));
  CHECK(long_kv - short_kv == Approx(1000 * 36864.0));
  // A sum over iterations may hold more decodes than the one token it is asked with.
  BatchShape sums = decodes(100, 1000, 128);
  sums.tokens = sums.sampled_rows = 1;
  BatchShape none;
  none.tokens = none.sampled_rows = 1;
  CHECK(step.minimum_bytes(sums) - step.minimum_bytes(none) ==
        Approx(100 * (1000 + 128) * 36864.0));
  // All of it below the window grows on every layer.
  CHECK(step.minimum_bytes(decodes(1, 100, 128)) - step.minimum_bytes(decodes(1, 50, 128)) ==
        Approx(50 * 73728.0));
}

TEST_CASE("the linear cost model is what it says", "[unit]") {
  const StepTime fixed = StepTime::linear({0.01}, {0}, {0});
  CHECK(fixed.kind() == "fixed");
  CHECK(fixed.price(decodes(100, 5000)).total.value == 0.01);
  const StepTime linear = StepTime::linear({5e-3}, {20e-6}, {30e-9});
  CHECK(linear.kind() == "linear");
  BatchShape shape = decodes(2, 500);
  add_chunk(shape, 10, 90, 0);
  CHECK(linear.price(shape).total.value == Approx(5e-3 + 12 * 20e-6 + 1100 * 30e-9));
  CHECK(linear.price(shape).attention.value == Approx(1100 * 30e-9));
  double explained = 0;
  for (const OperatorCost& cost : linear.explain(shape)) explained += cost.time.value;
  CHECK(explained == Approx(linear.price(shape).total.value));
}

TEST_CASE("shapes outside the valid range are our fault and say so", "[unit]") {
  const StepTime step(model("qwen3-0.6b"), gpu("h100"), {}, 1, graph_rules(), 64);
  CHECK_THROWS_AS(step.price(decodes(65, 10)), InternalError);
  CHECK_THROWS_AS(step.price(BatchShape{}), InternalError);
  CHECK_THROWS_AS(step.group_time(CostGroup::attention, 1, 1), InternalError);
}
