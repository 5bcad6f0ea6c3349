// Points of our own kernels can be made ready, run and checked: everything of a measurement but the
// clock, on the emulated device.

#include <cmath>
#include <string>
#include <vector>

#include "kernels/device/device_memory.h"
#include "kernels/emulation/emulated_device.h"
#include "kernels/measure/operator_points.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

struct SmallPoint {
  std::string op;
  PreparedPoint (*prepare)(const Point&, Arena&, std::uint64_t);
  Point::Values axes;
};

const std::vector<SmallPoint>& small_points() {
  static const std::vector<SmallPoint> points = {
      {"gemm",
       prepare_w4a16_gemm,
       {{"dtype", "w4a16"}, {"m", "5"}, {"n", "128"}, {"k", "256"}, {"algo", "top"}}},
      {"decode_attention",
       prepare_decode_attention,
       {{"kv_dtype", "bf16"},
        {"query_heads", "8"},
        {"kv_heads", "2"},
        {"head_dim", "128"},
        {"page_tokens", "16"},
        {"lengths", "1x300,3x40"}}},
      {"decode_attention",
       prepare_decode_attention,
       {{"kv_dtype", "e4m3"},
        {"query_heads", "8"},
        {"kv_heads", "1"},
        {"head_dim", "64"},
        {"page_tokens", "64"},
        {"lengths", "2x130"}}},
      {"prefill_attention",
       prepare_prefill_attention,
       {{"kv_dtype", "bf16"},
        {"query_heads", "4"},
        {"kv_heads", "2"},
        {"head_dim", "64"},
        {"page_tokens", "16"},
        {"new_lengths", "1x70,1x3"},
        {"cached_lengths", "1x0,1x33"},
        {"causal", "1"},
        {"window", "0"},
        {"variant", "best"}}},
      {"latent_decode_attention",
       prepare_latent_decode_attention,
       {{"kv_dtype", "bf16"},
        {"heads", "3"},
        {"query_tokens", "2"},
        {"page_tokens", "16"},
        {"lengths", "1x130,2x40"}}},
      {"latent_prefill_attention",
       prepare_latent_prefill_attention,
       {{"kv_dtype", "bf16"},
        {"heads", "2"},
        {"new_lengths", "1x70,1x0,1x3"},
        {"cached_lengths", "1x0,1x9,1x33"}}},
      {"prefill_attention",
       prepare_prefill_attention,
       {{"kv_dtype", "bf16"},
        {"query_heads", "4"},
        {"kv_heads", "1"},
        {"head_dim", "128"},
        {"page_tokens", "16"},
        {"new_lengths", "1x70,3x1"},
        {"cached_lengths", "1x80,3x150"},
        {"causal", "1"},
        {"window", "40"},
        {"variant", "best"}}},
      {"prefill_attention",
       prepare_prefill_attention,
       {{"kv_dtype", "e4m3"},
        {"query_heads", "4"},
        {"kv_heads", "1"},
        {"head_dim", "128"},
        {"page_tokens", "256"},
        {"new_lengths", "1x70"},
        {"cached_lengths", "1x80"},
        {"causal", "1"},
        {"window", "0"},
        {"variant", "best"}}},
      {"prefill_attention",
       prepare_prefill_attention,
       {{"kv_dtype", "bf16"},
        {"query_heads", "2"},
        {"kv_heads", "1"},
        {"head_dim", "128"},
        {"page_tokens", "16"},
        {"new_lengths", "1x70"},
        {"cached_lengths", "1x80"},
        {"causal", "1"},
        {"window", "0"},
        {"variant", "two_consumers"}}},
      {"rejection_sampling",
       prepare_rejection_sampling,
       {{"requests", "3"},
        {"draft_tokens", "4"},
        {"vocab", "5001"},
        {"draft", "chain"},
        {"drafts", "given"}}},
      {"rejection_sampling",
       prepare_rejection_sampling,
       {{"requests", "2"},
        {"draft_tokens", "6"},
        {"vocab", "2000"},
        {"draft", "tree"},
        {"drafts", "drawn"}}},
      {"verify_attention",
       prepare_verify_attention,
       {{"kv_dtype", "bf16"},
        {"query_heads", "4"},
        {"kv_heads", "2"},
        {"head_dim", "64"},
        {"page_tokens", "16"},
        {"lengths", "2x75,1x0"},
        {"draft_tokens", "9"},
        {"draft", "chain"}}},
      {"verify_attention",
       prepare_verify_attention,
       {{"kv_dtype", "bf16"},
        {"query_heads", "4"},
        {"kv_heads", "1"},
        {"head_dim", "128"},
        {"page_tokens", "64"},
        {"lengths", "2x75,1x0"},
        {"draft_tokens", "21"},
        {"draft", "tree"}}},
      {"rope_kv_write",
       prepare_rope_kv_write,
       {{"kv_dtype", "bf16"},
        {"query_heads", "4"},
        {"kv_heads", "2"},
        {"head_dim", "64"},
        {"page_tokens", "16"},
        {"tokens", "300"}}},
      {"rope_kv_write",
       prepare_rope_kv_write,
       {{"kv_dtype", "e4m3"},
        {"query_heads", "4"},
        {"kv_heads", "1"},
        {"head_dim", "128"},
        {"page_tokens", "64"},
        {"tokens", "9"}}},
      {"block_copy", prepare_block_copy, {{"block_bytes", "4096"}, {"blocks", "7"}}},
      {"block_gather", prepare_block_gather, {{"block_bytes", "2048"}, {"blocks", "5"}}},
      {"block_scatter", prepare_block_scatter, {{"block_bytes", "6144"}, {"blocks", "3"}}},
      {"swap",
       prepare_swap,
       {{"method", "sm_kernel"},
        {"direction", "to_host"},
        {"block_bytes", "4096"},
        {"blocks", "4"}}},
      {"swap",
       prepare_swap,
       {{"method", "memcpy_batch"},
        {"direction", "to_device"},
        {"block_bytes", "4096"},
        {"blocks", "4"}}},
      {"rms_norm",
       prepare_rms_norm,
       {{"tokens", "3"}, {"hidden", "2880"}, {"residual", "1"}, {"output", "e4m3"}}},
      {"silu_mul", prepare_silu_mul, {{"tokens", "3"}, {"width", "1024"}, {"output", "bf16"}}},
      {"embedding", prepare_embedding, {{"tokens", "4"}, {"hidden", "1024"}, {"vocab", "500"}}},
      {"sampling", prepare_sampling, {{"rows", "2"}, {"vocab", "3001"}, {"method", "greedy"}}},
      {"sampling", prepare_sampling, {{"rows", "2"}, {"vocab", "3001"}, {"method", "top_k_top_p"}}},
      {"expert_routing",
       prepare_expert_routing,
       {{"rule", "softmax"}, {"tokens", "9"}, {"experts", "60"}, {"experts_per_token", "4"}}},
      {"expert_routing",
       prepare_expert_routing,
       {{"rule", "sigmoid_groups"},
        {"tokens", "5"},
        {"experts", "64"},
        {"experts_per_token", "8"}}},
      {"expert_permute",
       prepare_expert_permute,
       {{"tokens", "70"},
        {"hidden", "264"},
        {"experts", "16"},
        {"local_experts", "4"},
        {"experts_per_token", "2"},
        {"skew_hundredths", "70"}}},
      {"expert_unpermute",
       prepare_expert_unpermute,
       {{"tokens", "70"},
        {"hidden", "264"},
        {"experts", "16"},
        {"local_experts", "16"},
        {"experts_per_token", "2"},
        {"skew_hundredths", "0"}}},
      {"grouped_gemm",
       prepare_grouped_gemm,
       {{"dtype", "bf16"},
        {"tokens", "40"},
        {"experts", "8"},
        {"local_experts", "8"},
        {"experts_per_token", "2"},
        {"n", "64"},
        {"k", "128"},
        {"skew_hundredths", "100"}}},
      {"grouped_gemm",
       prepare_grouped_gemm,
       {{"dtype", "fp8"},
        {"tokens", "7"},
        {"experts", "32"},
        {"local_experts", "4"},
        {"experts_per_token", "4"},
        {"n", "136"},
        {"k", "64"},
        {"skew_hundredths", "0"}}},
      {"experts",
       prepare_experts,
       {{"dtype", "bf16"},
        {"tokens", "30"},
        {"hidden", "64"},
        {"ffn", "72"},
        {"experts", "16"},
        {"local_experts", "4"},
        {"experts_per_token", "2"},
        {"skew_hundredths", "70"}}},
  };
  return points;
}

/// A point as the measuring loop treats it: made ready, checked, every operand set run, checked.
void measure_without_a_clock(const SmallPoint& small, Arena& arena) {
  const Point point = sound_point(small.op, small.axes);
  INFO(point.text());
  arena.reset();
  PreparedPoint prepared;
  try {
    prepared = small.prepare(point, arena, 7);
  } catch (const std::exception& error) {
    FAIL("not made ready: " << error.what());
  }
  REQUIRE(prepared.copies >= 1);
  // probabilities of 8 bits alone cost 2 to 3 %
  const bool e4m3_prefill =
      small.op == std::string("prefill_attention") && point.word("kv_dtype") == std::string("e4m3");
  CHECK(prepared.error_limit <= (e4m3_prefill ? 0.04 : 0.0199));
  const double before = prepared.check_error();
  CHECK(before <= prepared.error_limit);
  for (const int copy : {0, prepared.copies / 2, prepared.copies - 1})
    prepared.launch(Stream{}, copy);
  device_synchronize();
  CHECK(prepared.check_error() <= prepared.error_limit);
}

}  // namespace

TEST_CASE("every point of our own kernels can be made ready, run and checked",
          "[kernels][points]") {
  const int before = emulation::device_traits().compute_capability;
  Arena arena(std::size_t{256} << 20);
  for (const SmallPoint& small : small_points()) measure_without_a_clock(small, arena);
  emulation::device_traits().compute_capability = 80;  // decode attention has a path of its own
  for (const SmallPoint& small : small_points())
    if (small.op == "decode_attention") measure_without_a_clock(small, arena);
  emulation::device_traits().compute_capability = before;
}
