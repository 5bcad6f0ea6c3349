#pragma once
// The arrival times of an open process, one after another, by changing the clock of a process of
// rate 1.

#include <cstdint>
#include <string>
#include <vector>

#include "hw_models/problems.h"
#include "sim/core/discrete_law.h"
#include "sim/core/random.h"
#include "sim/core/sim_time.h"
#include "sim/scenario/scenario.h"

namespace fleetsim {

/// Arrivals of poisson, constant, gamma, mmpp, piecewise and batch processes.
///
/// Let L(t) be the cumulative rate, the integral of rate(t) from 0. Arrival n is the t with L(t) =
/// s_n, where s_n is a process of rate 1: for poisson, mmpp and piecewise a sum of exponential
/// gaps; for gamma a sum of gamma gaps with mean 1 and the given cv; for constant 0, 1, 2, ... This
/// is exact: a time-changed Poisson process is the Poisson process of rate(t). mmpp passes through
/// its states in the order given, round and round, each for an exponential time; it starts in a
/// state drawn by the states' shares of time, so its mean rate holds from the first second.
/// piecewise has no arrivals before its first step.
class ArrivalTimes {
 public:
  /// `stream` belongs to this process alone. `load_factor` multiplies every rate.
  /// Errors: values for which the process is undefined go to `problems` at `path`.
  ArrivalTimes(const Arrivals& arrivals, RandomStream stream, double load_factor,
               const std::string& path, const SourceMap& source, Problems& problems);

  /// The next arrival, never before the last; kNever when there are no more.
  SimTime next();

 private:
  double unit_gap();
  SimTime next_of_sinusoid();
  SimTime next_of_steps();
  /// The t with L(t) = area, in seconds, for rate(t) = rate (1 + amplitude sin(2 pi t / period)).
  double invert_sinusoid(double area);
  double newton_step(double t, double target);
  void enter_segment(std::size_t state);

  Arrivals::Process process_;
  RandomStream gaps_, sojourns_;
  std::uint64_t index_ = 0;  // arrivals given out
  std::uint64_t batch_ = 0;
  double rate_ = 0, amplitude_ = 0, period_s_ = 0, shape_ = 1;
  double area_ = 0;                                         // s_n of the last arrival
  double swing_ = 0, frequency_ = 0, area_per_period_ = 0;  // of the sinusoid
  // the last arrival of a sinusoid: seconds into its period, L/rate and its slope and bend there
  double last_s_ = 0, last_target_ = 0, last_slope_ = 1, last_bend_ = 0;
  std::int64_t last_period_ = -1;

  // mmpp and piecewise: the current segment of constant rate
  struct Step {
    double rate = 0;
    double mean_s = 0;  // mmpp
    double from_s = 0;  // piecewise
  };
  std::vector<Step> steps_;
  std::size_t step_ = 0;
  std::uint64_t segment_ = 0;
  double now_s_ = 0, segment_end_s_ = 0;
  bool exhausted_ = false;
};

}  // namespace fleetsim
