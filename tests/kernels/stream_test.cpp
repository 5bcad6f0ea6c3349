// Streams read, write and copy every byte once, and the arithmetic that proves it is right.

#include "kernels/operators/stream.h"

#include <numeric>
#include <vector>

#include "kernels/device/device_memory.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

constexpr StreamPattern kPattern{12345, 0x9E3779B1U};

// one access, a tile of 32 KiB and its neighbours, several tiles with a ragged end
const std::vector<std::size_t> kSizes = {0,     16,    4096,      32768 - 16,
                                         32768, 32784, 3 * 32768, 5 * 32768 + 4112};

std::vector<std::uint32_t> words_of(StreamPattern pattern, std::size_t words) {
  std::vector<std::uint32_t> values(words);
  for (std::size_t i = 0; i < words; ++i) values[i] = pattern_word(pattern, i);
  return values;
}

std::uint32_t sum_of(const std::vector<std::uint32_t>& words) {
  return std::accumulate(words.begin(), words.end(), std::uint32_t{0});
}

}  // namespace

TEST_CASE("the closed sum of a pattern is the sum of its words", "[kernels][stream]") {
  std::uint32_t sum = 0;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    REQUIRE(pattern_sum(kPattern, i) == sum);
    sum += pattern_word(kPattern, i);
  }
  // beyond 32 bits of words: the sum of [0, n + 1) is that of [0, n) and word n
  const std::uint64_t many = (std::uint64_t{1} << 33) + 7;
  REQUIRE(pattern_sum(kPattern, many + 1) ==
          pattern_sum(kPattern, many) + pattern_word(kPattern, many));
}

TEST_CASE("a write stream leaves the pattern and nothing behind it", "[kernels][stream]") {
  for (const std::size_t bytes : kSizes) {
    CAPTURE(bytes);
    DeviceBuffer<std::uint32_t> to(bytes / 4 + 16);
    launch_stream_write(to.data(), bytes, kPattern, Stream{});
    std::vector<std::uint32_t> expected = words_of(kPattern, bytes / 4);
    expected.resize(bytes / 4 + 16, 0xFFFFFFFFU);
    REQUIRE(to.values() == expected);
  }
}

TEST_CASE("a read stream sums every word once, in any order of blocks", "[kernels][stream]") {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    emulation::set_schedule_seed(seed);
    for (const std::size_t bytes : kSizes) {
      CAPTURE(seed, bytes);
      const std::vector<std::uint32_t> words = words_of(kPattern, bytes / 4);
      const DeviceBuffer<std::uint32_t> from(words);
      const DeviceBuffer<std::uint32_t> sum(std::vector<std::uint32_t>{100});
      launch_stream_read(from.data(), bytes, sum.data(), Stream{});
      REQUIRE(sum.values()[0] == 100 + sum_of(words));
      REQUIRE(sum.values()[0] == 100 + pattern_sum(kPattern, bytes / 4));
    }
  }
}

TEST_CASE("a read stream notices a single changed word", "[kernels][stream]") {
  std::vector<std::uint32_t> words = words_of(kPattern, 2 * 32768 / 4);
  for (const std::size_t changed : {std::size_t{0}, words.size() / 2, words.size() - 1}) {
    std::vector<std::uint32_t> other = words;
    other[changed] ^= 1U;
    const DeviceBuffer<std::uint32_t> from(other);
    const DeviceBuffer<std::uint32_t> sum(std::vector<std::uint32_t>{0});
    launch_stream_read(from.data(), other.size() * 4, sum.data(), Stream{});
    REQUIRE(sum.values()[0] != pattern_sum(kPattern, words.size()));
  }
}

TEST_CASE("a copy stream copies every byte and nothing behind it", "[kernels][stream]") {
  for (const std::size_t bytes : kSizes) {
    CAPTURE(bytes);
    const std::vector<std::uint32_t> words = words_of(kPattern, bytes / 4);
    const DeviceBuffer<std::uint32_t> from(words);
    DeviceBuffer<std::uint32_t> to(bytes / 4 + 16);
    launch_stream_copy(to.data(), from.data(), bytes, Stream{});
    std::vector<std::uint32_t> expected = words;
    expected.resize(bytes / 4 + 16, 0xFFFFFFFFU);
    REQUIRE(to.values() == expected);
  }
}

TEST_CASE("streams refuse what their accesses cannot express", "[kernels][stream]") {
  DeviceBuffer<unsigned char> memory(256);
  REQUIRE_THROWS_AS(launch_stream_write(memory.data(), 24, kPattern, Stream{}),
                    fleetsim::InternalError);
  REQUIRE_THROWS_AS(launch_stream_write(memory.data() + 4, 32, kPattern, Stream{}),
                    fleetsim::InternalError);
}
