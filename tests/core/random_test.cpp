// The quality of keyed draws: uniform, independent of their neighbours, and laws with the right
// moments. Every gate is a number of standard errors at a fixed seed, with its power beside it.

#include "sim/core/random.h"

#include <array>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "sim/core/discrete_law.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

double chi_square(const std::vector<double>& observed, const std::vector<double>& expected) {
  double sum = 0;
  for (std::size_t i = 0; i < observed.size(); ++i) {
    sum += (observed[i] - expected[i]) * (observed[i] - expected[i]) / expected[i];
  }
  return sum;
}

/// Standard deviations from its mean of a chi-square value with many degrees of freedom.
double chi_square_z(double value, double degrees) {
  return (value - degrees) / std::sqrt(2 * degrees);
}

/// z of a histogram of values in (0, 1) over 256 cells.
template <class Draw>
double uniformity_z(std::uint64_t count, Draw draw) {
  std::vector<double> observed(256, 0.0);
  for (std::uint64_t i = 0; i < count; ++i) observed[static_cast<std::size_t>(draw(i) * 256)] += 1;
  const std::vector<double> expected(256, static_cast<double>(count) / 256);
  return chi_square_z(chi_square(observed, expected), 255);
}

/// Correlation of pairs of uniforms times sqrt(count): standard normal when independent.
template <class First, class Second>
double correlation_z(std::uint64_t count, First first, Second second) {
  double sum = 0;
  for (std::uint64_t i = 0; i < count; ++i) sum += (first(i) - 0.5) * (second(i) - 0.5);
  return sum * 12 / std::sqrt(static_cast<double>(count));
}

struct Moments {
  double mean = 0, variance = 0, mean_error = 0, variance_error = 0;
};

template <class Draw>
Moments moments(int count, Draw draw) {
  std::vector<double> values;
  double sum = 0;
  for (int i = 0; i < count; ++i) {
    values.push_back(draw(static_cast<std::uint64_t>(i)));
    sum += values.back();
  }
  const double n = count, mean = sum / n;
  double second = 0, fourth = 0;
  for (const double value : values) {
    const double square = (value - mean) * (value - mean);
    second += square;
    fourth += square * square;
  }
  second /= n;
  fourth /= n;
  return {mean, second, std::sqrt(second / n), std::sqrt((fourth - second * second) / n)};
}

constexpr std::uint64_t kDraws = 1 << 20;

}  // namespace

TEST_CASE("a draw is a pure function of its key", "[unit]") {
  const RandomStream stream(7, "arrivals", 3);
  REQUIRE(stream == RandomStream(7, "arrivals", 3));
  REQUIRE(stream.bits(5) == RandomStream(7, "arrivals", 3).bits(5));
  REQUIRE(stream.bits(5) != stream.bits(6));
  REQUIRE(stream.bits(5) != RandomStream(8, "arrivals", 3).bits(5));
  REQUIRE(stream.bits(5) != RandomStream(7, "arrival", 3).bits(5));
  REQUIRE(stream.bits(5) != RandomStream(7, "arrivals", 4).bits(5));
  REQUIRE(Purpose::named("chat").value == Purpose("chat").value);
  REQUIRE(stream.child("chat") == stream.child(Purpose::named("chat")));
}

TEST_CASE("the values of the generator are pinned", "[golden]") {
  // Any change here changes every result of every scenario: it needs a reason and a release note.
  const RandomStream stream(1, "arrivals", 0);
  REQUIRE(stream.bits(0) == 0x967e6bd41119423ULL);
  REQUIRE(stream.at(41).bits(2) == 0x383391d16fb60dc5ULL);
  REQUIRE(stream.child("lengths").at(41).bits(2) == 0xc3d1f41c2557442cULL);
}

TEST_CASE("draws, ids, purposes and seeds each give uniform values", "[statistics]") {
  const RandomStream stream(1, "uniformity");
  REQUIRE(std::fabs(uniformity_z(kDraws, [&](auto i) { return stream.uniform(i); })) < 4);
  REQUIRE(std::fabs(uniformity_z(kDraws, [&](auto i) { return stream.at(i).uniform(); })) < 4);
  REQUIRE(std::fabs(uniformity_z(
              kDraws, [&](auto i) { return RandomStream(i, "uniformity").uniform(); })) < 4);
  REQUIRE(std::fabs(uniformity_z(kDraws, [&](auto i) {
            return stream.child(Purpose::named(std::to_string(i))).uniform();
          })) < 4);
  // the low bits, which uniform() drops, and sparse ids as clients shifted into the high bits
  REQUIRE(std::fabs(uniformity_z(kDraws, [&](auto i) {
            return static_cast<double>(stream.bits(i) & 0xFF) / 256;
          })) < 4);
  REQUIRE(std::fabs(uniformity_z(kDraws, [&](auto i) { return stream.at(i << 40).uniform(); })) <
          4);
  // power: one cell in 256 that is a quarter too likely shows
  REQUIRE(uniformity_z(kDraws, [&](auto i) {
            const double u = stream.uniform(i);
            return u > 0.95 && stream.uniform(i + kDraws) < 0.02 ? 0.001 : u;
          }) > 4);
}

TEST_CASE("neighbouring draws, ids, purposes and seeds are uncorrelated", "[statistics]") {
  const RandomStream a(1, "prompt"), b(1, "output"), c(2, "prompt");
  const auto check = [](double z) { REQUIRE(std::fabs(z) < 4); };
  check(correlation_z(
      kDraws, [&](auto i) { return a.uniform(i); }, [&](auto i) { return a.uniform(i + 1); }));
  check(correlation_z(
      kDraws, [&](auto i) { return a.at(i).uniform(); },
      [&](auto i) { return a.at(i + 1).uniform(); }));
  check(correlation_z(
      kDraws, [&](auto i) { return a.at(i).uniform(0); },
      [&](auto i) { return a.at(i).uniform(1); }));
  check(correlation_z(
      kDraws, [&](auto i) { return a.at(i).uniform(); },
      [&](auto i) { return b.at(i).uniform(); }));
  check(correlation_z(
      kDraws, [&](auto i) { return a.at(i).uniform(); },
      [&](auto i) { return c.at(i).uniform(); }));
  check(correlation_z(
      kDraws, [&](auto i) { return a.at(i).uniform(); }, [&](auto i) { return a.uniform(i); }));
  // power: a correlation of 1 % is ten standard errors
  REQUIRE(correlation_z(
              kDraws, [&](auto i) { return a.uniform(i); },
              [&](auto i) { return 0.01 * a.uniform(i) + 0.99 * a.uniform(i + kDraws); }) > 6);
}

TEST_CASE("pairs of neighbouring ids fill the unit square evenly", "[statistics]") {
  const RandomStream stream(3, "square");
  std::vector<double> observed(64 * 64, 0.0);
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    observed[stream.at(i).index(64) * 64 + stream.at(i + 1).index(64)] += 1;
  }
  const std::vector<double> expected(64 * 64, static_cast<double>(kDraws) / (64 * 64));
  REQUIRE(std::fabs(chi_square_z(chi_square(observed, expected), 64 * 64 - 1)) < 4);
}

TEST_CASE("flipping one bit of a key flips half of the output bits", "[statistics]") {
  const int keys = 2000;
  for (int bit = 0; bit < 64; ++bit) {
    double flips = 0;
    for (std::uint64_t i = 0; i < keys; ++i) {
      const std::uint64_t id = mix_bits(i + 1);
      const RandomStream stream(1, "avalanche");
      flips +=
          std::popcount(stream.at(id).bits() ^ stream.at(id ^ (std::uint64_t{1} << bit)).bits());
    }
    const double error = 0.5 / std::sqrt(64.0 * keys);  // of the mean share of flipped bits
    REQUIRE(std::fabs(flips / (64.0 * keys) - 0.5) < 4.5 * error);
  }
}

TEST_CASE("a million streams have a million different first draws", "[unit]") {
  std::set<std::uint64_t> seen;
  for (std::uint64_t i = 0; i < 500'000; ++i) {
    seen.insert(RandomStream(1, "requests", i).bits());
    seen.insert(RandomStream(1, "requests", i).bits(1));
  }
  REQUIRE(seen.size() == 1'000'000);
}

TEST_CASE("uniform never returns 0 or 1", "[unit]") {
  const RandomStream stream(1, "open interval");
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    const double u = stream.uniform(i);
    REQUIRE((u > 0 && u < 1));
  }
}

TEST_CASE("the normal quantile has the published accuracy", "[unit]") {
  REQUIRE(normal_quantile(0.5) == 0.0);
  // Wichura's own check values for PPND16 (AS 241, p. 483)
  REQUIRE(normal_quantile(0.25) == Approx(-0.6744897501960817).epsilon(1e-15));
  REQUIRE(normal_quantile(0.001) == Approx(-3.090232306167814).epsilon(1e-15));
  REQUIRE(normal_quantile(1e-20) == Approx(-9.262340089798408).epsilon(1e-15));
  // inverse of erfc on both branches and in the tails
  for (const double p : {1e-300, 1e-30, 1e-12, 1e-6, 0.01, 0.0749, 0.0751, 0.3, 0.6, 0.93, 0.999}) {
    const double back = 0.5 * std::erfc(-normal_quantile(p) / std::sqrt(2.0));
    REQUIRE(back == Approx(p).epsilon(p < 1e-100 ? 1e-12 : 1e-13));
  }
}

TEST_CASE("continuous laws have their closed-form mean and variance", "[statistics]") {
  const int count = 400'000;
  const RandomStream stream(5, "laws");
  const auto check = [](const Moments& m, double mean, double variance) {
    REQUIRE(std::fabs(m.mean - mean) < 4 * m.mean_error);
    REQUIRE(std::fabs(m.variance - variance) < 4 * m.variance_error);
    REQUIRE(std::fabs(m.mean * 1.03 - mean) + std::fabs(mean) * 1e-9 + (mean == 0 ? 1 : 0) >
            4 * m.mean_error);  // power: 3 % off would show
  };
  check(moments(count, [&](auto i) { return stream.uniform(i); }), 0.5, 1.0 / 12);
  check(moments(count, [&](auto i) { return stream.exponential(i); }), 1, 1);
  check(moments(count, [&](auto i) { return stream.normal(i); }), 0, 1);
  for (const double shape : {0.05, 0.3, 0.9999, 1.0, 2.5, 40.0}) {
    const RandomStream own = stream.child(Purpose::named("gamma " + std::to_string(shape)));
    check(moments(count, [&](auto i) { return own.at(i).gamma(shape); }), shape, shape);
  }
  for (const double mean : {1.25, 5.0, 300.0}) {
    check(moments(count, [&](auto i) { return stream.at(i).geometric(mean); }), mean,
          mean * (mean - 1));
  }
  REQUIRE(stream.geometric(1) == 1);
}

TEST_CASE("index is even over ranges that do not divide 2^64", "[statistics]") {
  const RandomStream stream(6, "index");
  std::vector<double> observed(7, 0.0);
  for (std::uint64_t i = 0; i < 700'000; ++i) observed[stream.index(7, i)] += 1;
  REQUIRE(chi_square(observed, std::vector<double>(7, 100'000.0)) < 24.1);  // 99.95 % of chi2(6)
  REQUIRE(stream.index(1, 3) == 0);
}

TEST_CASE("a table of weights gives each index its share", "[statistics]") {
  const std::vector<double> weights = {0, 5, 1, 0, 0.01, 30, 2, 0};
  const DiscreteTable table(weights);
  const RandomStream stream(7, "table");
  std::vector<double> observed(weights.size(), 0.0), seen, expected;
  const int count = 1'000'000;
  for (int i = 0; i < count; ++i)
    observed[table.at(stream.uniform(static_cast<std::uint64_t>(i)))] += 1;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) {
      REQUIRE(observed[i] == 0);
    } else {
      seen.push_back(observed[i]);
      expected.push_back(weights[i] / 38.01 * count);
    }
  }
  REQUIRE(chi_square(seen, expected) < 20.0);  // 99.95 % of chi2(4)
  REQUIRE(table.at(0x1p-54) == 1);
  REQUIRE(table.at(1 - 0x1p-53) == 6);
  REQUIRE_THROWS_AS(DiscreteTable({0, 0}), InternalError);
}

TEST_CASE("Zipf by rejection agrees with Zipf by table", "[statistics]") {
  for (const double exponent : {0.0, 0.5, 1.0, 1.0000001, 1.7, 3.0}) {
    const int ranks = 50, count = 300'000;
    const ZipfLaw law(exponent, ranks);
    const RandomStream stream(8, "zipf");
    const std::vector<double> weights = zipf_weights(ranks, exponent);
    double sum = 0;
    for (const double weight : weights) sum += weight;
    std::vector<double> observed(ranks, 0.0), expected;
    for (const double weight : weights) expected.push_back(weight / sum * count);
    for (std::uint64_t i = 0; i < count; ++i) {
      observed[static_cast<std::size_t>(law.draw(stream.at(i)) - 1)] += 1;
    }
    // expected counts fall to 2 at exponent 3; the pooled statistic stays near normal
    REQUIRE(std::fabs(chi_square_z(chi_square(observed, expected), ranks - 1)) < 4);
  }
}

TEST_CASE("Zipf over a range of billions stays inside it", "[unit]") {
  const ZipfLaw law(1.0, 2'000'000'000);
  const RandomStream stream(9, "zipf");
  std::int64_t largest = 0;
  for (std::uint64_t i = 0; i < 200'000; ++i) {
    const std::int64_t value = law.draw(stream.at(i));
    REQUIRE((value >= 1 && value <= 2'000'000'000));
    largest = std::max(largest, value);
  }
  REQUIRE(largest > 1'900'000'000);  // at exponent 1 each octave is equally likely
  REQUIRE(ZipfLaw(1.2, 1).draw(stream) == 1);
}
