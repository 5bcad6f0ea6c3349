// Keys of a length law and the arithmetic that decides whether its parameters can be met.

#include <fmt/format.h>

#include <cmath>

#include "sim/scenario/field_reader.h"
#include "sim/scenario/scenario_fields.h"

namespace fleetsim {
namespace {

constexpr double kZ95 = 1.6448536269514722;  // 95 % quantile of the standard normal law
constexpr double kP95ToMeanMax = 3.86;       // exp(kZ95^2 / 2), rounded down as product.md has it
constexpr double kShareBelowMaxMin = 0.01;   // redraws stay few: at most 100 draws a value

/// Share of a lognormal law given by mean and p95 that lies at or below `max`.
double lognormal_share(const LengthDistribution& law, double max) {
  const double log_ratio = std::log(law.p95 / law.mean);
  const double sigma = kZ95 - std::sqrt(std::max(0.0, kZ95 * kZ95 - 2 * log_ratio));
  if (sigma <= 0) return max >= law.mean ? 1 : 0;
  const double mu = std::log(law.mean) - sigma * sigma / 2;
  return 0.5 * std::erfc(-(std::log(max) - mu) / (sigma * std::sqrt(2.0)));
}

/// Regularised lower incomplete gamma function by its power series; only asked below the mean.
double gamma_share(const LengthDistribution& law, double max) {
  if (max >= law.mean) return 1;
  const double shape = 1 / (law.cv * law.cv);
  const double x = max * shape / law.mean;
  double term = 1 / shape, sum = term;
  for (int n = 1; n < 10000 && term > sum * 1e-12; ++n) {
    term *= x / (shape + n);
    sum += term;
  }
  return std::exp(shape * std::log(x) - x - std::lgamma(shape)) * sum;
}

double share_at_most(const LengthDistribution& law, double max) {
  switch (law.kind) {
    case LengthDistribution::Kind::lognormal:
      return lognormal_share(law, max);
    case LengthDistribution::Kind::gamma:
      return gamma_share(law, max);
    case LengthDistribution::Kind::geometric:
      return 1 - std::pow(1 - 1 / law.mean, max);
    default:
      return 1;
  }
}

void check_lognormal(FieldCheck& check, const LengthDistribution& law) {
  if (!check.sound("p95") || !check.sound("mean")) return;
  if (law.p95 < law.mean)
    check.fault("p95", fmt::format("p95 {} is below the mean {}; with the smaller root for sigma a "
                                   "lognormal law has its p95 at or above the mean",
                                   law.p95, law.mean));
  else if (law.p95 / law.mean > kP95ToMeanMax)
    check.fault("p95",
                fmt::format("p95/mean is {}/{} = {:.2f}, above 3.86, the most that a lognormal "
                            "law can have",
                            law.p95, law.mean, law.p95 / law.mean));
}

void check_law(FieldCheck& check, const LengthDistribution& law) {
  using Kind = LengthDistribution::Kind;
  if (!check.sound("")) return;
  if (law.kind == Kind::lognormal) check_lognormal(check, law);
  if (law.kind == Kind::uniform && check.sound("min") && check.sound("max") && law.max &&
      *law.max < law.min)
    check.fault("max", fmt::format("max {} is below min {}", *law.max, law.min));
  const bool has_mean =
      law.kind == Kind::lognormal || law.kind == Kind::gamma || law.kind == Kind::geometric;
  if (!has_mean || !law.max || !check.sound("max") || !check.sound("mean") || !check.sound("p95") ||
      !check.sound("cv"))
    return;
  const double share = share_at_most(law, static_cast<double>(*law.max));
  if (share < kShareBelowMaxMin)
    check.fault("max",
                fmt::format("max {} keeps only {:.2g} % of the law with mean {}; at least 1 % "
                            "must remain",
                            *law.max, share * 100, law.mean));
}

std::vector<Field> law_fields(LengthDistribution& law, const FieldContext& context) {
  using Kind = LengthDistribution::Kind;
  const auto mean = [&](double min) {
    RealRange range{min, static_cast<double>(kTokensMax), min == 0};
    return required(real("mean", law.mean, range, "mean of the law before `max`, tokens"));
  };
  const Field max = whole("max", law.max, {1, kTokensMax}, "values above are redrawn, tokens");
  switch (law.kind) {
    case Kind::fixed:
      return {required(whole("value", law.value, {0, kTokensMax}, "tokens of every request"))};
    case Kind::uniform:
      return {required(whole("min", law.min, {0, kTokensMax}, "smallest value, included")),
              required(whole("max", law.max, {0, kTokensMax}, "largest value, included"))};
    case Kind::lognormal:
      return {mean(0),
              required(real("p95", law.p95, {0, static_cast<double>(kTokensMax), true},
                            "95th percentile of the law before `max`, tokens")),
              max};
    case Kind::gamma:
      return {mean(0), required(real("cv", law.cv, {0, 100, true}, "standard deviation over mean")),
              max};
    case Kind::geometric:
      return {mean(1), max};
    case Kind::zipf:
      return {required(real("exponent", law.exponent, {0, 100, true},
                            "P(n) is proportional to n^-exponent")),
              required(max)};
    case Kind::empirical:
      return {required(file_path("path", law.path_as_written, law.path, context,
                                 "CSV file (.gz allowed) whose values are drawn")),
              required(text("column", law.column, "column of the file")), max};
  }
  return {};
}

}  // namespace

Record length_record(const Place<LengthDistribution>& where, const FieldContext& context) {
  Record made;
  made.name = "length_distribution";
  made.reset = where.reset;
  made.fields = [] { return std::vector<Field>{}; };
  made.tag = [where] {
    return std::vector<Field>{
        required(word("distribution", where.at().kind,
                      {{"fixed", "always `value`"},
                       {"uniform", "whole numbers from `min` to `max`, both included"},
                       {"lognormal", "by `mean` and `p95`"},
                       {"gamma", "by `mean` and `cv`"},
                       {"geometric", "by `mean`"},
                       {"zipf", "1 to `max` with P(n) proportional to n^-exponent"},
                       {"empirical", "draws from a column of a file"}},
                      "the law"))};
  };
  made.tagged = [where, &context] { return law_fields(where.at(), context); };
  made.check = [where](FieldCheck& check) { check_law(check, where.at()); };
  return made;
}

}  // namespace fleetsim
