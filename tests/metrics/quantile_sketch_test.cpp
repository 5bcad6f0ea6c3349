// The sketch's guarantee against exact ranks on inputs that are meant to break it.

#include "sim/metrics/quantile_sketch.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/catch.h"

namespace fleetsim {
namespace {

std::vector<double> probabilities() {
  std::vector<double> answer;
  for (int i = 0; i <= 1000; ++i) answer.push_back(i / 1000.0);
  answer.push_back(0.9999);
  return answer;
}

/// Largest distance between the asked position and the ranks that the answers really cover.
double worst_rank_error(const QuantileSketch& sketch, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto asked = probabilities();
  const auto answers = sketch.quantiles(asked);
  double worst = 0;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const double position = asked[i] * static_cast<double>(values.size() - 1);
    const auto range = std::equal_range(values.begin(), values.end(), answers[i]);
    REQUIRE(range.first != range.second);  // an observed value
    const auto first = static_cast<double>(range.first - values.begin());
    const auto last = static_cast<double>(range.second - values.begin() - 1);
    worst = std::max({worst, first - position, position - last});
  }
  return worst;
}

void check_stream(const std::string& name, const std::vector<double>& values) {
  QuantileSketch sketch;
  for (const double value : values) sketch.add(value);
  const auto count = static_cast<double>(values.size());
  const double worst = worst_rank_error(sketch, values);
  INFO(name << ": worst rank error " << worst << " bound " << sketch.rank_error_bound());
  REQUIRE(sketch.count() == static_cast<std::int64_t>(values.size()));
  REQUIRE(worst <=
          static_cast<double>(sketch.rank_error_bound()) + 1);  // +1: positions between ranks
  REQUIRE(static_cast<double>(sketch.rank_error_bound()) <=
          QuantileSketch::worst_rank_error(count));
  REQUIRE(static_cast<double>(sketch.rank_error_bound()) <= 0.001 * count);
  REQUIRE(sketch.quantiles({0.0}).front() == *std::min_element(values.begin(), values.end()));
  REQUIRE(sketch.quantiles({1.0}).front() == *std::max_element(values.begin(), values.end()));
  REQUIRE(sketch.bytes() < 4'000'000);
}

TEST_CASE("the rank error stays within the proved bound on hostile orders", "[invariant]") {
  constexpr int kCount = 2'000'003;
  const auto make = [&](const std::function<double(int)>& value) {
    std::vector<double> values;
    for (int i = 0; i < kCount; ++i) values.push_back(value(i));
    return values;
  };
  std::mt19937_64 random(3);
  check_stream("sorted", make([](int i) { return i; }));
  check_stream("reversed", make([](int i) { return kCount - i; }));
  check_stream("random", make([&](int) { return static_cast<double>(random() >> 11); }));
  check_stream("constant", make([](int) { return 42.0; }));
  check_stream("two values", make([&](int) { return static_cast<double>(random() % 2); }));
  check_stream("organ pipe", make([](int i) { return std::min(i, kCount - i); }));
  check_stream("zoom in", make([](int i) { return i % 2 == 0 ? i : 2 * kCount - i; }));
  check_stream("heavy tail",
               make([&](int) { return 1 / (static_cast<double>(random() >> 11) + 1); }));
}

TEST_CASE("the bound allows 10^11 values at 0.1 %, and says when it would not", "[unit]") {
  for (double count = 1e5; count <= 1e11; count *= 1.37) {
    REQUIRE(QuantileSketch::worst_rank_error(count) <= 0.001 * count);
  }
  REQUIRE(QuantileSketch::worst_rank_error(1e11) <= 0.00077 * 1e11);
  REQUIRE(QuantileSketch::worst_rank_error(1e14) > 0.0007 * 1e14);
}

TEST_CASE("a sketch that has dropped nothing interpolates exactly", "[unit]") {
  QuantileSketch sketch;
  for (const double value : {4.0, 1.0, 3.0, 2.0}) sketch.add(value);
  REQUIRE(sketch.rank_error_bound() == 0);
  REQUIRE(sketch.quantiles({0.0, 0.5, 0.9, 1.0}).at(1) == 2.5);
  REQUIRE(sketch.quantiles({0.9}).front() == Approx(3.7).epsilon(1e-12));
}

TEST_CASE("merged sketches keep the bound and every value's weight", "[invariant]") {
  std::mt19937_64 random(8);
  std::vector<double> values;
  QuantileSketch whole;
  std::int64_t bounds = 0;
  for (int part = 0; part < 20; ++part) {
    QuantileSketch sketch;
    const std::size_t count = part % 3 == 0 ? 500 : 40'000 + random() % 90'000;
    for (std::size_t i = 0; i < count; ++i) {
      const double value = static_cast<double>(random() % 1'000'000) + part * 1e5;
      sketch.add(value);
      values.push_back(value);
    }
    bounds += sketch.rank_error_bound();
    whole.merge(sketch);
  }
  REQUIRE(whole.count() == static_cast<std::int64_t>(values.size()));
  const double worst = worst_rank_error(whole, values);
  INFO("worst " << worst << " bound " << whole.rank_error_bound() << " of parts " << bounds);
  REQUIRE(worst <= static_cast<double>(whole.rank_error_bound()) + 1);
  REQUIRE(static_cast<double>(whole.rank_error_bound()) <=
          0.001 * static_cast<double>(values.size()));
}

TEST_CASE("the same values in the same order give the same answers", "[unit]") {
  QuantileSketch left, right;
  std::mt19937_64 random(4);
  for (int i = 0; i < 300'000; ++i) {
    const auto value = static_cast<double>(random() >> 20);
    left.add(value);
    right.add(value);
  }
  REQUIRE(left.quantiles(probabilities()) == right.quantiles(probabilities()));
}

}  // namespace
}  // namespace fleetsim
