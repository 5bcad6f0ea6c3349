// The C interface gives every member to where it belongs: the same bytes as a call of the operator
// itself, with shapes in which no two members are equal; and errors come as texts.

#include "kernels/program/c_interface.h"

#include <cmath>
#include <cstring>
#include <string>

#include "kernels/device/device_memory.h"
#include "kernels/operators/decode_attention.h"
#include "kernels/operators/latent_prefill_attention.h"
#include "kernels/operators/prefill_attention.h"
#include "kernels/operators/rms_norm.h"
#include "kernels/operators/rope_kv_write.h"
#include "kernels/operators/w4a16_gemm.h"
#include "kernels/reference/page_table.h"
#include "kernels/reference/random_inputs.h"
#include "kernels/reference/rope.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

template <class T>
std::vector<std::uint8_t> bytes_of(const DeviceBuffer<T>& buffer) {
  const std::vector<T> values = buffer.values();
  std::vector<std::uint8_t> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// Equal, and something was written: memory of the device is 0xFF until then.
template <class T>
void require_same(const DeviceBuffer<T>& by_c, const DeviceBuffer<T>& directly) {
  const std::vector<std::uint8_t> bytes = bytes_of(by_c);
  REQUIRE(bytes == bytes_of(directly));
  REQUIRE(bytes != std::vector<std::uint8_t>(bytes.size(), 0xFF));
}

/// A pool of pages with three sequences in it; 2 KV heads, 64 wide, 16 tokens a page.
struct Cache {
  static constexpr int kKvHeads = 2, kHeadDim = 64, kPageTokens = 16;
  RandomInputs draws{7, "c interface"};
  PageTable table = shuffled_page_table({37, 5, 50}, kPageTokens, draws);
  std::size_t elements =
      static_cast<std::size_t>(table.pool_pages) * kKvHeads * kPageTokens * kHeadDim;
  DeviceBuffer<Bf16> keys{draws.normals_bf16(elements)}, values{draws.normals_bf16(elements)};
  DeviceBuffer<E4m3> key_codes{draws.normals_e4m3(elements)},
      value_codes{draws.normals_e4m3(elements)};
  DeviceBuffer<int> pages{table.pages}, lengths{table.lengths};
};

template <class Element>
void compare_decode(Cache& cache, const DeviceBuffer<Element>& keys,
                    const DeviceBuffer<Element>& values, std::int32_t format, float key_scale,
                    float value_scale) {
  constexpr int kQueryHeads = 8;
  const std::size_t rows = 3 * kQueryHeads;
  const DeviceBuffer<Bf16> query(cache.draws.normals_bf16(rows * Cache::kHeadDim));
  const DeviceBuffer<Bf16> out(rows * Cache::kHeadDim), by_c(rows * Cache::kHeadDim);
  const DeviceBuffer<float> lse(rows), lse_by_c(rows);

  DecodeAttentionArguments<Element> direct;
  direct.query = query.data();
  direct.key_pages = keys.data();
  direct.value_pages = values.data();
  direct.page_table = cache.pages.data();
  direct.lengths = cache.lengths.data();
  direct.out = out.data();
  direct.log_sum_exp = lse.data();
  direct.sequences = 3;
  direct.query_heads = kQueryHeads;
  direct.kv_heads = Cache::kKvHeads;
  direct.head_dim = Cache::kHeadDim;
  direct.page_tokens = Cache::kPageTokens;
  direct.pages_per_sequence = cache.table.row_pages;
  direct.softmax_scale = 0.11F;
  direct.key_scale = key_scale;
  direct.value_scale = value_scale;
  direct.blocks = 5;
  const DeviceBuffer<std::uint8_t> workspace(decode_attention_workspace_bytes(direct));
  direct.workspace = workspace.data();
  prepare_decode_attention_workspace(direct, {});
  launch_decode_attention(direct, {});

  FleetsimDecodeAttention c{};
  c.query = query.data();
  c.key_pages = keys.data();
  c.value_pages = values.data();
  c.page_table = cache.pages.data();
  c.lengths = cache.lengths.data();
  c.out = by_c.data();
  c.log_sum_exp = lse_by_c.data();
  c.kv_format = format;
  c.sequences = 3;
  c.query_heads = kQueryHeads;
  c.kv_heads = Cache::kKvHeads;
  c.head_dim = Cache::kHeadDim;
  c.page_tokens = Cache::kPageTokens;
  c.pages_per_sequence = cache.table.row_pages;
  c.blocks = 5;
  c.softmax_scale = 0.11F;
  c.key_scale = key_scale;
  c.value_scale = value_scale;
  std::size_t bytes = 0;
  REQUIRE(fleetsim_decode_attention_workspace_bytes(&c, &bytes) == 0);
  REQUIRE(bytes == workspace.size());
  const DeviceBuffer<std::uint8_t> own_workspace(bytes);
  c.workspace = own_workspace.data();
  REQUIRE(fleetsim_prepare_decode_attention_workspace(&c, nullptr) == 0);
  REQUIRE(fleetsim_decode_attention(&c, nullptr) == 0);
  require_same(by_c, out);
  require_same(lse_by_c, lse);
}

}  // namespace

TEST_CASE("decode attention through C is decode attention", "[kernels][c_interface]") {
  Cache cache;
  compare_decode(cache, cache.keys, cache.values, FLEETSIM_BF16, 1, 1);
  compare_decode(cache, cache.key_codes, cache.value_codes, FLEETSIM_FP8, 0.5F, 0.25F);
}

TEST_CASE("prefill attention through C is prefill attention", "[kernels][c_interface]") {
  constexpr int kQueryHeads = 8, kTokens = 11;
  Cache cache;
  const std::vector<int> starts = {0, 3, 4, kTokens}, cached = {34, 4, 43};  // 37, 5, 50 keys
  const std::size_t rows = kTokens * kQueryHeads;
  const DeviceBuffer<int> query_starts(starts), cached_lengths(cached);
  const DeviceBuffer<Bf16> query(cache.draws.normals_bf16(rows * Cache::kHeadDim));
  for (const bool causal : {true, false}) {
    const DeviceBuffer<Bf16> out(rows * Cache::kHeadDim), by_c(rows * Cache::kHeadDim);
    const DeviceBuffer<float> lse(rows), lse_by_c(rows);
    PrefillAttentionArguments direct;
    direct.query = query.data();
    direct.key_pages = cache.keys.data();
    direct.value_pages = cache.values.data();
    direct.page_table = cache.pages.data();
    direct.query_starts = query_starts.data();
    direct.cached_lengths = cached_lengths.data();
    direct.out = out.data();
    direct.log_sum_exp = lse.data();
    direct.sequences = 3;
    direct.total_tokens = kTokens;
    direct.query_heads = kQueryHeads;
    direct.kv_heads = Cache::kKvHeads;
    direct.head_dim = Cache::kHeadDim;
    direct.page_tokens = Cache::kPageTokens;
    direct.pages_per_sequence = cache.table.row_pages;
    direct.softmax_scale = 0.11F;
    direct.causal = causal;
    const DeviceBuffer<std::uint8_t> workspace(prefill_attention_workspace_bytes(direct));
    direct.workspace = workspace.data();
    prepare_prefill_attention_workspace(direct, {});
    launch_prefill_attention(direct, {});

    FleetsimPrefillAttention c{};
    c.query = query.data();
    c.key_pages = cache.keys.data();
    c.value_pages = cache.values.data();
    c.page_table = cache.pages.data();
    c.query_starts = query_starts.data();
    c.cached_lengths = cached_lengths.data();
    c.out = by_c.data();
    c.log_sum_exp = lse_by_c.data();
    c.sequences = 3;
    c.total_tokens = kTokens;
    c.query_heads = kQueryHeads;
    c.kv_heads = Cache::kKvHeads;
    c.head_dim = Cache::kHeadDim;
    c.page_tokens = Cache::kPageTokens;
    c.pages_per_sequence = cache.table.row_pages;
    c.causal = causal ? 1 : 0;
    c.softmax_scale = 0.11F;
    std::size_t bytes = 0;
    REQUIRE(fleetsim_prefill_attention_workspace_bytes(&c, &bytes) == 0);
    REQUIRE(bytes == workspace.size());
    const DeviceBuffer<std::uint8_t> own_workspace(bytes);
    c.workspace = own_workspace.data();
    REQUIRE(fleetsim_prepare_prefill_attention_workspace(&c, nullptr) == 0);
    REQUIRE(fleetsim_prefill_attention(&c, nullptr) == 0);
    require_same(by_c, out);
    require_same(lse_by_c, lse);
  }
}

TEST_CASE("latent prefill attention through C is latent prefill attention",
          "[kernels][c_interface]") {
  constexpr int kHeads = 2, kTokens = 11, kKeys = 41;
  RandomInputs draws(6, "c interface latent prefill");
  const DeviceBuffer<int> query_starts(std::vector<int>{0, 3, kTokens}),
      cached_lengths(std::vector<int>{20, 7}), key_starts(std::vector<int>{0, 25});
  const DeviceBuffer<Bf16> query(draws.normals_bf16(kTokens * kHeads * kLatentKeyWidth)),
      keys(draws.normals_bf16(kKeys * kHeads * kLatentKeyWidth)),
      values(draws.normals_bf16(kKeys * kHeads * kLatentValueWidth));
  constexpr std::size_t kRows = std::size_t{kTokens} * kHeads;
  for (const bool causal : {true, false}) {
    const DeviceBuffer<Bf16> out(kRows * kLatentValueWidth), by_c(kRows * kLatentValueWidth);
    const DeviceBuffer<float> lse(kRows), lse_by_c(kRows);
    const DeviceBuffer<std::uint8_t> workspace(kLatentPrefillWorkspaceBytes);
    LatentPrefillArguments direct;
    direct.query = query.data();
    direct.keys = keys.data();
    direct.values = values.data();
    direct.query_starts = query_starts.data();
    direct.cached_lengths = cached_lengths.data();
    direct.key_starts = key_starts.data();
    direct.out = out.data();
    direct.log_sum_exp = lse.data();
    direct.workspace = workspace.data();
    direct.sequences = 2;
    direct.total_tokens = kTokens;
    direct.total_keys = kKeys;
    direct.heads = kHeads;
    direct.softmax_scale = 0.07F;
    direct.causal = causal;
    prepare_latent_prefill_workspace(workspace.data(), {});
    launch_latent_prefill(direct, {});

    FleetsimLatentPrefill c{};
    c.query = query.data();
    c.keys = keys.data();
    c.values = values.data();
    c.query_starts = query_starts.data();
    c.cached_lengths = cached_lengths.data();
    c.key_starts = key_starts.data();
    c.out = by_c.data();
    c.log_sum_exp = lse_by_c.data();
    c.sequences = 2;
    c.total_tokens = kTokens;
    c.total_keys = kKeys;
    c.heads = kHeads;
    c.causal = causal ? 1 : 0;
    c.blocks = 3;
    c.softmax_scale = 0.07F;
    std::size_t bytes = 0;
    REQUIRE(fleetsim_latent_prefill_workspace_bytes(&c, &bytes) == 0);
    const DeviceBuffer<std::uint8_t> own_workspace(bytes);
    c.workspace = own_workspace.data();
    REQUIRE(fleetsim_prepare_latent_prefill_workspace(&c, nullptr) == 0);
    REQUIRE(fleetsim_latent_prefill(&c, nullptr) == 0);
    require_same(by_c, out);
    require_same(lse_by_c, lse);
  }
}

TEST_CASE("RMSNorm through C is RMSNorm", "[kernels][c_interface]") {
  constexpr int kTokens = 3, kHidden = 320;
  constexpr std::size_t kElements = std::size_t{kTokens} * kHidden;
  RandomInputs draws(5, "c interface norm");
  const std::vector<Bf16> residual = draws.normals_bf16(kElements);
  const DeviceBuffer<Bf16> x(draws.normals_bf16(kElements)), weight(draws.normals_bf16(kHidden));
  const DeviceBuffer<Bf16> first(residual), second(residual);  // written back to
  const DeviceBuffer<float> tensor_scale(std::vector<float>{0.02F});
  const auto compared = [&](auto&& set_output) {
    RmsNormArguments direct;
    FleetsimRmsNorm c{};
    direct.x = x.data();
    direct.residual = first.data();
    direct.weight = weight.data();
    direct.tokens = kTokens;
    direct.hidden = kHidden;
    direct.epsilon = 0.3F;
    c.x = x.data();
    c.residual = second.data();
    c.weight = weight.data();
    c.tokens = kTokens;
    c.hidden = kHidden;
    c.epsilon = 0.3F;
    set_output(direct, c);
    launch_rms_norm(direct, {});
    REQUIRE(fleetsim_rms_norm(&c, nullptr) == 0);
    require_same(second, first);
  };
  const DeviceBuffer<Bf16> values(kElements), values_by_c(kElements);
  compared([&](RmsNormArguments& direct, FleetsimRmsNorm& c) {
    direct.out.values = values.data();
    c.values = values_by_c.data();
  });
  require_same(values_by_c, values);
  const DeviceBuffer<E4m3> codes(kElements), codes_by_c(kElements);
  const DeviceBuffer<float> scales(kTokens), scales_by_c(kTokens);
  compared([&](RmsNormArguments& direct, FleetsimRmsNorm& c) {
    direct.out.codes = codes.data();
    direct.out.token_scales = scales.data();
    c.codes = codes_by_c.data();
    c.token_scales = scales_by_c.data();
  });
  require_same(codes_by_c, codes);
  require_same(scales_by_c, scales);
  const DeviceBuffer<E4m3> fixed(kElements), fixed_by_c(kElements);
  compared([&](RmsNormArguments& direct, FleetsimRmsNorm& c) {
    direct.out.codes = fixed.data();
    direct.out.tensor_scale = tensor_scale.data();
    c.codes = fixed_by_c.data();
    c.tensor_scale = tensor_scale.data();
  });
  require_same(fixed_by_c, fixed);
}

TEST_CASE("RoPE and KV write through C is RoPE and KV write", "[kernels][c_interface]") {
  constexpr int kTokens = 5, kQueryHeads = 4, kKvHeads = 2, kHeadDim = 64, kPageTokens = 16;
  constexpr int kPages = 3, kPositions = 40;
  constexpr std::size_t kRow = (kQueryHeads + 2 * kKvHeads) * kHeadDim;
  constexpr std::size_t kCacheElements = std::size_t{kPages} * kKvHeads * kPageTokens * kHeadDim;
  RandomInputs draws(5, "c interface rope");
  const DeviceBuffer<Bf16> qkv(draws.normals_bf16(kTokens * kRow));
  const DeviceBuffer<std::int64_t> slots(std::vector<std::int64_t>{17, 3, 40, 18, 31});
  const DeviceBuffer<int> positions(std::vector<int>{17, 0, 39, 18, 5});

  std::vector<float> table(std::size_t{kPositions} * kHeadDim);
  REQUIRE(fleetsim_rotary_table(kHeadDim, 10'000, kPositions, table.data()) == 0);
  RotaryEmbedding embedding;
  embedding.head_dim = kHeadDim;
  embedding.theta = 10'000;
  REQUIRE(table == rotary_table(embedding, kPositions));
  const DeviceBuffer<float> device_table(table);

  const auto compared = [&]<class Element>(Element, std::int32_t format, float key_scale,
                                           float value_scale) {
    const std::size_t query_elements = std::size_t{kTokens} * kQueryHeads * kHeadDim;
    const DeviceBuffer<Bf16> query(query_elements), query_by_c(query_elements);
    const DeviceBuffer<Element> keys(kCacheElements), keys_by_c(kCacheElements),
        values(kCacheElements), values_by_c(kCacheElements);
    RopeKvWriteArguments<Element> direct;
    direct.qkv = qkv.data();
    direct.query = query.data();
    direct.query_row = kQueryHeads * kHeadDim;
    direct.key_pages = keys.data();
    direct.value_pages = values.data();
    direct.slots = slots.data();
    direct.positions = positions.data();
    direct.table = device_table.data();
    direct.key_scale = key_scale;
    direct.value_scale = value_scale;
    direct.tokens = kTokens;
    direct.query_heads = kQueryHeads;
    direct.kv_heads = kKvHeads;
    direct.head_dim = kHeadDim;
    direct.page_tokens = kPageTokens;
    launch_rope_kv_write(direct, {});

    FleetsimRopeKvWrite c{};
    c.qkv = qkv.data();
    c.query = query_by_c.data();
    c.key_pages = keys_by_c.data();
    c.value_pages = values_by_c.data();
    c.slots = slots.data();
    c.positions = positions.data();
    c.table = device_table.data();
    c.query_row = kQueryHeads * kHeadDim;
    c.kv_format = format;
    c.tokens = kTokens;
    c.query_heads = kQueryHeads;
    c.kv_heads = kKvHeads;
    c.head_dim = kHeadDim;
    c.page_tokens = kPageTokens;
    c.key_scale = key_scale;
    c.value_scale = value_scale;
    REQUIRE(fleetsim_rope_kv_write(&c, nullptr) == 0);
    require_same(query_by_c, query);
    require_same(keys_by_c, keys);
    require_same(values_by_c, values);
  };
  compared(Bf16{}, FLEETSIM_BF16, 1, 1);
  compared(E4m3{}, FLEETSIM_FP8, 0.5F, 0.25F);
}

TEST_CASE("W4A16 GEMM through C, weights packed through C, is W4A16 GEMM",
          "[kernels][c_interface]") {
  constexpr int kM = 5, kN = 192, kK = 256;
  RandomInputs draws(5, "c interface w4a16");
  Int4Weights weights;
  weights.n = kN;
  weights.k = kK;
  std::vector<std::uint16_t> scales;
  for (int i = 0; i < kN * kK; ++i)
    weights.codes.push_back(static_cast<std::uint8_t>(draws.below(16)));
  for (int i = 0; i < kN * kK / kInt4Group; ++i) {
    weights.zeros.push_back(static_cast<std::uint8_t>(draws.below(16)));
    weights.scales.push_back(to_bf16(0.01F + 0.01F * draws.unit()));
    scales.push_back(weights.scales.back().bits);
  }
  std::size_t tiles_bytes = 0;
  REQUIRE(fleetsim_w4a16_tiles_bytes(kN, kK, &tiles_bytes) == 0);
  std::vector<std::uint8_t> tiles(tiles_bytes);
  REQUIRE(fleetsim_pack_w4a16_tiles(weights.codes.data(), weights.zeros.data(), scales.data(), kN,
                                    kK, tiles.data()) == 0);
  REQUIRE(tiles == pack_w4a16_tiles(weights));

  const DeviceBuffer<Bf16> activations(draws.normals_bf16(kM * kK));
  const DeviceBuffer<std::uint8_t> device_weights(tiles);
  const DeviceBuffer<Bf16> out(kM * kN), by_c(kM * kN);
  const W4a16Plan plan = plan_w4a16_gemm(kM, kN, kK);
  std::size_t bytes = 0, zeroed = 0;
  REQUIRE(fleetsim_w4a16_workspace_bytes(kM, kN, kK, &bytes, &zeroed) == 0);
  REQUIRE(bytes == w4a16_workspace_bytes(plan));
  REQUIRE(zeroed == w4a16_counter_bytes(plan));
  const DeviceBuffer<std::uint8_t> workspace(bytes);
  device_fill(workspace.data(), 0, zeroed, {});
  launch_w4a16_gemm(
      {activations.data(), device_weights.data(), out.data(), kM, kN, kK, workspace.data()}, plan,
      {});
  const FleetsimW4a16Gemm c{
      activations.data(), device_weights.data(), by_c.data(), workspace.data(), kM, kN, kK};
  REQUIRE(fleetsim_w4a16_gemm(&c, nullptr) == 0);
  require_same(by_c, out);
}

TEST_CASE("what the operators refuse comes over the C border as a text", "[kernels][c_interface]") {
  FleetsimRmsNorm norm{};
  norm.tokens = 1;
  norm.hidden = 7;  // no multiple of 8
  REQUIRE(fleetsim_rms_norm(&norm, nullptr) == 1);
  const std::string refused = fleetsim_last_error();
  CHECK(refused.find("CHECK") != std::string::npos);

  FleetsimDecodeAttention decode{};
  decode.kv_format = FLEETSIM_INT8;
  REQUIRE(fleetsim_decode_attention(&decode, nullptr) == 1);
  CHECK(std::string(fleetsim_last_error()).find("kv_format is 3") == 0);

  std::uint8_t tile = 0;
  REQUIRE(fleetsim_pack_w4a16_tiles(&tile, &tile, nullptr, 64, 100, &tile) == 1);
  CHECK(std::string(fleetsim_last_error()).find("multiple of 128") != std::string::npos);
}
