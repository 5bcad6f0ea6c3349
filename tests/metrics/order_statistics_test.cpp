// Percentiles by selection against hand-worked cases and against sorting.

#include "sim/metrics/order_statistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "tests/catch.h"

namespace fleetsim {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double percentile(std::vector<double> values, double probability) {
  return select_percentiles(values, std::span(&probability, 1)).front();
}

TEST_CASE("percentiles interpolate linearly between order statistics, as numpy does", "[unit]") {
  // numpy.percentile([1, 2, 3, 4], q): position q * 3.
  REQUIRE(percentile({4, 1, 3, 2}, 0.5) == 2.5);
  REQUIRE(percentile({4, 1, 3, 2}, 0.0) == 1);
  REQUIRE(percentile({4, 1, 3, 2}, 1.0) == 4);
  REQUIRE(percentile({4, 1, 3, 2}, 0.9) == Approx(3.7).epsilon(1e-12));
  REQUIRE(percentile({15, 20, 35, 40, 50}, 0.4) == Approx(29.0).epsilon(1e-12));
  REQUIRE(percentile({7}, 0.95) == 7);
}

TEST_CASE("a percentile that touches a miss is infinite, one below is not", "[unit]") {
  // Four values and one miss: position of p75 is exactly 3, of p76 just above it.
  REQUIRE(percentile({1, 2, 3, 4, kInfinity}, 0.75) == 4);
  REQUIRE(std::isinf(percentile({1, 2, 3, 4, kInfinity}, 0.76)));
  REQUIRE(std::isinf(percentile({kInfinity, kInfinity}, 0.5)));
}

TEST_CASE("selection agrees with sorting on random values with ties", "[invariant]") {
  std::mt19937_64 random(11);
  for (int round = 0; round < 200; ++round) {
    std::vector<double> values(1 + random() % 500);
    for (double& value : values) value = static_cast<double>(random() % 100);
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    std::vector<double> probabilities;
    for (int i = 0; i <= 40; ++i) probabilities.push_back(i / 40.0);
    const auto answer = select_percentiles(values, probabilities);
    for (std::size_t i = 0; i < probabilities.size(); ++i) {
      const double position = probabilities[i] * static_cast<double>(sorted.size() - 1);
      const auto below = static_cast<std::size_t>(position);
      const double high = sorted[std::min(below + 1, sorted.size() - 1)];
      const double expected =
          sorted[below] + (position - static_cast<double>(below)) * (high - sorted[below]);
      REQUIRE(answer[i] == Approx(expected).epsilon(1e-12).margin(1e-12));
    }
    std::sort(values.begin(), values.end());
    REQUIRE(values == sorted);  // selection only reorders
  }
}

}  // namespace
}  // namespace fleetsim
