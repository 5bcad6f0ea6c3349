#include "kernels/measure/timing.h"

#include <algorithm>
#include <cmath>

#include "hw_models/check.h"

namespace fleetsim::kernels {
namespace {

/// One pass over a point: counts what it spends, so that no point takes for ever.
class Pass {
 public:
  Pass(const Replays& replays, const TimingRule& rule) : replays_(replays), rule_(rule) {}

  Timing run() {
    find_runs();
    for (int i = 0; i < rule_.warmups && spent_ns_ < rule_.point_ns_max / 4; ++i) replay();
    std::vector<double> operation_ns;
    double sampled_ns = 0;
    while (!enough_samples(static_cast<int>(operation_ns.size()), sampled_ns, spent_ns_, rule_)) {
      const double ns = replay();
      operation_ns.push_back(ns / runs_ / replays_.operations);
      sampled_ns += ns;
    }
    return timing_of(std::move(operation_ns), runs_);
  }

 private:
  double replay() {
    const double ns = replays_.replay_ns();
    spent_ns_ += ns;
    return ns;
  }

  /// The first run pays what is paid once (loading code, first touches) and a lone run pays the
  /// events around it: the number of runs follows from replays that look like the samples.
  void find_runs() {
    replays_.prepare(runs_);
    replay();
    for (int attempt = 0; attempt < 4; ++attempt) {
      const double run_ns = replay() / runs_;
      const int wanted = runs_per_replay(run_ns, replays_.copies, rule_);
      if (wanted <= runs_ || spent_ns_ > rule_.point_ns_max / 4) return;
      runs_ = wanted;
      replays_.prepare(runs_);
    }
  }

  const Replays& replays_;
  TimingRule rule_;
  int runs_ = 1;
  double spent_ns_ = 0;
};

}  // namespace

double Timing::noise() const {
  return median_ns > 0 ? static_cast<double>(p90_ns - p10_ns) / static_cast<double>(median_ns)
                       : 0.0;
}

double quantile(const std::vector<double>& sorted, double q) {
  CHECK(!sorted.empty() && q >= 0 && q <= 1);
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

Timing timing_of(std::vector<double> operation_ns, int runs) {
  CHECK(!operation_ns.empty());
  std::sort(operation_ns.begin(), operation_ns.end());
  const auto whole = [&](double q) { return std::llround(quantile(operation_ns, q)); };
  const Timing timing{whole(0.5), whole(0.1), whole(0.9), static_cast<int>(operation_ns.size()),
                      runs};
  CHECK(timing.median_ns >= 1, "a run that takes no time");
  return timing;
}

int runs_per_replay(double run_ns, int copies, const TimingRule& rule) {
  CHECK(run_ns > 0 && copies >= 1);
  const double wanted = std::min(std::ceil(rule.replay_ns_min / run_ns), double(rule.runs_max));
  const int runs = static_cast<int>(wanted);
  const int rotated = (runs + copies - 1) / copies * copies;
  return rotated <= rule.runs_max && rotated * run_ns <= rule.replay_ns_max ? rotated : runs;
}

bool enough_samples(int samples, double sampled_ns, double spent_ns, const TimingRule& rule) {
  if (samples == 0) return false;
  if (spent_ns >= rule.point_ns_max) return true;
  return samples >= rule.samples_min &&
         (samples >= rule.samples_enough || sampled_ns >= rule.sampled_ns_enough);
}

Timing time_replays(const Replays& replays, const TimingRule& rule) {
  const Timing first = Pass(replays, rule).run();
  if (first.noise() <= rule.noise_max) return first;
  const Timing second = Pass(replays, rule).run();
  return second.noise() < first.noise() ? second : first;
}

}  // namespace fleetsim::kernels
