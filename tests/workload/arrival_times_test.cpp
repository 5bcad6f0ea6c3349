// Arrival processes against the counts and gaps that they must have, in standard errors.

#include "sim/workload/arrival_times.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "tests/catch.h"

using namespace fleetsim;
using Process = Arrivals::Process;

namespace {

constexpr SimTime kSecond = kNanosecondsPerSecond;

Arrivals arrivals_of(Process process, double rate, double peak_to_mean = 1, double period_s = 0) {
  Arrivals arrivals;
  arrivals.process = process;
  arrivals.rate_per_s = rate;
  arrivals.peak_to_mean = peak_to_mean;
  arrivals.period = to_sim_time({period_s});
  return arrivals;
}

std::string problems_of(const Arrivals& arrivals) {
  SourceMap source;
  source.file = "s.yaml";
  Problems problems;
  ArrivalTimes times(arrivals, RandomStream(1, "test"), 1, "workload.arrivals", source, problems);
  return problems.text();
}

std::vector<double> until(const Arrivals& arrivals, double end_s, std::uint64_t seed = 1,
                          double load_factor = 1) {
  SourceMap source;
  Problems problems;
  ArrivalTimes times(arrivals, RandomStream(seed, "test"), load_factor, "workload.arrivals", source,
                     problems);
  REQUIRE(problems.text() == "");
  std::vector<double> list;
  SimTime before = 0;
  for (SimTime time = times.next(); time < to_sim_time({end_s}); time = times.next()) {
    REQUIRE(time >= before);
    before = time;
    list.push_back(to_seconds(time).value);
  }
  return list;
}

/// Mean and cv of the gaps.
std::pair<double, double> gaps_of(const std::vector<double>& times) {
  double sum = 0, squares = 0;
  const double count = static_cast<double>(times.size() - 1);
  for (std::size_t i = 1; i < times.size(); ++i) {
    const double gap = times[i] - times[i - 1];
    sum += gap;
    squares += gap * gap;
  }
  const double mean = sum / count;
  return {mean, std::sqrt(squares / count - mean * mean) / mean};
}

/// Arrivals by phase of the period.
std::vector<double> by_phase(const std::vector<double>& times, double period_s, int bins) {
  std::vector<double> counts(static_cast<std::size_t>(bins), 0.0);
  for (const double time : times) {
    const double phase = time / period_s - std::floor(time / period_s);
    counts[static_cast<std::size_t>(phase * bins)] += 1;
  }
  return counts;
}

/// Share of a period's arrivals in [from, to), both shares of the period.
double share_of_phase(double amplitude, double from, double to) {
  const double turn = 2 * std::numbers::pi;
  return to - from - amplitude / turn * (std::cos(turn * to) - std::cos(turn * from));
}

}  // namespace

TEST_CASE("poisson has the right count and exponential gaps", "[statistics]") {
  const auto times = until(arrivals_of(Process::poisson, 2000), 200);
  REQUIRE(std::fabs(static_cast<double>(times.size()) - 400'000) < 4 * std::sqrt(400'000.0));
  const auto [mean, cv] = gaps_of(times);
  REQUIRE(cv == Approx(1).margin(4 / std::sqrt(400'000.0)));  // var of a cv of exponentials is 1/n
  double above = 0;  // share of gaps above their mean is exp(-1)
  for (std::size_t i = 1; i < times.size(); ++i)
    above += times[i] - times[i - 1] > 1 / 2000.0 ? 1 : 0;
  const double p = std::exp(-1.0);
  REQUIRE(std::fabs(above / 400'000 - p) < 4 * std::sqrt(p * (1 - p) / 400'000) + 0.002);
}

TEST_CASE("the rate over the period is the sinusoid, phase by phase", "[statistics]") {
  for (const Process process : {Process::poisson, Process::constant, Process::gamma}) {
    for (const double peak : {1.125, 1.6, 2.0}) {
      const double period = 60, total = 50 * period * 100;  // 50 periods at 100/s
      Arrivals arrivals = arrivals_of(process, 100, peak, period);
      arrivals.cv = 0.8;
      const auto counts = by_phase(until(arrivals, 50 * period), period, 24);
      for (int bin = 0; bin < 24; ++bin) {
        const double expected = total * share_of_phase(peak - 1, bin / 24.0, (bin + 1) / 24.0);
        const double error =
            process == Process::constant ? 20 : std::sqrt(std::max(expected, 25.0));
        INFO("process " << static_cast<int>(process) << " peak " << peak << " bin " << bin);
        REQUIRE(std::fabs(counts[static_cast<std::size_t>(bin)] - expected) < 4 * error);
      }
      // power: the flat rate would miss the peak by far
      const double at_peak = total * share_of_phase(peak - 1, 6 / 24.0, 7 / 24.0);
      REQUIRE(at_peak - total / 24 > 4 * std::sqrt(at_peak));
    }
  }
}

TEST_CASE("the change of clock is exact to a nanosecond", "[unit]") {
  // constant: arrival k lies where the cumulative rate is k
  const double rate = 40, amplitude = 0.9, period = 7;
  const auto times = until(arrivals_of(Process::constant, rate, 1 + amplitude, period), 100);
  REQUIRE(times.size() >= 3990);
  const double turn = 2 * std::numbers::pi / period;
  for (std::size_t k = 0; k < times.size(); ++k) {
    const double area = rate * (times[k] + amplitude / turn * (1 - std::cos(turn * times[k])));
    REQUIRE(std::fabs(area - static_cast<double>(k)) < 1.9 * rate * 1.2e-9);
  }
}

TEST_CASE("constant arrivals start at 0 and keep their distance", "[unit]") {
  REQUIRE(until(arrivals_of(Process::constant, 4), 1.01) ==
          std::vector<double>{0, 0.25, 0.5, 0.75, 1.0});
  REQUIRE(until(arrivals_of(Process::constant, 4), 1, 1, 2).size() == 8);
  REQUIRE(until(arrivals_of(Process::constant, 3), 1e5).size() == 300'000);  // no drift
}

TEST_CASE("gamma gaps have the asked cv and rate", "[statistics]") {
  for (const double cv : {0.3, 1.0, 2.0, 4.0}) {
    Arrivals arrivals = arrivals_of(Process::gamma, 50);
    arrivals.cv = cv;
    const auto times = until(arrivals, 8000);
    const auto [mean, got] = gaps_of(times);
    const double count = static_cast<double>(times.size());
    REQUIRE(std::fabs(mean * 50 - 1) < 4 * cv / std::sqrt(count));
    // kurtosis of gamma: 3 + 6 cv^2, so var(s^2)/s^4 = (2 + 6 cv^2)/n; the cv moves by half of that
    // plus the mean's part
    const double error = cv * std::sqrt((2 + 6 * cv * cv) / 4 + cv * cv) / std::sqrt(count);
    REQUIRE(std::fabs(got - cv) < 4 * error);
    REQUIRE(0.1 * cv > 4 * error);
  }
}

TEST_CASE("mmpp holds its mean rate from the first second", "[statistics]") {
  Arrivals arrivals;
  arrivals.process = Process::mmpp;
  arrivals.states = {{10, 4 * kSecond}, {200, kSecond}, {0, 3 * kSecond}};
  const double mean_rate = (10 * 4 + 200 * 1) / 8.0;  // weighted by mean durations
  // counts of independent seeds; the first second alone must hold it too
  for (const double span : {1.0, 400.0}) {
    const int seeds = span < 10 ? 4000 : 200;
    double sum = 0, squares = 0;
    for (int seed = 1; seed <= seeds; ++seed) {
      const auto count =
          static_cast<double>(until(arrivals, span, static_cast<std::uint64_t>(seed)).size());
      sum += count;
      squares += count * count;
    }
    const double mean = sum / seeds;
    const double error = std::sqrt((squares / seeds - mean * mean) / seeds);
    INFO("span " << span << " mean " << mean << " error " << error);
    REQUIRE(std::fabs(mean - mean_rate * span) < 4 * error);
    REQUIRE(0.3 * mean_rate * span > 4 * error);
    // burstier than Poisson
    REQUIRE(squares / seeds - mean * mean > 3 * mean);
  }
}

TEST_CASE("piecewise follows its steps and is silent before the first", "[statistics]") {
  Arrivals arrivals;
  arrivals.process = Process::piecewise;
  arrivals.steps = {{10 * kSecond, 100}, {20 * kSecond, 0}, {30 * kSecond, 400}};
  const auto times = until(arrivals, 60);
  const auto between = [&](double from, double to) {
    return static_cast<double>(std::count_if(
        times.begin(), times.end(), [&](double time) { return time >= from && time < to; }));
  };
  REQUIRE(between(0, 10) == 0);
  REQUIRE(std::fabs(between(10, 20) - 1000) < 4 * std::sqrt(1000.0));
  REQUIRE(between(20, 30) == 0);
  REQUIRE(std::fabs(between(30, 60) - 12'000) < 4 * std::sqrt(12'000.0));
  arrivals.steps = {{0, 100}, {10 * kSecond, 0}};
  SourceMap source;
  Problems problems;
  ArrivalTimes ends(arrivals, RandomStream(1, "test"), 1, "", source, problems);
  int count = 0;
  while (ends.next() != kNever) ++count;
  REQUIRE(std::fabs(count - 1000) < 4 * std::sqrt(1000.0));
  REQUIRE(ends.next() == kNever);
}

TEST_CASE("a batch arrives at once, and load does not change it", "[unit]") {
  Arrivals arrivals;
  arrivals.process = Process::batch;
  arrivals.requests = 5;
  REQUIRE(until(arrivals, 1, 1, 3) == std::vector<double>(5, 0.0));
}

TEST_CASE("load squeezes the same arrivals together", "[unit]") {
  const auto plain = until(arrivals_of(Process::poisson, 10), 100);
  const auto loaded = until(arrivals_of(Process::poisson, 10), 50, 1, 2);
  REQUIRE(plain.size() == loaded.size());
  for (std::size_t i = 0; i < plain.size(); ++i) {
    REQUIRE(loaded[i] == Approx(plain[i] / 2).margin(1e-9));
  }
}

TEST_CASE("processes that cannot be are refused in words", "[errors]") {
  const std::string at = "s.yaml: error: ";
  REQUIRE(problems_of(arrivals_of(Process::poisson, 0)) == at + "rate must be above 0\n");
  REQUIRE(
      problems_of(arrivals_of(Process::poisson, 1, 2.5, 10)) ==
      at + "peak_to_mean must be between 1 and 2, but is 2.5: a sinusoid around the mean would go "
           "below 0\n");
  REQUIRE(problems_of(arrivals_of(Process::poisson, 1, 1.5)) ==
          at + "peak_to_mean needs a period above 0s\n");
  Arrivals gamma = arrivals_of(Process::gamma, 1);
  gamma.cv = 0;
  REQUIRE(problems_of(gamma) == at + "cv must be above 0\n");
  Arrivals steps;
  steps.process = Process::piecewise;
  steps.steps = {{kSecond, 1}, {kSecond, 2}};
  REQUIRE(problems_of(steps) == at + "steps must stand in order of `from`\n");
}
