// The histogram's stated error against exact order statistics.

#include "sim/metrics/gap_histogram.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/catch.h"

namespace fleetsim {
namespace {

TEST_CASE("gaps below 8192 ns and gaps of one length come out exactly", "[unit]") {
  GapHistogram small;
  for (std::int64_t value = 0; value < 8192; ++value) small.add(value, 1);
  REQUIRE(small.count() == 8192);
  REQUIRE(small.min() == 0);
  REQUIRE(small.max() == 8191);
  REQUIRE(small.percentile(0.5) == 4095.5);
  REQUIRE(small.mean() == 4095.5);
  REQUIRE(small.percentile(1000.0 / 8191) == Approx(1000).epsilon(1e-12));

  GapHistogram constant;
  constant.add(12'345'678'901, 1'000'000'007);
  for (const double p : {0.0, 0.5, 0.99, 1.0}) REQUIRE(constant.percentile(p) == 12'345'678'901.0);
  REQUIRE(constant.mean() == 12'345'678'901.0);
  REQUIRE(constant.sum() == static_cast<Wide>(12'345'678'901) * 1'000'000'007);
}

TEST_CASE("weights count like repeated samples and interpolate like them", "[unit]") {
  GapHistogram weighted;
  weighted.add(10, 3);
  weighted.add(20, 0);
  weighted.add(40, 1);
  // 10 10 10 40: p75 is at position 2.25.
  REQUIRE(weighted.count() == 4);
  REQUIRE(weighted.percentile(0.75) == 17.5);
  REQUIRE(weighted.mean() == 17.5);
  REQUIRE(weighted.max() == 40);
}

template <typename Histogram>
void check_bound(double relative_error, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Histogram histogram;
  std::vector<std::int64_t> values;
  for (int i = 0; i < 20000; ++i) {
    // Spread over all magnitudes up to 2^50 ns, thirteen days.
    const auto value = static_cast<std::int64_t>(random() >> (14 + random() % 50));
    const auto weight = static_cast<std::int64_t>(1 + random() % 3);
    histogram.add(value, weight);
    values.insert(values.end(), static_cast<std::size_t>(weight), value);
  }
  std::sort(values.begin(), values.end());
  double worst = 0;
  for (int i = 0; i <= 1000; ++i) {
    const double position = i / 1000.0 * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const auto low = static_cast<double>(values[below]);
    const auto high = static_cast<double>(values[std::min(below + 1, values.size() - 1)]);
    const double exact = low + (position - static_cast<double>(below)) * (high - low);
    const double error = std::abs(histogram.percentile(i / 1000.0) - exact);
    if (exact > 0) worst = std::max(worst, error / exact);
  }
  INFO("worst relative error " << worst);
  REQUIRE(worst <= relative_error);
  REQUIRE(worst > relative_error / 50);  // the inputs do exercise the rounding
}

TEST_CASE("percentiles stay within the stated relative error over all magnitudes", "[invariant]") {
  check_bound<GapHistogram>(1.0 / 8192, 1);
  check_bound<WindowHistogram>(1.0 / 1024, 2);
}

TEST_CASE("merging histograms equals adding everything to one", "[invariant]") {
  std::mt19937_64 random(5);
  GapHistogram one, left, right, empty;
  for (int i = 0; i < 5000; ++i) {
    const auto value = static_cast<std::int64_t>(random() >> (24 + random() % 40));
    one.add(value, 2);
    (random() % 2 == 0 ? left : right).add(value, 2);
  }
  left.merge(empty);
  empty.merge(left);
  empty.merge(right);
  REQUIRE(empty.count() == one.count());
  REQUIRE(empty.sum() == one.sum());
  REQUIRE(empty.min() == one.min());
  REQUIRE(empty.max() == one.max());
  for (int i = 0; i <= 100; ++i) REQUIRE(empty.percentile(i / 100.0) == one.percentile(i / 100.0));
}

TEST_CASE("a histogram holds nothing before its first value and one row an octave after",
          "[unit]") {
  GapHistogram histogram;
  REQUIRE(histogram.bytes() == 0);
  histogram.add(20'000'000, 1);  // 2^24 <= 20 ms < 2^25
  histogram.add(30'000'000, 1);
  const std::int64_t row = 4096 * 8;
  REQUIRE(histogram.bytes() >= row);
  REQUIRE(histogram.bytes() < 2 * row);
  REQUIRE_THROWS_AS(histogram.add(-1, 1), InternalError);
  REQUIRE_THROWS_AS(GapHistogram().percentile(0.5), InternalError);
}

}  // namespace
}  // namespace fleetsim
