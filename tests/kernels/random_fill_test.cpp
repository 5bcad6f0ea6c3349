// Operands filled on the device are the host's Philox draws, to the last element and not beyond.

#include "kernels/device/random_fill.h"

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/device/device_memory.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

/// Draw `index` of `seed` from Philox's words in double precision, written down a second time.
double normal_draw(std::uint64_t seed, std::uint64_t index) {
  const std::uint64_t quarter = index / 4;
  const uint4 words = philox({static_cast<std::uint32_t>(quarter),
                              static_cast<std::uint32_t>(quarter >> 32), 0x6e6f726dU, 0},
                             seed);
  const std::uint32_t radius_word = index % 4 < 2 ? words.x : words.z;
  const std::uint32_t angle_word = index % 4 < 2 ? words.y : words.w;
  const double radius = std::sqrt(-2 * std::log((double(radius_word >> 9) + 0.5) / 8388608.0));
  const double angle = 2 * std::acos(-1.0) * (double(angle_word >> 9) + 0.5) / 8388608.0;
  return radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

/// Filled elements as floats; the buffer is larger by 64 elements, which must stay poisoned.
template <class T>
std::vector<T> filled(std::size_t count, float scale, std::uint64_t seed) {
  DeviceBuffer<T> buffer(count + 64);
  fill_normal(buffer.data(), count, scale, seed, Stream{});
  std::vector<T> values = buffer.values();
  for (std::size_t i = count; i < values.size(); ++i) {
    unsigned char bytes[sizeof(T)];
    std::memcpy(bytes, &values[i], sizeof(T));
    for (const unsigned char byte : bytes) REQUIRE(byte == 0xFF);
  }
  values.resize(count);
  return values;
}

}  // namespace

TEST_CASE("normal fills are the host's Philox draws at every length", "[kernels][fill]") {
  for (const std::size_t count : {0U, 1U, 3U, 4U, 15U, 16U, 17U, 1000U, 70001U}) {
    CAPTURE(count);
    const std::vector<float> floats = filled<float>(count, 1.0F, 42);
    const std::vector<Bf16> bf16s = filled<Bf16>(count, 0.25F, 42);
    const std::vector<E4m3> e4m3s = filled<E4m3>(count, 2.0F, 42);
    for (std::size_t i = 0; i < count; ++i) {
      REQUIRE(std::fabs(floats[i] - normal_draw(42, i)) < 1e-5);
      // each format is the rounding of the very same draw
      REQUIRE(bf16s[i].bits == to_bf16(0.25F * floats[i]).bits);
      REQUIRE(e4m3s[i].bits == to_e4m3(2.0F * floats[i]).bits);
    }
  }
}

TEST_CASE("normal fills have the moments of normal draws", "[kernels][fill]") {
  // 65536 draws of a fixed seed. Standard errors: mean 1/256, variance sqrt(2)/256, fourth moment
  // sqrt(96)/256, neighbours' correlation 1/256; 4 of each pass. A variance wrong by 2.3 % fails.
  const std::vector<float> draws = filled<float>(65536, 1.0F, 7);
  double mean = 0, square = 0, fourth = 0, neighbours = 0;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    const double x = draws[i];
    mean += x, square += x * x, fourth += x * x * x * x;
    if (i > 0) neighbours += x * draws[i - 1];
  }
  const double n = static_cast<double>(draws.size());
  REQUIRE(std::fabs(mean / n) < 4.0 / 256);
  REQUIRE(std::fabs(square / n - 1) < 4 * std::sqrt(2.0) / 256);
  REQUIRE(std::fabs(fourth / n - 3) < 4 * std::sqrt(96.0) / 256);
  REQUIRE(std::fabs(neighbours / n) < 4.0 / 256);
}

TEST_CASE("another seed fills other values", "[kernels][fill]") {
  const std::vector<float> one = filled<float>(1000, 1.0F, 1), two = filled<float>(1000, 1.0F, 2);
  int equal = 0;
  for (std::size_t i = 0; i < one.size(); ++i) equal += one[i] == two[i] ? 1 : 0;
  REQUIRE(equal < 5);
}

TEST_CASE("byte fills are Philox's words in memory order at every length", "[kernels][fill]") {
  for (const std::size_t count : {0U, 1U, 15U, 16U, 17U, 4099U}) {
    CAPTURE(count);
    DeviceBuffer<unsigned char> buffer(count + 64);
    fill_bytes(buffer.data(), count, 99, Stream{});
    const std::vector<unsigned char> bytes = buffer.values();
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const uint4 piece =
          philox({static_cast<std::uint32_t>(i / 16), 0, 0x62797465U, 0}, std::uint64_t{99});
      const std::uint32_t words[4] = {piece.x, piece.y, piece.z, piece.w};
      unsigned char expected[16];
      std::memcpy(expected, words, 16);
      REQUIRE(int(bytes[i]) == (i < count ? int(expected[i % 16]) : 0xFF));
    }
  }
}
