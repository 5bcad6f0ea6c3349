// Number formats, tensor-core fragments and random words are what their sources define.

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/device/device_memory.h"
#include "kernels/device/number_formats.h"
#include "kernels/device/philox.h"
#include "kernels/device/tensor_core.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

/// The value among `values` that is nearest to `x`; of two, the one with an even code.
template <class Format>
std::uint32_t nearest_code(double x, const std::vector<double>& values) {
  std::uint32_t best = 0;
  for (std::uint32_t code = 1; code < values.size(); ++code) {
    const double gain = std::fabs(values[best] - x) - std::fabs(values[code] - x);
    if (gain > 0 || (gain == 0 && code % 2 == 0 && best % 2 == 1)) best = code;
  }
  return best;
}

/// One warp: C (16 x 8) = A (16 x 16) B (16 x 8), A and B^T row by row in bf16 in shared memory.
void product_kernel(const Bf16* a, const Bf16* b, float* c) {
  unsigned char* shared = dynamic_shared_memory();
  const int lane = static_cast<int>(threadIdx.x);
  auto* left = reinterpret_cast<Bf16*>(shared);
  auto* right = reinterpret_cast<Bf16*>(shared + 512);  // [k][n]
  for (int i = lane; i < 256; i += 32) left[i] = a[i];
  for (int i = lane; i < 256; i += 32) right[i] = i % 16 < 8 ? b[i / 16 * 8 + i % 16] : Bf16{0};
  sync_warp();
  std::uint32_t fragment_a[4], fragment_b[4];
  load_matrix_x4(fragment_a, left + (lane % 16) * 16 + lane / 16 * 8);
  load_matrix_x4_transposed(fragment_b, right + (lane % 16) * 16 + lane / 16 * 8);
  float sums[4] = {0, 0, 0, 0};
  const std::uint32_t b_registers[2] = {fragment_b[0], fragment_b[1]};
  mma_bf16(sums, fragment_a, b_registers);
  for (int part = 0; part < 4; ++part)
    c[(lane / 4 + part / 2 * 8) * 8 + lane % 4 * 2 + part % 2] = sums[part];
}

}  // namespace

TEST_CASE("every fp16 and e4m3 code survives the way to fp32 and back", "[kernels][numbers]") {
  for (std::uint32_t code = 0; code < 65536; ++code) {
    const float value = to_float(Half{static_cast<std::uint16_t>(code)});
    if (std::isnan(value)) continue;
    REQUIRE(to_half(value).bits == code);
  }
  for (std::uint32_t code = 0; code < 256; ++code) {
    const float value = to_float(E4m3{static_cast<std::uint8_t>(code)});
    REQUIRE(std::isnan(value) == ((code & 0x7f) == 0x7f));
    if (!std::isnan(value)) REQUIRE(to_e4m3(value).bits == code);
  }
}

TEST_CASE("conversions to e4m3 take the nearest value, of two the even one, and saturate",
          "[kernels][numbers]") {
  std::vector<double> values;  // of the codes 0 to 0x7e: exponent and fraction by the definition
  for (int code = 0; code < 0x7f; ++code)
    values.push_back(code < 8 ? code * std::ldexp(1.0, -9)
                              : (8 + code % 8) * std::ldexp(1.0, code / 8 - 7 - 3));
  REQUIRE(values.back() == 448.0);
  for (int i = 0; i < 200'000; ++i) {
    const auto x = static_cast<float>(std::ldexp(1.0 + i % 4096 / 4096.0, i / 4096 - 12 - 27 / 2));
    const std::uint32_t expected = nearest_code<E4m3>(std::fmin(x, 448.0F), values);
    REQUIRE(to_e4m3(x).bits == expected);
    REQUIRE(to_e4m3(-x).bits == (expected | 0x80));
  }
  CHECK(to_e4m3(1e30F).bits == 0x7e);
  CHECK(to_e4m3(std::numeric_limits<float>::infinity()).bits == 0x7e);
  CHECK(to_e4m3(std::numeric_limits<float>::quiet_NaN()).bits == 0x7f);
  CHECK(pack_e4m3(1.0F, 2.0F, 448.0F, -0.5F) == 0xb07e4038U);
  CHECK(e4m3_pair_to_half(0x4038) == 0x40003c00U);
}

TEST_CASE("bf16 is the upper half of fp32, rounded to nearest even", "[kernels][numbers]") {
  CHECK(to_bf16(1.0F).bits == 0x3f80);
  CHECK(to_bf16(1.00390625F).bits == 0x3f80);  // a tie goes to the even code
  CHECK(to_bf16(1.01171875F).bits == 0x3f82);  // here upwards
  CHECK(to_bf16(1.00390637F).bits == 0x3f81);  // just above the tie
  CHECK(to_bf16(3.4e38F).bits == 0x7f80);      // rounds to infinity
  CHECK(std::isnan(to_float(to_bf16(std::numeric_limits<float>::quiet_NaN()))));
  CHECK(pack_bf16(1.0F, -2.0F) == 0xc0003f80U);
  CHECK(unpack_bf16(0xc0003f80U).y == -2.0F);
}

TEST_CASE("ldmatrix and mma.sync fragments multiply matrices", "[kernels][numbers]") {
  std::vector<Bf16> a(256), b(128);
  for (int i = 0; i < 256; ++i) a[i] = to_bf16(static_cast<float>((i * 37 + 11) % 64 - 32));
  for (int i = 0; i < 128; ++i) b[i] = to_bf16(static_cast<float>((i * 53 + 7) % 64 - 32));
  const DeviceBuffer<Bf16> device_a(a), device_b(b);
  DeviceBuffer<float> c(128);
  launch(product_kernel, {{1, 1, 1}, {32, 1, 1}, 1024}, device_a.data(), device_b.data(), c.data());
  const std::vector<float> got = c.values();
  for (int r = 0; r < 16; ++r)
    for (int n = 0; n < 8; ++n) {
      float expected = 0;
      for (int k = 0; k < 16; ++k) expected += to_float(a[r * 16 + k]) * to_float(b[k * 8 + n]);
      REQUIRE(got[r * 8 + n] == expected);  // small integers: exact
    }
}

TEST_CASE("Philox4x32-10 gives the known answers of its authors", "[kernels][numbers]") {
  // Random123, tests/kat_vectors, philox4x32 10
  const uint4 zeros = philox({0, 0, 0, 0}, 0);
  CHECK(zeros.x == 0x6627e8d5U);
  CHECK(zeros.y == 0xe169c58dU);
  CHECK(zeros.z == 0xbc57ac4cU);
  CHECK(zeros.w == 0x9b00dbd8U);
  const uint4 ones = philox({~0U, ~0U, ~0U, ~0U}, ~std::uint64_t{0});
  CHECK(ones.x == 0x408f276dU);
  CHECK(ones.y == 0x41c83b0eU);
  CHECK(ones.z == 0xa20bc7c6U);
  CHECK(ones.w == 0x6d5451fdU);
  const uint4 pi =
      philox({0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U}, 0x299f31d0a4093822ULL);
  CHECK(pi.x == 0xd16cfe09U);
  CHECK(pi.y == 0x94fdccebU);
  CHECK(pi.z == 0x5001e420U);
  CHECK(pi.w == 0x24126ea1U);
  CHECK(open_unit(0) > 0.0F);
  CHECK(open_unit(~0U) < 1.0F);
}
