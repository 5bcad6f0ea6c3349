// Laws are prepared once and then drawn from without branches on anything but their kind. A cut law
// is inverted on the kept part of its distribution function; only gamma, which has no cheap
// inverse, is redrawn in a loop, and a cut that keeps almost nothing is refused so that the loop is
// short.

#include "sim/workload/length_law.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "hw_models/csv_table.h"

namespace fleetsim {

namespace {

constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();
constexpr double kNormal95 = 1.6448536269514722;  // 95th percentile of the standard normal law
constexpr double kLeastKept = 1e-3;               // of gamma, under `max`
constexpr std::uint64_t kDrawsPerTrial = 256;  // of one gamma value: 2 a trial, 0.95 accepted each

double normal_below(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

using Kind = LengthDistribution::Kind;

}  // namespace

std::optional<double> lognormal_sigma(double p95_to_mean) {
  const double log_ratio = std::log(p95_to_mean);
  const double discriminant = kNormal95 * kNormal95 - 2 * log_ratio;
  if (!(log_ratio >= 0) || discriminant < 0) return std::nullopt;
  return kNormal95 - std::sqrt(discriminant);
}

LengthLaw::LengthLaw(const LengthDistribution& distribution, Zero zero, const std::string& path,
                     const SourceMap& source, Problems& problems)
    : kind_(distribution.kind),
      low_(distribution.min),
      limit_(std::min(distribution.max.value_or(kMostTokens), kMostTokens)) {
  if (kind_ == Kind::empirical) {
    CsvTable table(distribution.path, {{distribution.column}}, CsvTable::Others::allowed, problems);
    while (table.next_row()) {
      const auto value = table.tokens(0, zero == Zero::allowed ? 0 : 1);
      if (value) values_.push_back(*value);
    }
    if (table.faulty()) return;
  }
  if (const auto fault = prepare(distribution, zero)) source.report(problems, path, *fault);
}

/// Fills the fields of the kind; a sentence when the distribution cannot be used.
std::optional<std::string> LengthLaw::prepare(const LengthDistribution& distribution, Zero zero) {
  const std::int64_t least = zero == Zero::allowed ? 0 : 1;
  if (limit_ < 1 && kind_ != Kind::uniform) return "max must be at least 1";
  switch (kind_) {
    case Kind::fixed:
      low_ = distribution.value;
      if (low_ < least || low_ > limit_) {
        return fmt::format("value must be between {} and {}, but is {}", least, limit_, low_);
      }
      return std::nullopt;
    case Kind::uniform:
      if (low_ < least || low_ > limit_) {
        return fmt::format("min must be between {} and {}, but is {}", least, limit_, low_);
      }
      return std::nullopt;
    case Kind::lognormal:
      return prepare_lognormal(distribution);
    case Kind::gamma:
      return prepare_gamma(distribution);
    case Kind::geometric:
      if (!(distribution.mean >= 1)) return "mean of a geometric law must be at least 1";
      log_failure_ = std::log1p(-1 / distribution.mean);
      kept_ = -std::expm1(log_failure_ * static_cast<double>(limit_));
      return std::nullopt;
    case Kind::zipf:
      if (!(distribution.exponent >= 0)) return "exponent must not be negative";
      zipf_.emplace(distribution.exponent, limit_);
      return std::nullopt;
    case Kind::empirical:
      std::erase_if(values_, [&](std::int32_t value) { return value > limit_; });
      if (values_.empty()) {
        return fmt::format("column '{}' of {} has no value up to max {}", distribution.column,
                           distribution.path, limit_);
      }
      return std::nullopt;
  }
  CHECK(false, "unknown length law");
}

std::optional<std::string> LengthLaw::prepare_lognormal(const LengthDistribution& distribution) {
  const auto sigma = lognormal_sigma(distribution.p95 / distribution.mean);
  if (!(distribution.mean > 0) || !sigma) {
    return fmt::format("p95 / mean of a lognormal law must be between 1 and 3.868, but is {:.4g}",
                       distribution.p95 / distribution.mean);
  }
  sigma_ = *sigma;
  mu_ = std::log(distribution.mean) - sigma_ * sigma_ / 2;
  const double cut = std::log(static_cast<double>(limit_) + 0.5) - mu_;  // rounds up to limit + 1
  kept_ = sigma_ > 0 ? normal_below(cut / sigma_) : (cut >= 0 ? 1.0 : 0.0);
  if (kept_ < 1e-9) return fmt::format("max {} lies below practically the whole law", limit_);
  return std::nullopt;
}

double LengthLaw::gamma_value(const RandomStream& stream, std::uint64_t trial) const {
  return std::max(1.0, std::round(scale_ * stream.gamma(shape_, trial * kDrawsPerTrial)));
}

/// The share under `max` is measured on draws of its own, to within 20 % where it matters.
std::optional<std::string> LengthLaw::prepare_gamma(const LengthDistribution& distribution) {
  if (!(distribution.mean > 0) || !(distribution.cv > 0)) {
    return "mean and cv of a gamma law must be above 0";
  }
  shape_ = 1 / (distribution.cv * distribution.cv);
  scale_ = distribution.mean / shape_;
  if (!distribution.max) return std::nullopt;
  const RandomStream probe(0, "gamma law below max");
  const std::uint64_t draws = 20'000;
  double below = 0;
  for (std::uint64_t i = 0; i < draws; ++i) {
    if (gamma_value(probe.at(i), 0) <= static_cast<double>(limit_)) below += 1;
  }
  if (below < kLeastKept * static_cast<double>(draws)) {
    return fmt::format("max {} keeps less than {} % of the law", limit_, kLeastKept * 100);
  }
  return std::nullopt;
}

std::int32_t LengthLaw::draw(const RandomStream& stream) const {
  switch (kind_) {
    case Kind::fixed:
      return static_cast<std::int32_t>(low_);
    case Kind::uniform:
      return static_cast<std::int32_t>(low_ + static_cast<std::int64_t>(stream.index(
                                                  static_cast<std::uint64_t>(limit_ - low_ + 1))));
    case Kind::lognormal: {
      const double value = std::exp(mu_ + sigma_ * normal_quantile(kept_ * stream.uniform()));
      return static_cast<std::int32_t>(
          std::clamp(std::floor(value + 0.5), 1.0, static_cast<double>(limit_)));
    }
    case Kind::gamma:
      for (std::uint64_t trial = 0;; ++trial) {
        const double value = gamma_value(stream, trial);
        if (value <= static_cast<double>(limit_)) return static_cast<std::int32_t>(value);
      }
    case Kind::geometric: {
      if (std::isinf(log_failure_)) return 1;  // mean 1
      const double survival = 1 - kept_ * stream.uniform();
      const double value = 1 + std::floor(std::log(survival) / log_failure_);
      return static_cast<std::int32_t>(std::clamp(value, 1.0, static_cast<double>(limit_)));
    }
    case Kind::zipf:
      return static_cast<std::int32_t>(zipf_->draw(stream));
    case Kind::empirical:
      return values_[stream.index(values_.size())];
  }
  CHECK(false, "unknown length law");
}

}  // namespace fleetsim
