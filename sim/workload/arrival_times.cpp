// The sinusoid's cumulative rate L(t) = rate (t + amplitude period / (2 pi) (1 - cos(2 pi t /
// period))) is inverted by Newton's method inside a bracket, from a start extrapolated from the
// last arrival: two steps as a rule. Whole periods are split off first, so that accuracy does not
// fall with time.

#include "sim/workload/arrival_times.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace fleetsim {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLastSecond = 9.0e9;  // 285 years: SimTime ends at 292

SimTime clock_time(double seconds) {
  return seconds < kLastSecond ? to_sim_time({seconds}) : kNever;
}

double to_s(SimTime time) { return to_seconds(time).value; }

std::string fault_of(const Arrivals& arrivals) {
  using Process = Arrivals::Process;
  const bool one_rate = arrivals.process == Process::poisson ||
                        arrivals.process == Process::constant || arrivals.process == Process::gamma;
  if (one_rate && !(arrivals.rate_per_s > 0)) return "rate must be above 0";
  if (one_rate && !(arrivals.peak_to_mean >= 1 && arrivals.peak_to_mean <= 2)) {
    return fmt::format(
        "peak_to_mean must be between 1 and 2, but is {}: a sinusoid around the mean "
        "would go below 0",
        arrivals.peak_to_mean);
  }
  if (one_rate && arrivals.peak_to_mean > 1 && arrivals.period <= 0) {
    return "peak_to_mean needs a period above 0s";
  }
  if (arrivals.process == Process::gamma && !(arrivals.cv > 0)) return "cv must be above 0";
  if (arrivals.process == Process::mmpp) {
    if (arrivals.states.empty()) return "mmpp needs states";
    for (const MmppState& state : arrivals.states) {
      if (!(state.rate_per_s >= 0)) return "rates must not be negative";
      if (state.mean_duration <= 0) return "mean_duration must be above 0s";
    }
  }
  if (arrivals.process == Process::piecewise) {
    if (arrivals.steps.empty()) return "piecewise needs steps";
    SimTime before = -1;
    for (const RateStep& step : arrivals.steps) {
      if (!(step.rate_per_s >= 0)) return "rates must not be negative";
      if (step.from <= before) return "steps must stand in order of `from`";
      before = step.from;
    }
  }
  if (arrivals.process == Process::batch && arrivals.requests < 1) {
    return "batch needs at least 1 request";
  }
  return "";
}

}  // namespace

ArrivalTimes::ArrivalTimes(const Arrivals& arrivals, RandomStream stream, double load_factor,
                           const std::string& path, const SourceMap& source, Problems& problems)
    : process_(arrivals.process),
      gaps_(stream.child("gaps")),
      sojourns_(stream.child("sojourns")),
      batch_(static_cast<std::uint64_t>(std::max<std::int64_t>(arrivals.requests, 0))),
      rate_(arrivals.rate_per_s * load_factor),
      amplitude_(arrivals.peak_to_mean - 1),
      period_s_(to_s(arrivals.period)) {
  const std::string fault = fault_of(arrivals);
  if (!fault.empty()) {
    source.report(problems, path, fault);
    exhausted_ = true;
    return;
  }
  if (amplitude_ > 0) {
    swing_ = amplitude_ * period_s_ / (2 * std::numbers::pi);
    frequency_ = 2 * std::numbers::pi / period_s_;
    area_per_period_ = rate_ * period_s_;
  }
  if (process_ == Arrivals::Process::gamma) shape_ = 1 / (arrivals.cv * arrivals.cv);
  if (process_ == Arrivals::Process::mmpp) {
    std::vector<double> durations;
    double rates = 0;
    for (const MmppState& state : arrivals.states) {
      steps_.push_back({state.rate_per_s * load_factor, to_s(state.mean_duration), 0});
      durations.push_back(steps_.back().mean_s);
      rates += state.rate_per_s;
    }
    exhausted_ = rates <= 0;
    enter_segment(DiscreteTable(durations).at(stream.child("first state").uniform()));
  }
  if (process_ == Arrivals::Process::piecewise) {
    for (const RateStep& step : arrivals.steps) {
      steps_.push_back({step.rate_per_s * load_factor, 0, to_s(step.from)});
    }
    now_s_ = steps_.front().from_s;
    enter_segment(0);
  }
}

SimTime ArrivalTimes::next() {
  if (exhausted_) return kNever;
  switch (process_) {
    case Arrivals::Process::poisson:
    case Arrivals::Process::constant:
    case Arrivals::Process::gamma:
      return next_of_sinusoid();
    case Arrivals::Process::mmpp:
    case Arrivals::Process::piecewise:
      return next_of_steps();
    case Arrivals::Process::batch:
      return index_++ < batch_ ? 0 : kNever;
    case Arrivals::Process::closed:
    case Arrivals::Process::trace:
      break;
  }
  CHECK(false, "not an open process with a law");
}

/// The gap before arrival index_ of the process of rate 1.
double ArrivalTimes::unit_gap() {
  const std::uint64_t index = index_++;
  if (process_ == Arrivals::Process::gamma) return gaps_.at(index).gamma(shape_) / shape_;
  return gaps_.exponential(index);
}

SimTime ArrivalTimes::next_of_sinusoid() {
  if (process_ == Arrivals::Process::constant) {
    area_ = static_cast<double>(index_++);  // no sum, no drift
  } else {
    area_ += unit_gap();
  }
  return clock_time(amplitude_ == 0 ? area_ / rate_ : invert_sinusoid(area_));
}

double ArrivalTimes::invert_sinusoid(double area) {
  const double periods = std::floor(area / area_per_period_);
  const double target = area / rate_ - periods * period_s_;  // in [0, period], up to rounding
  const auto period = static_cast<std::int64_t>(periods);
  double t = target;
  if (period == last_period_) {  // second order in the gap, from the last arrival
    const double step = (target - last_target_) / last_slope_;
    t = last_s_ + step * (1 - 0.5 * last_bend_ * step / last_slope_);
  }
  double change = newton_step(t, target);
  // One step squares the error: from 0.1 us it falls far below a nanosecond where the slope is
  // sound.
  if (!(std::fabs(change) < 1e-7 && last_slope_ > 0.01)) {
    double low = std::max(0.0, target - 2 * swing_), high = target;
    for (int step = 0; step < 200 && std::fabs(change) > 1e-10; ++step) {
      (change < 0 ? high : low) = std::clamp(t, low, high);
      const double better = t + change;
      t = better > low && better < high ? better : low + (high - low) / 2;
      change = newton_step(t, target);
    }
  }
  t += change;
  // Rounding may not reorder arrivals; the last one bounds this one from below.
  if (period == last_period_) t = std::max(t, last_s_);
  last_s_ = t;
  last_target_ = target;
  last_period_ = period;
  return periods * period_s_ + t;
}

/// Newton's step from `t` towards L(t) / rate = target; leaves slope and bend at `t` behind.
double ArrivalTimes::newton_step(double t, double target) {
  const double angle = frequency_ * t;
  const double sine = std::sin(angle), cosine = std::cos(angle);
  last_slope_ = std::max(1 + amplitude_ * sine, 1e-9);  // a trough of rate 0 has no slope
  last_bend_ = amplitude_ * frequency_ * cosine;
  return (target - t - swing_ * (1 - cosine)) / last_slope_;
}

/// Begins a segment at now_s_ and finds its end.
void ArrivalTimes::enter_segment(std::size_t state) {
  step_ = state;
  if (process_ == Arrivals::Process::mmpp) {
    segment_end_s_ = now_s_ + steps_[step_].mean_s * sojourns_.exponential(segment_++);
  } else {
    segment_end_s_ = step_ + 1 < steps_.size() ? steps_[step_ + 1].from_s : kInfinity;
  }
}

SimTime ArrivalTimes::next_of_steps() {
  double area = unit_gap();
  for (;;) {
    const double rate = steps_[step_].rate;
    const double room = rate > 0 ? rate * (segment_end_s_ - now_s_) : 0;
    if (area <= room) {
      now_s_ += area / rate;
      return clock_time(now_s_);
    }
    area -= room;
    now_s_ = segment_end_s_;
    if (now_s_ >= kLastSecond) {
      exhausted_ = true;
      return kNever;
    }
    enter_segment(process_ == Arrivals::Process::mmpp ? (step_ + 1) % steps_.size() : step_ + 1);
  }
}

}  // namespace fleetsim
