// int4 checkpoints mean what their publishers say, tiles hold them, plans cover all, and the W4A16
// kernel multiplies.

#include "kernels/operators/w4a16_gemm.h"

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/reference/random_inputs.h"
#include "kernels/reference/w4a16.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

constexpr std::size_t kH200Shared = 232448, kA100Shared = 166912;  // bytes a block may ask for

Int4Weights random_weights(int n, int k, std::uint64_t seed) {
  RandomInputs random(seed, "int4");
  Int4Weights weights;
  weights.n = n;
  weights.k = k;
  for (int i = 0; i < n * k; ++i)
    weights.codes.push_back(static_cast<std::uint8_t>(random.below(16)));
  for (int i = 0; i < n * k / kInt4Group; ++i) {
    weights.zeros.push_back(static_cast<std::uint8_t>(random.below(16)));
    weights.scales.push_back(to_bf16(0.01F + 0.01F * random.unit()));
  }
  return weights;
}

bool equal(const Int4Weights& a, const Int4Weights& b) {
  for (std::size_t i = 0; i < a.scales.size(); ++i)
    if (a.scales[i].bits != b.scales[i].bits) return false;
  return a.n == b.n && a.k == b.k && a.codes == b.codes && a.zeros == b.zeros &&
         a.scales.size() == b.scales.size();
}

/// Packs as AutoGPTQ does: eight rows a word.
std::vector<std::int32_t> gptq_rows(const std::vector<std::uint8_t>& values, int rows, int n) {
  std::vector<std::int32_t> words(static_cast<std::size_t>(rows / 8 * n));
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < n; ++c)
      words[r / 8 * n + c] |=
          static_cast<std::int32_t>(std::uint32_t{values[r * n + c]} << (4 * (r % 8)));
  return words;
}

/// Packs eight columns a word, column 8c + order[i] in nibble i.
std::vector<std::int32_t> columns(const std::vector<std::uint8_t>& values, int n,
                                  const std::vector<int>& order, int subtract) {
  std::vector<std::int32_t> words(values.size() / 8);
  for (std::size_t word = 0; word < words.size(); ++word)
    for (int i = 0; i < 8; ++i) {
      const std::size_t row = word * 8 / n, column = word * 8 % n + order[i];
      words[word] |= static_cast<std::int32_t>(
          static_cast<std::uint32_t>(values[row * n + column] - subtract) << (4 * i));
    }
  return words;
}

std::vector<std::uint16_t> bits_of_scales(const std::vector<Bf16>& scales) {
  std::vector<std::uint16_t> bits;
  for (const Bf16 scale : scales) bits.push_back(scale.bits);
  return bits;
}

template <class Call>
std::string refusal(Call&& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

/// Every group of every tile is in exactly one piece, cut tiles know their parts, and slots are not
/// used twice.
void require_covered(const W4a16Plan& plan) {
  const int tiles = plan.row_tiles * plan.column_tiles;
  REQUIRE(plan.whole_tiles + plan.shared_tiles == tiles);
  REQUIRE(plan.blocks >= 1);
  REQUIRE(plan.sharing_blocks <= plan.blocks);
  std::vector<int> covered(static_cast<std::size_t>(tiles) * plan.groups, 0);
  std::vector<int> parts(static_cast<std::size_t>(tiles), 0);
  std::vector<int> slot_uses(static_cast<std::size_t>(2 * plan.sharing_blocks), 0);
  for (int block = 0; block < plan.blocks; ++block) {
    W4a16Piece piece;
    int index = 0;
    for (; w4a16_piece(plan, block, index, piece); ++index) {
      for (int group = piece.group_begin; group < piece.group_end; ++group)
        ++covered[static_cast<std::size_t>(piece.tile) * plan.groups + group];
      if (piece.is_whole(plan)) continue;
      const int shared_tile = piece.tile - plan.whole_tiles;
      const W4a16Contributors contributors = w4a16_contributors(plan, shared_tile);
      const bool listed = contributors.first <= block && block <= contributors.last;
      REQUIRE(listed);
      REQUIRE(piece.slot == w4a16_slot_of(plan, shared_tile, block));
      ++slot_uses[piece.slot];
      ++parts[piece.tile];
    }
    REQUIRE(index >= 1);  // nobody is launched for nothing
  }
  for (const int times : covered) REQUIRE(times == 1);
  for (const int uses : slot_uses) REQUIRE(uses <= 1);
  for (int tile = 0; tile < plan.shared_tiles; ++tile) {
    const W4a16Contributors contributors = w4a16_contributors(plan, tile);
    const int listed = contributors.last - contributors.first + 1;
    REQUIRE(parts[plan.whole_tiles + tile] == (listed == 1 ? 0 : listed));
  }
}

}  // namespace

TEST_CASE("a GPTQ checkpoint unpacks to its codes in both ways of storing zero points",
          "[kernels][w4a16]") {
  Int4Weights weights = random_weights(24, 256, 1);
  for (std::uint8_t& zero : weights.zeros) zero = static_cast<std::uint8_t>(1 + zero % 15);
  const std::vector<std::int32_t> qweight = gptq_rows(weights.codes, 256, 24);
  const std::vector<std::uint16_t> scales = bits_of_scales(weights.scales);
  const std::vector<int> in_order = {0, 1, 2, 3, 4, 5, 6, 7};
  for (const int less : {0, 1}) {
    const std::vector<std::int32_t> qzeros = columns(weights.zeros, 24, in_order, less);
    const Int4Checkpoint checkpoint{256, 24, qweight, qzeros, scales, ScaleFormat::bf16};
    CHECK(equal(unpack_gptq(checkpoint, less == 1 ? GptqZeros::less_one : GptqZeros::plain),
                weights));
  }
  // symmetric files may leave zero points out
  weights.zeros.assign(weights.zeros.size(), 8);
  const Int4Checkpoint symmetric{256, 24, qweight, {}, scales, ScaleFormat::bf16};
  CHECK(equal(unpack_gptq(symmetric, GptqZeros::less_one), weights));
}

TEST_CASE("an AWQ checkpoint unpacks through its interleave 0 2 4 6 1 3 5 7", "[kernels][w4a16]") {
  const Int4Weights weights = random_weights(40, 128, 2);
  const std::vector<int> interleave = {0, 2, 4, 6, 1, 3, 5, 7};
  const std::vector<std::int32_t> qweight = columns(weights.codes, 40, interleave, 0);
  const std::vector<std::int32_t> qzeros = columns(weights.zeros, 40, interleave, 0);
  const std::vector<std::uint16_t> scales = bits_of_scales(weights.scales);
  CHECK(equal(unpack_awq({128, 40, qweight, qzeros, scales, ScaleFormat::bf16}), weights));

  // by hand: the second nibble of a row's first word is column 2
  std::vector<std::int32_t> one(qweight.size(), 0);
  one[0] = 0x50;
  const Int4Weights sparse = unpack_awq({128, 40, one, qzeros, scales, ScaleFormat::bf16});
  CHECK(sparse.codes[2] == 5);
  CHECK(sparse.codes[1] == 0);
}

TEST_CASE("fp16 scales of a checkpoint are rounded to bf16 once", "[kernels][w4a16]") {
  const std::vector<std::int32_t> qweight(128 * 8 / 8, 0x11111111);
  std::vector<std::uint16_t> scales(8, to_half(0.0123F).bits);
  scales[3] = to_half(0.5F).bits;
  const Int4Weights weights =
      unpack_gptq({128, 8, qweight, {}, scales, ScaleFormat::half}, GptqZeros::plain);
  CHECK(weights.scales[0].bits == to_bf16(to_float(to_half(0.0123F))).bits);
  CHECK(weights.weight(0, 3) == -3.5);  // (1 - 8) * 0.5
}

TEST_CASE("checkpoints whose shapes do not fit are refused with the numbers", "[kernels][w4a16]") {
  const std::vector<std::int32_t> words(128, 0);
  const std::vector<std::int32_t> all_ones(1, -1);
  const std::vector<std::uint16_t> scales(8, 0x3f80);
  const auto gptq = [&](const Int4Checkpoint& checkpoint) {
    return refusal([&] { (void)unpack_gptq(checkpoint, GptqZeros::less_one); });
  };
  CHECK(gptq({100, 8, words, {}, scales}).find("100 inputs") != std::string::npos);
  CHECK(gptq({128, 9, words, {}, scales}).find("9 outputs") != std::string::npos);
  CHECK(gptq({256, 8, words, {}, scales}).find("qweight has 128 elements") != std::string::npos);
  CHECK(gptq({128, 8, words, words, scales}).find("qzeros has 128") != std::string::npos);
  CHECK(gptq({128, 8, words, all_ones, scales}).find("zero point of 16") != std::string::npos);
  CHECK(gptq({128, 8, words, {}, scales}).empty());
  CHECK(refusal([&] {
          (void)unpack_awq({128, 8, words, {}, scales});
        }).find("qzeros has 0") != std::string::npos);
  CHECK(refusal([] { (void)pack_w4a16_tiles(random_weights(40, 128, 3)); }).find("128 x 40") !=
        std::string::npos);
}

TEST_CASE("tiles hold every code, zero point and scale, at 0.52 bytes a weight",
          "[kernels][w4a16]") {
  const Int4Weights weights = random_weights(192, 384, 4);
  const std::vector<std::uint8_t> tiles = pack_w4a16_tiles(weights);
  CHECK(tiles.size() == 192 * 384 / 2 + 192 * 3 * 5 / 2);  // 0.5 + 2.5 / 128 bytes a weight
  CHECK(equal(unpack_w4a16_tiles(tiles, 192, 384), weights));
}

TEST_CASE("every plan covers each group of each tile once, and slots are used once",
          "[kernels][w4a16]") {
  const std::vector<std::pair<int, int>> sites = {
      {6144, 4096}, {4096, 4096}, {28672, 4096}, {4096, 14336}, {128256, 4096}, {1280, 8192},
      {8192, 1024}, {7168, 8192}, {8192, 3584},  {10240, 8192}, {64, 128},      {320, 640}};
  for (const auto& [n, k] : sites)
    for (const int m : {1, 16, 17, 32, 48, 64, 65, 192, 320, 513, 4096}) {
      require_covered(plan_w4a16_gemm(m, n, k, {132, kH200Shared}));
      require_covered(plan_w4a16_gemm(m, n, k, {108, kA100Shared}));
    }
  W4a16Plan plan = plan_w4a16_gemm(1, 1280, 8192, {132, kH200Shared});
  for (int blocks = plan.shared_tiles; blocks <= plan.shared_tiles * plan.groups; blocks += 3)
    require_covered(with_sharing_blocks(plan, blocks));
}

TEST_CASE("few tokens are spread over most SMs, many go in waves of whole tiles",
          "[kernels][w4a16]") {
  const W4a16Device h200{132, kH200Shared};
  const W4a16Plan decode = plan_w4a16_gemm(1, 4096, 4096, h200);
  CHECK(decode.tile_rows == 16);
  CHECK(decode.whole_tiles == 0);
  CHECK(decode.shared_tiles == 16);
  CHECK(decode.sharing_blocks >= 64);
  const W4a16Plan prefill = plan_w4a16_gemm(8192, 4096, 4096, h200);
  CHECK(prefill.tile_rows == 128);
  CHECK(prefill.blocks == 132);
  CHECK(prefill.whole_tiles == 64 * 16 / 132 * 132);
  CHECK(plan_w4a16_gemm(33, 4096, 4096, h200).tile_rows == 64);
  CHECK(plan_w4a16_gemm(192, 4096, 4096, h200).tile_rows == 64);  // 128 would add 64 empty rows
  CHECK(plan_w4a16_gemm(256, 4096, 4096, h200).tile_rows == 128);
}

TEST_CASE("every stage ring fits the devices it is for", "[kernels][w4a16]") {
  for (const int rows : {16, 32, 64, 128}) CHECK(w4a16_shared_bytes(rows) <= kA100Shared);
  // two blocks of few rows share an SM of 228 KiB
  for (const int rows : {16, 32}) CHECK(2 * (w4a16_shared_bytes(rows) + 1024) <= 228 * 1024);
}

TEST_CASE("tiles count through all places, in bands of eight rows", "[kernels][w4a16]") {
  W4a16Plan plan;
  plan.row_tiles = 19;
  plan.column_tiles = 5;
  std::vector<int> seen(19 * 5, 0);
  for (int tile = 0; tile < 19 * 5; ++tile) {
    const W4a16TilePlace place = w4a16_tile_place(plan, tile);
    REQUIRE(place.row_tile < 19);
    REQUIRE(place.column_tile < 5);
    ++seen[place.row_tile * 5 + place.column_tile];
    if (tile < 40) CHECK(place.row_tile == tile % 8);
  }
  for (const int times : seen) CHECK(times == 1);
}

TEST_CASE("the W4A16 kernel agrees with float64 under every schedule", "[kernels][w4a16]") {
  for (const std::uint64_t seed : {1, 2}) {
    emulation::set_schedule_seed(seed);
    for (const CheckReport& report : check_w4a16_gemm(seed, Scale::emulated)) {
      INFO(report.what << ": " << report.error << " " << report.problem);
      CHECK(report.passed());
    }
  }
}

TEST_CASE("the W4A16 kernel's bytes do not depend on the schedule, nor much on the cut",
          "[kernels][w4a16]") {
  const int m = 3, n = 64, k = 1024;
  const Int4Weights weights = random_weights(n, k, 5);
  RandomInputs random(5, "activations");
  const std::vector<Bf16> activations = random.normals_bf16(m * k);
  const DeviceBuffer<Bf16> device_activations(activations);
  const DeviceBuffer<std::uint8_t> tiles(pack_w4a16_tiles(weights));
  const auto product = [&](int sharing_blocks, std::uint64_t seed) {
    emulation::set_schedule_seed(seed);
    const W4a16Plan plan = with_sharing_blocks(plan_w4a16_gemm(m, n, k), sharing_blocks);
    const DeviceBuffer<std::uint8_t> workspace(w4a16_workspace_bytes(plan));
    device_fill(workspace.data(), 0, w4a16_counter_bytes(plan), {});
    const DeviceBuffer<Bf16> out(m * n);
    launch_w4a16_gemm(
        {device_activations.data(), tiles.data(), out.data(), m, n, k, workspace.data()}, plan, {});
    std::vector<std::uint16_t> bits;
    for (const Bf16 value : out.values()) bits.push_back(value.bits);
    return bits;
  };
  const std::vector<double> reference = reference_w4a16_gemm(activations, weights);
  for (const int blocks : {1, 2, 3, 8}) {
    const std::vector<std::uint16_t> bits = product(blocks, 1);
    for (const std::uint64_t seed : {2, 3, 4}) CHECK(product(blocks, seed) == bits);
    std::vector<float> values;
    for (const std::uint16_t value : bits) values.push_back(to_float(Bf16{value}));
    CHECK(compare(values, reference).relative_error <= 3e-3);
  }
}

TEST_CASE("a single wrong zero point fails the W4A16 comparison", "[kernels][w4a16]") {
  const int m = 2, n = 64, k = 512;
  const Int4Weights weights = random_weights(n, k, 6);
  RandomInputs random(6, "activations");
  const std::vector<Bf16> activations = random.normals_bf16(m * k);
  Int4Weights wrong = weights;
  wrong.zeros[70] = static_cast<std::uint8_t>(wrong.zeros[70] ^ 4);  // 1 of 256
  std::vector<float> values;
  for (const double value : reference_w4a16_gemm(activations, wrong))
    values.push_back(static_cast<float>(value));
  CHECK(compare(values, reference_w4a16_gemm(activations, weights)).relative_error > 2 * 3e-3);
}

TEST_CASE("weights are rounded to bf16 in the float64 reference, and nothing else is",
          "[kernels][w4a16]") {
  Int4Weights weights = random_weights(64, 128, 7);
  std::vector<Bf16> one_hot(128, Bf16{0});
  one_hot[5] = to_bf16(1.0F);
  const std::vector<double> out = reference_w4a16_gemm(one_hot, weights);
  int rounded = 0;
  for (int column = 0; column < 64; ++column) {
    const double exact = weights.weight(5, column);
    rounded += out[column] != exact;
    CHECK(std::fabs(out[column] - exact) <= std::fabs(exact) / 256);  // half a unit of 8 bits
  }
  CHECK(rounded > 0);
  // powers of two times small integers need no rounding
  weights.scales.assign(64, to_bf16(0.0625F));
  CHECK(reference_w4a16_gemm(one_hot, weights)[9] == weights.weight(5, 9));
}

TEST_CASE("no tokens, no launch", "[kernels][w4a16]") {
  W4a16GemmArguments nothing;
  nothing.n = 64;
  nothing.k = 128;
  CHECK_NOTHROW(launch_w4a16_gemm(nothing, {}, {}));
}
