#pragma once
// A length distribution made ready to draw from: whole token counts as pure functions of a stream.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hw_models/problems.h"
#include "sim/core/discrete_law.h"
#include "sim/core/random.h"
#include "sim/scenario/scenario.h"

namespace fleetsim {

/// The law behind a LengthDistribution (product.md, "What the words mean").
/// lognormal: sigma is the smaller root of sigma^2/2 - 1.6448536 sigma + ln(p95/mean) = 0; mean and
/// p95 describe the law before `max`. Real values are rounded to the nearest integer and are 1 at
/// least; values above `max` (2^31-1 when absent) are redrawn, which for lognormal and geometric is
/// done by inverting the distribution function cut at `max`: the same law with one draw. 0 comes
/// out only where fixed, uniform or empirical say so.
class LengthLaw {
 public:
  enum class Zero { refused, allowed };

  /// Errors: faults that only the law can see (unreadable column, a `max` that keeps next to
  /// nothing)
  ///         go to `problems` at `path`, the dotted place of the distribution in the scenario; the
  ///         law is usable only without any.
  LengthLaw(const LengthDistribution& distribution, Zero zero, const std::string& path,
            const SourceMap& source, Problems& problems);

  /// The length that belongs to `stream`; the stream must serve nothing else.
  std::int32_t draw(const RandomStream& stream) const;

 private:
  std::optional<std::string> prepare(const LengthDistribution& distribution, Zero zero);
  std::optional<std::string> prepare_lognormal(const LengthDistribution& distribution);
  std::optional<std::string> prepare_gamma(const LengthDistribution& distribution);
  double gamma_value(const RandomStream& stream, std::uint64_t trial) const;

  LengthDistribution::Kind kind_;
  std::int64_t low_ = 0, limit_ = 0;  // uniform's ends; limit_ is every law's largest value
  double mu_ = 0, sigma_ = 0;         // lognormal
  double shape_ = 0, scale_ = 0;      // gamma
  double log_failure_ = 0;            // geometric: ln(1 - 1/mean)
  double kept_ = 1;                   // lognormal, geometric: share of the law up to `max`
  std::optional<ZipfLaw> zipf_;
  std::vector<std::int32_t> values_;  // empirical
};

/// The smaller sigma of a lognormal law with this p95/mean, or nothing when there is none: below 1,
/// or above exp(1.6448536^2 / 2) = 3.868.
std::optional<double> lognormal_sigma(double p95_to_mean);

}  // namespace fleetsim
