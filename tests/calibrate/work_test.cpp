// FLOPs and bytes of a point against the operators that the simulator prices, and floors by hand.

#include "kernels/measure/work.h"

#include <algorithm>
#include <array>
#include <set>

#include "calibrate/chunk_attention.h"
#include "hw_models/operators.h"
#include "hw_models/weight_groups.h"
#include "kernels/measure/physical_floor.h"
#include "kernels/measure/stack_shape.h"
#include "tests/calibrate/synthetic_profile.h"

#include "tests/catch.h"

using namespace fleetsim;
using namespace fleetsim::kernels;

namespace {

constexpr std::int64_t kTokens = 192;

/// Llama 3.1 8B on one H200: what an iteration launches.
OperatorList operators(NumberFormat weights, NumberFormat activations, NumberFormat kv) {
  return list_operators(*find_model("llama-3.1-8b"), *find_gpu("h200"), {weights, activations, kv},
                        KernelPlan{});
}
OperatorList bf16_operators() {
  return operators(NumberFormat::bf16, NumberFormat::bf16, NumberFormat::bf16);
}
const RowOperator& named(const OperatorList& list, const std::string& name) {
  const auto found = std::find_if(list.rows.begin(), list.rows.end(),
                                  [&](const RowOperator& op) { return op.name == name; });
  REQUIRE(found != list.rows.end());
  return *found;
}
const AttentionOperator& attention(const OperatorList& list, bool decode) {
  const auto found = std::find_if(list.attention.begin(), list.attention.end(),
                                  [&](const AttentionOperator& op) { return op.decode == decode; });
  REQUIRE(found != list.attention.end());
  return *found;
}
Work gemm(const char* dtype, std::int64_t m, std::int64_t n, std::int64_t k) {
  return work_of(sound_point("gemm", {{"dtype", dtype},
                                      {"m", std::to_string(m)},
                                      {"n", std::to_string(n)},
                                      {"k", std::to_string(k)},
                                      {"algo", "top"}}));
}
Point::Values heads(const char* kv_dtype) {
  return {{"kv_dtype", kv_dtype},
          {"query_heads", "32"},
          {"kv_heads", "8"},
          {"head_dim", "128"},
          {"page_tokens", "16"}};
}
Point point(const char* op, Point::Values values, const Point::Values& more) {
  values.insert(values.end(), more.begin(), more.end());
  return sound_point(op, values);
}

}  // namespace

TEST_CASE("a GEMM does the work that the simulator prices, in every format", "[unit]") {
  struct Case {
    const char* dtype;
    NumberFormat weights, activations;
  };
  for (const Case& one : {Case{"bf16", NumberFormat::bf16, NumberFormat::bf16},
                          Case{"fp8", NumberFormat::fp8, NumberFormat::fp8},
                          Case{"int8", NumberFormat::int8, NumberFormat::int8},
                          Case{"w4a16", NumberFormat::int4, NumberFormat::bf16}}) {
    CAPTURE(one.dtype);
    const OperatorList list = operators(one.weights, one.activations, NumberFormat::bf16);
    const LaunchCost cost = launch_cost(named(list, "down projection"), kTokens);
    const Work work = gemm(one.dtype, kTokens, 4096, 14336);
    CHECK(work.flops == Approx(cost.flops.value).epsilon(1e-12));
    CHECK(work.bytes == Approx(cost.bytes).epsilon(1e-12));
  }
  // block scales add what §3 says: 4/128 a byte of activations, 4/128^2 a byte of weights
  CHECK(gemm("fp8_block", 128, 256, 512).bytes ==
        Approx(gemm("fp8", 128, 256, 512).bytes + 4.0 * 4 * 2 + 4.0 * 128 * 4));
}

TEST_CASE("attention does the work that the simulator prices", "[unit]") {
  for (const char* kv_dtype : {"bf16", "e4m3"}) {
    CAPTURE(kv_dtype);
    const NumberFormat kv =
        kv_dtype == std::string("e4m3") ? NumberFormat::fp8 : NumberFormat::bf16;
    const AttentionOperator decode =
        attention(operators(NumberFormat::bf16, NumberFormat::bf16, kv), true);
    const Work work =
        work_of(point("decode_attention", heads(kv_dtype), {{"lengths", "1x3000,2x17"}}));
    const double context = 3000 + 2 * 17;
    CHECK(work.flops == Approx(decode.flops_per_pair * context));
    CHECK(work.bytes == Approx(decode.bytes_per_context * context + decode.bytes_per_token * 3));
  }
  const AttentionOperator prefill = attention(bf16_operators(), false);
  const auto prefill_work = [](const char* causal) {
    return work_of(point("prefill_attention", heads("bf16"),
                         {{"new_lengths", "1x100,1x7"},
                          {"cached_lengths", "1x50,1x0"},
                          {"causal", causal},
                          {"window", "0"},
                          {"variant", "best"}}));
  };
  const double pairs = 100 * 50 + 100 * 101 / 2 + 7 * 8 / 2;
  CHECK(prefill_work("1").flops == Approx(prefill.flops_per_pair * pairs));
  CHECK(prefill_work("0").flops == Approx(prefill.flops_per_pair * (100 * 150 + 7 * 7)));
  CHECK(prefill_work("1").bytes ==
        Approx(prefill.bytes_per_context * (150 + 7) + prefill.bytes_per_token * 107));
}

TEST_CASE("a window spares the work that the simulator leaves out, a draft tree what it hides",
          "[unit]") {
  const AttentionOperator prefill = attention(bf16_operators(), false);
  for (const auto& [queries, cached, window] :
       {std::array{100, 50, 30}, {100, 0, 30}, {100, 50, 120}, {7, 3, 10}, {7, 3, 9}, {1, 90, 1}}) {
    CAPTURE(queries, cached, window);
    const ChunkAttention chunk = {static_cast<double>(queries), static_cast<double>(cached),
                                  static_cast<double>(window)};
    const Work work = work_of(point("prefill_attention", heads("bf16"),
                                    {{"new_lengths", "1x" + std::to_string(queries)},
                                     {"cached_lengths", "1x" + std::to_string(cached)},
                                     {"causal", "1"},
                                     {"window", std::to_string(window)},
                                     {"variant", "best"}}));
    CHECK(work.flops == Approx(prefill.flops_per_pair * chunk.pairs()));
    CHECK(work.bytes == Approx(prefill.bytes_per_context * chunk.keys_in_reach() +
                               prefill.bytes_per_token * queries));
  }
  const auto verify = [&](const char* draft) {
    return work_of(point("verify_attention", heads("bf16"),
                         {{"lengths", "2x1000"}, {"draft_tokens", "7"}, {"draft", draft}}));
  };
  // depths 1; 2 2 2 2; 3 3 under the first child
  CHECK(verify("tree").flops == Approx(prefill.flops_per_pair * 2 * (7 * 1000 + 1 + 8 + 6)));
  CHECK(verify("chain").flops == Approx(prefill.flops_per_pair * 2 * (7 * 1000 + 28)));
  CHECK(verify("tree").bytes ==
        Approx(prefill.bytes_per_context * 2 * 1007 + prefill.bytes_per_token * 14));
}

TEST_CASE("an empty sequence costs its zeros, and nothing in a prefill", "[unit]") {
  CHECK(work_of(point("decode_attention", heads("bf16"), {{"lengths", "1x0"}})).bytes ==
        2 * 32 * 128);
  const Work none = work_of(point("prefill_attention", heads("bf16"),
                                  {{"new_lengths", "1x0"},
                                   {"cached_lengths", "1x512"},
                                   {"causal", "1"},
                                   {"window", "0"},
                                   {"variant", "best"}}));
  CHECK(none.flops == 0);
  CHECK(none.bytes == 0);
}

TEST_CASE("row-wise operators do the work that the simulator prices", "[unit]") {
  const OperatorList list = bf16_operators();
  const std::string tokens = std::to_string(kTokens);
  const auto bytes = [&](const char* name) {
    return launch_cost(named(list, name), kTokens).bytes;
  };
  CHECK(
      work_of(sound_point(
                  "rms_norm",
                  {{"tokens", tokens}, {"hidden", "4096"}, {"residual", "1"}, {"output", "bf16"}}))
          .bytes == bytes("residual and norm"));
  CHECK(
      work_of(sound_point("silu_mul", {{"tokens", tokens}, {"width", "14336"}, {"output", "bf16"}}))
          .bytes == bytes("silu and product"));
  CHECK(work_of(
            sound_point("embedding", {{"tokens", tokens}, {"hidden", "4096"}, {"vocab", "128256"}}))
            .bytes == bytes("embedding"));
  CHECK(work_of(
            sound_point("sampling", {{"rows", tokens}, {"vocab", "128256"}, {"method", "greedy"}}))
            .bytes == bytes("sampling"));
  // fused, rotated keys go to their pages only: not back to the row and in again (4 T kv d bytes)
  for (const char* kv_dtype : {"bf16", "e4m3"}) {
    const NumberFormat kv =
        kv_dtype == std::string("e4m3") ? NumberFormat::fp8 : NumberFormat::bf16;
    const OperatorList with_kv = operators(NumberFormat::bf16, NumberFormat::bf16, kv);
    const double priced = launch_cost(named(with_kv, "rotary embedding"), kTokens).bytes +
                          launch_cost(named(with_kv, "kv write"), kTokens).bytes;
    CHECK(work_of(point("rope_kv_write", heads(kv_dtype), {{"tokens", tokens}})).bytes ==
          priced - 4.0 * kTokens * 8 * 128);
  }
}

TEST_CASE("e4m3 outputs halve what is written, a missing residual spares its two trips", "[unit]") {
  const auto norm = [](const char* residual, const char* output) {
    return work_of(sound_point("rms_norm", {{"tokens", "1"},
                                            {"hidden", "1000"},
                                            {"residual", residual},
                                            {"output", output}}))
        .bytes;
  };
  CHECK(norm("1", "bf16") == 8000);
  CHECK(norm("1", "e4m3") == 7000);
  CHECK(norm("0", "bf16") == 4000);
  CHECK(work_of(sound_point("silu_mul", {{"tokens", "1"}, {"width", "1000"}, {"output", "e4m3"}}))
            .bytes == 5000);
}

TEST_CASE("copies move each byte twice, links once each way", "[unit]") {
  const Point::Values blocks = {{"block_bytes", "1000"}, {"blocks", "7"}};
  for (const char* op : {"block_copy", "block_gather", "block_scatter"})
    CHECK(work_of(sound_point(op, blocks)).bytes == 14000);
  const Work swap =
      work_of(point("swap", {{"method", "sm_kernel"}, {"direction", "to_device"}}, blocks));
  CHECK(swap.link_bytes == 7000);
  CHECK(swap.link == Link::host_to_device);
  const Work reduce =
      work_of(sound_point("all_reduce", {{"algorithm", "nccl"}, {"gpus", "4"}, {"bytes", "1600"}}));
  CHECK(reduce.link_bytes == 2400);  // 2 (n - 1) / n
}

TEST_CASE("a decode step's floor on an H200 is the one worked out in §3", "[unit]") {
  // Llama 8B, batch 64, context 2048: 17.18 GB of KV on 32 layers, 3.58 ms at 4.8 TB/s
  const Point decode = point("decode_attention", heads("bf16"), {{"lengths", "64x2048"}});
  const Work work = work_of(decode);
  CHECK(32 * work.bytes == Approx(17.2e9).epsilon(0.005));
  Ceilings ceilings;
  ceilings.hbm_read_gb_s = 4800;
  CHECK(floor_ns(decode, L2State::cold, ceilings) * (1 + kBytesTolerance) ==
        Approx(work.bytes / 4800));
}

namespace {

Point iteration(const char* part, const std::string& fresh, const std::string& cached,
                const char* weights = "bf16", const char* kv_dtype = "bf16",
                const char* stack = "llama-3.1-8b") {
  return sound_point("iteration", {{"stack", stack},
                                   {"weights", weights},
                                   {"kv_dtype", kv_dtype},
                                   {"page_tokens", "16"},
                                   {"mode", "graph"},
                                   {"part", part},
                                   {"new_lengths", fresh},
                                   {"cached_lengths", cached}});
}

}  // namespace

TEST_CASE("iterations' bytes are the ones worked out in §3", "[unit]") {
  CHECK(work_of(iteration("all", "1x1", "1x2047")).bytes == Approx(15.28e9).epsilon(0.001));
  CHECK(work_of(iteration("all", "64x1", "64x2047")).bytes == Approx(32.2e9).epsilon(0.001));
  CHECK(work_of(iteration("all", "256x1", "256x1023")).bytes == Approx(49.4e9).epsilon(0.001));
  // 13.96 GFLOP a token in linear layers (§3), 4 * 32 * 128 a pair and layer, the head once
  const Work prefill = work_of(iteration("all", "1x2048", "1x0"));
  CHECK(
      prefill.flops ==
      Approx(2048 * 13.96e9 + 32 * 16384.0 * 2048 * 2049 / 2 + 2.0 * 4096 * 128256).epsilon(0.001));
}

TEST_CASE("an iteration's parts do what the simulator's operators do", "[unit]") {
  const std::string tokens = std::to_string(kTokens);
  const OperatorList list = bf16_operators();
  const auto held = [&](const char* part, const char* name, double times) {
    CAPTURE(part, name);
    const Work work = work_of(iteration(part, "1x" + tokens, "1x0"));
    const LaunchCost cost = launch_cost(named(list, name), kTokens);
    CHECK(work.bytes == Approx(times * cost.bytes));
  };
  held("silu_mul", "silu and product", 32);
  held("embedding", "embedding", 1);
  const auto rows = [&](const char* part) {
    return work_of(iteration(part, "1x" + tokens, "1x0"));
  };
  CHECK(rows("post_norm").bytes == 32 * 8.0 * 4096 * kTokens);
  CHECK(rows("input_norm").bytes == (31 * 8 + 4) * 4096.0 * kTokens);  // nothing to add in layer 0
  for (const char* part : {"qkv", "output", "gate_up", "down"}) {
    const StackMatrix matrix = stack_matrix(stack_shape("llama-3.1-8b"), *find_stack_part(part));
    const Work work = gemm("bf16", kTokens, matrix.n, matrix.k);
    CHECK(rows(part).flops == 32 * work.flops);
    CHECK(rows(part).rate == MathRate::bf16);
  }
  CHECK(rows("head").flops == 2.0 * 128256 * 4096);  // one row a sequence
  CHECK(rows("sampling").bytes == 4.0 * 128256);
  // half the bytes of weights and cache; arithmetic at the rate of fp8, but for attention and head
  const auto fp8 = [&](const char* part) {
    return work_of(iteration(part, "2x1", "2x99", "fp8", "e4m3"));
  };
  const auto bf16 = [&](const char* part) { return work_of(iteration(part, "2x1", "2x99")); };
  CHECK(2 * fp8("down").bytes == bf16("down").bytes);
  CHECK(2 * fp8("attention").bytes == bf16("attention").bytes);
  CHECK(fp8("head").bytes == bf16("head").bytes);
  CHECK(fp8("down").rate == MathRate::fp8);
  CHECK(fp8("attention").rate == MathRate::bf16);
  CHECK(fp8("head").rate == MathRate::bf16);
  CHECK(fp8("all").rate == MathRate::fp8);
}

TEST_CASE("the stacks have the sizes of their models", "[unit]") {
  const auto check = [](const char* stack, const char* name, std::int64_t ranks) {
    CAPTURE(stack);
    const ModelSpec* model = find_model(name);
    REQUIRE(model != nullptr);
    const StackShape& shape = stack_shape(stack);
    CHECK(shape.layers == model->layers);
    std::set<std::pair<std::int64_t, std::int64_t>> own, wanted;
    for (int part = 0; part < kStackParts; ++part) {
      const StackMatrix matrix = stack_matrix(shape, static_cast<StackPart>(part));
      if (matrix.n > 0) own.insert({matrix.n, matrix.k});
    }
    for (const WeightGroup& group : weight_groups(*model, ranks))
      if (group.role == WeightRole::matrix || group.role == WeightRole::head)
        wanted.insert({group.rows, group.columns});
    CHECK(own == wanted);
  };
  check("llama-3.1-8b", "llama-3.1-8b", 1);
  check("llama-3.1-70b-tp8-rank", "llama-3.1-70b", 8);
}

TEST_CASE("ceilings are the best of their rows", "[unit]") {
  Ceilings ceilings;
  const auto add = [&](const char* kind, const char* bytes, const char* edge, std::int64_t ns) {
    add_ceiling(
        ceilings,
        synthetic_row(sound_point("ceiling", {{"kind", kind}, {"bytes", bytes}, {"edge", edge}}),
                      ns));
  };
  add("copy", "1000000", "0", 1000);
  add("copy", "1000000", "0", 500);
  add("copy", "1000000", "0", 800);
  CHECK(ceilings.hbm_copy_gb_s == 4000);  // read and written
  add("gemm_fp8", "0", "1000", 2000);
  CHECK(ceilings.fp8_tflop_s == 1000);
  add("both_ways", "1000", "0", 20);
  CHECK(ceilings.both_ways_gb_s == 100);
  add("launch", "0", "0", 5000);
  add("launch", "0", "0", 4000);
  add("launch", "0", "0", 6000);
  CHECK(ceilings.launch_us == 4);
  add_ceiling(ceilings, synthetic_rows()[5]);  // a GEMM of the grid is no ceiling
  CHECK(ceilings.bf16_tflop_s == 0);
}

TEST_CASE("the floor is the longest of arithmetic, memory and link, each with its tolerance",
          "[unit]") {
  Ceilings ceilings;
  ceilings.hbm_read_gb_s = 4000;
  ceilings.hbm_copy_gb_s = 3000;
  ceilings.bf16_tflop_s = 800;
  ceilings.h2d_gb_s = 50;
  const auto gemm_point = [](const char* dtype, const char* m) {
    return sound_point("gemm",
                       {{"dtype", dtype}, {"m", m}, {"n", "8192"}, {"k", "8192"}, {"algo", "top"}});
  };
  // few rows: 134 MB of weights at the best of the memory ceilings
  CHECK(floor_ns(gemm_point("bf16", "1"), L2State::cold, ceilings) ==
        Approx((2.0 * 8192 * 8192 + 4.0 * 8192) / 4000 / 1.10));
  CHECK(floor_ns(gemm_point("bf16", "1"), L2State::warm, ceilings) < 200);  // may come from L2
  // many rows: 2 m n k at 800 TFLOP/s
  const double flops = 2.0 * 8192 * 8192 * 8192;
  CHECK(floor_ns(gemm_point("bf16", "8192"), L2State::cold, ceilings) ==
        Approx(flops / 800e3 / 1.25));
  CHECK(floor_ns(gemm_point("w4a16", "8192"), L2State::cold, ceilings) ==
        Approx(flops / 800e3 / 1.25));
  // 8-bit formats at twice bf16 until their own ceiling is known
  CHECK(floor_ns(gemm_point("int8", "8192"), L2State::cold, ceilings) ==
        Approx(flops / 1600e3 / 1.25));
  ceilings.fp8_tflop_s = 1200;
  CHECK(floor_ns(gemm_point("fp8", "8192"), L2State::cold, ceilings) ==
        Approx(flops / 1200e3 / 1.25));
  const Point swap = sound_point("swap", {{"method", "sm_kernel"},
                                          {"direction", "to_device"},
                                          {"block_bytes", "1000000"},
                                          {"blocks", "10"}});
  CHECK(floor_ns(swap, L2State::cold, ceilings) == Approx(1e7 / 50 / 1.10));
  CHECK(floor_ns(swap, L2State::cold, {}) == 0);
  CHECK(floor_ns(sound_point("ceiling", {{"kind", "read"}, {"bytes", "1000"}, {"edge", "0"}}),
                 L2State::cold, ceilings) == 0);
}
