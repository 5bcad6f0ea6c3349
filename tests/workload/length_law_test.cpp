// Every length law against its closed form, in standard errors, with the power beside it.

#include "sim/workload/length_law.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/workload/trace_files.h"

#include "tests/catch.h"

using namespace fleetsim;
using Kind = LengthDistribution::Kind;

namespace {

constexpr int kDraws = 400'000;

LengthDistribution of(Kind kind) {
  LengthDistribution distribution;
  distribution.kind = kind;
  return distribution;
}
LengthDistribution lognormal(double mean, double p95, std::optional<std::int64_t> max = {}) {
  LengthDistribution distribution = of(Kind::lognormal);
  distribution.mean = mean;
  distribution.p95 = p95;
  distribution.max = max;
  return distribution;
}
LengthDistribution fixed(std::int64_t value) {
  LengthDistribution distribution = of(Kind::fixed);
  distribution.value = value;
  return distribution;
}
LengthDistribution uniform(std::int64_t min, std::int64_t max) {
  LengthDistribution distribution = of(Kind::uniform);
  distribution.min = min;
  distribution.max = max;
  return distribution;
}

/// The law, or the text of the problems.
struct Made {
  std::optional<LengthLaw> law;
  std::string problems;
};
Made make(const LengthDistribution& distribution, LengthLaw::Zero zero = LengthLaw::Zero::refused) {
  SourceMap source;
  source.file = "s.yaml";
  Problems problems;
  LengthLaw law(distribution, zero, "workload.prompt_tokens", source, problems);
  if (!problems.empty()) return {std::nullopt, problems.text()};
  return {std::move(law), ""};
}

std::vector<double> draw(const LengthDistribution& distribution, int count = kDraws) {
  const Made made = make(distribution, LengthLaw::Zero::allowed);
  REQUIRE(made.problems == "");
  const RandomStream stream(1, "length law test");
  std::vector<double> values;
  for (int i = 0; i < count; ++i) {
    values.push_back(made.law->draw(stream.at(static_cast<std::uint64_t>(i))));
  }
  return values;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}
double deviation_of(const std::vector<double>& values) {
  const double mean = mean_of(values);
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(values.size()));
}

/// The sample mean lies within 4 standard errors, and 2 % off would not.
void check_mean(const std::vector<double>& values, double expected) {
  const double error = deviation_of(values) / std::sqrt(static_cast<double>(values.size()));
  INFO("mean " << mean_of(values) << " expected " << expected << " error " << error);
  REQUIRE(std::fabs(mean_of(values) - expected) < 4 * error);
  REQUIRE(0.02 * expected > 4 * error);
}

/// The share of values up to `x` lies within 4 standard errors of `probability`.
void check_share(const std::vector<double>& values, double x, double probability) {
  const double share =
      static_cast<double>(
          std::count_if(values.begin(), values.end(), [&](double value) { return value <= x; })) /
      static_cast<double>(values.size());
  const double error =
      std::sqrt(probability * (1 - probability) / static_cast<double>(values.size()));
  INFO("share up to " << x << ": " << share << " expected " << probability);
  REQUIRE(std::fabs(share - probability) <= 4 * error + 1e-12);
}

double normal_below(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

}  // namespace

TEST_CASE("lognormal takes the smaller root for sigma", "[unit]") {
  // sigma = 0.5: p95/mean = exp(1.6448536 * 0.5 - 0.125); the larger root would be 2.79
  REQUIRE(*lognormal_sigma(std::exp(1.6448536269514722 * 0.5 - 0.125)) ==
          Approx(0.5).epsilon(1e-12));
  REQUIRE(*lognormal_sigma(1) == 0);
  REQUIRE(lognormal_sigma(3.868).has_value());
  REQUIRE_FALSE(lognormal_sigma(3.869).has_value());
  REQUIRE_FALSE(lognormal_sigma(0.99).has_value());
}

TEST_CASE("lognormal has its mean and p95 when max is far away", "[statistics]") {
  const auto values = draw(lognormal(2400, 6000));
  check_mean(values, 2400);
  // rounding moves the percentile by half a token at most: both neighbours must bracket 95 %
  const double sigma = *lognormal_sigma(2.5), mu = std::log(2400) - sigma * sigma / 2;
  check_share(values, 6000, normal_below((std::log(6000.5) - mu) / sigma));
  check_share(values, 1000, normal_below((std::log(1000.5) - mu) / sigma));
  REQUIRE(normal_below((std::log(6000.5) - mu) / sigma) == Approx(0.95).margin(1e-4));
}

TEST_CASE("lognormal above max is redrawn: the law under max keeps its shape", "[statistics]") {
  const double sigma = *lognormal_sigma(2), mu = std::log(50) - sigma * sigma / 2;
  const auto values = draw(lognormal(50, 100, 60));
  REQUIRE(*std::max_element(values.begin(), values.end()) == 60);
  REQUIRE(*std::min_element(values.begin(), values.end()) >= 1);
  const auto below = [&](double x) { return normal_below((std::log(x) - mu) / sigma); };
  for (const double x : {10.0, 30.0, 45.0, 59.0})
    check_share(values, x, below(x + 0.5) / below(60.5));
  // power: clamping instead would put a third of all values on 60
  REQUIRE(1 - below(60.5) > 0.25);
  REQUIRE(static_cast<double>(std::count(values.begin(), values.end(), 60)) < 0.03 * kDraws);
}

TEST_CASE("lognormal of tiny means still gives at least one token", "[unit]") {
  const auto values = draw(lognormal(0.3, 0.6), 10'000);
  REQUIRE(*std::min_element(values.begin(), values.end()) == 1);
  REQUIRE(draw(lognormal(7, 7), 10) == std::vector<double>(10, 7));  // sigma 0
}

TEST_CASE("gamma has its mean and cv", "[statistics]") {
  for (const double cv : {0.4, 1.0, 1.7}) {
    LengthDistribution distribution = of(Kind::gamma);
    distribution.mean = 900;
    distribution.cv = cv;
    const auto values = draw(distribution);
    check_mean(values, 900);
    REQUIRE(deviation_of(values) / mean_of(values) == Approx(cv).epsilon(0.01));
  }
}

TEST_CASE("gamma under max is the exponential law cut at max when cv is 1", "[statistics]") {
  LengthDistribution distribution = of(Kind::gamma);
  distribution.mean = 500;
  distribution.cv = 1;
  distribution.max = 300;
  const auto values = draw(distribution);
  const auto below = [](double x) { return 1 - std::exp(-x / 500); };
  for (const double x : {40.0, 120.0, 250.0, 299.0}) {
    check_share(values, x, below(x + 0.5) / below(300.5));
  }
}

TEST_CASE("geometric counts trials to the first success", "[statistics]") {
  LengthDistribution distribution = of(Kind::geometric);
  distribution.mean = 40;
  auto values = draw(distribution);
  check_mean(values, 40);
  check_share(values, 1, 1.0 / 40);
  check_share(values, 100, 1 - std::pow(39.0 / 40, 100));
  distribution.max = 25;
  values = draw(distribution);
  REQUIRE(*std::max_element(values.begin(), values.end()) == 25);
  const auto below = [](double k) { return 1 - std::pow(39.0 / 40, k); };
  for (const double k : {1.0, 10.0, 24.0}) check_share(values, k, below(k) / below(25));
  distribution = of(Kind::geometric);
  distribution.mean = 1;
  REQUIRE(draw(distribution, 5) == std::vector<double>(5, 1));
}

TEST_CASE("zipf falls with its exponent", "[statistics]") {
  LengthDistribution distribution = of(Kind::zipf);
  distribution.exponent = 1.2;
  distribution.max = 1000;
  const auto values = draw(distribution);
  double sum = 0, first = 0;
  for (int k = 1; k <= 1000; ++k) {
    sum += std::pow(k, -1.2);
    if (k <= 10) first = sum;
  }
  check_share(values, 1, 1 / sum);
  check_share(values, 10, first / sum);
}

TEST_CASE("uniform reaches both ends evenly, fixed is fixed", "[statistics]") {
  const auto values = draw(uniform(3, 7));
  for (int k = 3; k <= 7; ++k) check_share(values, k, (k - 2) / 5.0);
  REQUIRE(*std::min_element(values.begin(), values.end()) == 3);
  REQUIRE(*std::max_element(values.begin(), values.end()) == 7);
  REQUIRE(draw(fixed(12), 3) == std::vector<double>(3, 12));
  REQUIRE(draw(uniform(0, 0), 3) == std::vector<double>(3, 0));
}

TEST_CASE("empirical draws the rows of a column, compressed or not", "[statistics]") {
  for (const char* name : {"lengths.csv", "lengths.csv.gz"}) {
    const test::TemporaryFile file(name, "id,tokens,other\na,5,x\nb,7,y\nc,7,z\nd,0,w\n");
    LengthDistribution distribution = of(Kind::empirical);
    distribution.path = file.path();
    distribution.column = "tokens";
    const auto values = draw(distribution);
    check_share(values, 0, 0.25);
    check_share(values, 5, 0.5);
    check_share(values, 6, 0.5);
    check_share(values, 7, 1);
    distribution.max = 5;  // 7 is redrawn
    check_share(draw(distribution), 0, 0.5);
  }
}

TEST_CASE("laws that cannot be drawn from are refused in words", "[errors]") {
  const std::string at = "s.yaml: error: ";
  REQUIRE(make(lognormal(100, 400)).problems ==
          at + "p95 / mean of a lognormal law must be between 1 and 3.868, but is 4\n");
  REQUIRE(make(lognormal(100, 50)).problems ==
          at + "p95 / mean of a lognormal law must be between 1 and 3.868, but is 0.5\n");
  REQUIRE(make(lognormal(1e6, 1.5e6, 3)).problems ==
          at + "max 3 lies below practically the whole law\n");
  REQUIRE(make(fixed(0)).problems == at + "value must be between 1 and 2147483647, but is 0\n");
  REQUIRE(make(fixed(std::int64_t{1} << 31)).problems ==
          at + "value must be between 1 and 2147483647, but is 2147483648\n");
  REQUIRE(make(fixed(0), LengthLaw::Zero::allowed).problems == "");
  REQUIRE(make(uniform(9, 8)).problems == at + "min must be between 1 and 8, but is 9\n");
  LengthDistribution gamma = of(Kind::gamma);
  gamma.mean = 10'000;
  gamma.cv = 0.1;
  gamma.max = 100;
  REQUIRE(make(gamma).problems == at + "max 100 keeps less than 0.1 % of the law\n");
  const test::TemporaryFile file("lengths.csv", "tokens\n5\nx\n0\n");
  LengthDistribution empirical = of(Kind::empirical);
  empirical.path = file.path();
  empirical.column = "tokens";
  REQUIRE(file.shorten(make(empirical).problems) ==
          "lengths.csv:3:1: error: tokens must be a whole number, not 'x'\n"
          "lengths.csv:4:1: error: tokens must be between 1 and 2147483647, but is '0'\n");
  empirical.column = "token";
  REQUIRE(file.shorten(make(empirical).problems) ==
          "lengths.csv:1:1: error: column 'token' is missing from the header\n");
}
