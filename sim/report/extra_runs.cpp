// The search for headroom is a decision tree over probed loads: a round's probes are fixed before
// any of them runs, so the same runs are made on one thread and on sixty-four. The verdict need not
// be monotone in the load (each load draws its own arrivals); the answer is the first turn seen
// from the load as written, which is what a planner must fear.

#include "sim/report/extra_runs.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <thread>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

/// Changes of load in percent, by round, away from the load as written.
const std::vector<std::vector<std::int64_t>> kMoreLoad = {{2, 5, 10}, {20, 40, 80}, {150, 300}};
const std::vector<std::vector<std::int64_t>> kLessLoad = {
    {-2, -5, -10}, {-20, -35, -50}, {-70, -90}};

/// Up to three loads strictly between `near` and `far`, evenly spread on multiples of `step`.
std::vector<std::int64_t> probes_between(std::int64_t near, std::int64_t far, std::int64_t step) {
  std::vector<std::int64_t> probes;
  const std::int64_t direction = far > near ? 1 : -1;
  const std::int64_t steps = (std::abs(far - near) + step - 1) / step;
  for (std::int64_t quarter = 1; quarter <= 3; ++quarter) {
    const std::int64_t at = std::clamp<std::int64_t>((steps * quarter + 2) / 4, 1,
                                                     std::max<std::int64_t>(1, steps - 1));
    const std::int64_t probe = near + direction * at * step;
    if (probe != near && probe != far && (probes.empty() || probes.back() != probe))
      probes.push_back(probe);
  }
  return probes;
}

}  // namespace

RunDigest digest_of(const Summary& summary, std::uint64_t seed, std::int64_t load_percent) {
  RunDigest digest;
  digest.seed = seed;
  digest.load_percent = load_percent;
  digest.met = summary.slo_met();
  digest.saturated = summary.saturated;
  digest.slo = summary.slo;
  for (SloSection& section : digest.slo) section.windows.clear();
  digest.latency = summary.latency;
  digest.requests_per_s = summary.throughput.requests_per_s;
  digest.busy = summary.fleet.busy;
  return digest;
}

std::vector<std::optional<RunDigest>> make_runs(const std::vector<RunRequest>& requests,
                                                std::int64_t jobs, const Runner& runner) {
  std::vector<std::optional<RunDigest>> results(requests.size());
  std::vector<std::exception_ptr> failures(requests.size());
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < requests.size(); i = next++) {
      try {
        results[i] = runner(requests[i]);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
  };
  std::vector<std::thread> threads;
  const auto wanted = std::min<std::size_t>(
      requests.size(), static_cast<std::size_t>(std::max<std::int64_t>(1, jobs)));
  for (std::size_t i = 1; i < wanted; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return results;
}

Headroom search_headroom(
    bool met_as_written, std::int64_t step_percent,
    const std::function<std::vector<std::optional<RunDigest>>(const std::vector<std::int64_t>&)>&
        run_all) {
  CHECK(step_percent >= 1);
  Headroom headroom;
  headroom.met_as_written = met_as_written;
  headroom.step_percent = step_percent;
  std::int64_t near = 0;            // the furthest load with the verdict as written
  std::optional<std::int64_t> far;  // the first beyond it with the other verdict
  /// Makes a round; false when it was stopped. Moves `near` and `far`.
  const auto probe = [&](const std::vector<std::int64_t>& loads) {
    const auto results = run_all(loads);
    CHECK(results.size() == loads.size());
    for (const auto& result : results)
      if (!result)
        headroom.complete = false;
      else
        headroom.probes.push_back(*result);
    if (!headroom.complete) return;
    for (std::size_t i = 0; i < loads.size(); ++i) {
      if (results[i]->met != met_as_written) {
        far = loads[i];
        break;
      }
      near = loads[i];
    }
  };
  for (const auto& loads : met_as_written ? kMoreLoad : kLessLoad) {
    if (far || !headroom.complete) break;
    probe(loads);
    headroom.probed_to_percent = loads.back();
  }
  while (far && headroom.complete && std::abs(*far - near) > step_percent) {
    const auto loads = probes_between(near, *far, step_percent);
    if (loads.empty()) break;
    probe(loads);
  }
  if (headroom.complete) headroom.turns_at_percent = far;
  std::stable_sort(
      headroom.probes.begin(), headroom.probes.end(),
      [](const RunDigest& a, const RunDigest& b) { return a.load_percent < b.load_percent; });
  return headroom;
}

MeanInterval mean_interval(const std::vector<double>& values) {
  // two-sided 95 % quantiles of Student's t by degrees of freedom 1..30; beyond, 1.96 + 2.4 / df is
  // within 0.003 (checked against tables at 40, 60, 120)
  static constexpr double kT[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                                  2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                                  2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                                  2.060,  2.056, 2.052, 2.048, 2.045, 2.042};
  MeanInterval interval;
  if (values.empty()) return interval;
  const auto n = static_cast<double>(values.size());
  for (const double value : values) interval.mean += value / n;
  if (values.size() < 2) return interval;
  double squares = 0;
  for (const double value : values) squares += (value - interval.mean) * (value - interval.mean);
  const std::size_t freedom = values.size() - 1;
  const double t =
      freedom <= std::size(kT) ? kT[freedom - 1] : 1.96 + 2.4 / static_cast<double>(freedom);
  interval.half_width = t * std::sqrt(squares / static_cast<double>(freedom) / n);
  return interval;
}

}  // namespace fleetsim
