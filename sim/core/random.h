#pragma once
// Random draws as pure functions of their keys: no state, so that adding a replica, a class or a
// policy shifts nobody else's draws and two policies meet identical requests.
//
// A stream is named by (seed, purpose, id); its n-th draw is a counter-based hash of (stream, n).
// The hash is a Weyl step followed by the 64-bit finaliser "moremur" (P. Evensen 2020, the
// bijective mixer of SplitMix64 with stronger constants); an id passes it twice, a seed four times.
// Continuous laws invert their distribution function; accuracy and speed are those of libm's log
// and exp.

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>

#include "hw_models/check.h"

namespace fleetsim {

/// Bijective mixing of 64 bits: flipping one input bit flips each output bit with probability 1/2.
constexpr std::uint64_t mix_bits(std::uint64_t bits) {
  bits = (bits ^ (bits >> 27)) * 0x3C79AC492BA7B653ULL;
  bits = (bits ^ (bits >> 33)) * 0x1C69B3F74AC4AE35ULL;
  return bits ^ (bits >> 27);
}

/// What draws are for, by name ("arrivals"); two names give independent streams.
struct Purpose {
  std::uint64_t value;

  /// A literal is hashed by the compiler, so naming a purpose costs nothing at run time.
  consteval Purpose(const char* name) : value(hash(name)) {}
  /// A name known only at run time, e.g. of a request class.
  static Purpose named(std::string_view name) { return Purpose(hash(name)); }

 private:
  explicit constexpr Purpose(std::uint64_t hashed) : value(hashed) {}
  static constexpr std::uint64_t hash(std::string_view name) {  // FNV-1a, then mixed
    std::uint64_t state = 0xCBF29CE484222325ULL;
    for (const char c : name) state = (state ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
    return mix_bits(state);
  }
};

/// The quantile of the standard normal law.
/// Valid:  0 < probability < 1; relative error about 1e-16
/// Source: M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution",
///         Applied Statistics 37 (1988), routine PPND16
double normal_quantile(double probability);

/// One stream of draws. Every draw is const: the same key gives the same value for ever.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, Purpose purpose, std::uint64_t id = 0)
      : RandomStream(RandomStream(mix_bits(mix_bits(seed + kWeyl))).child(purpose).at(id)) {}

  /// The stream of another purpose under the same key.
  RandomStream child(Purpose purpose) const { return RandomStream(mix_bits(key_ ^ purpose.value)); }
  /// The stream of one of many things (requests, clients, replicas) of this purpose.
  RandomStream at(std::uint64_t id) const { return RandomStream(mix_bits(key_ + (id + 1) * kIds)); }

  /// 64 uniform bits.
  std::uint64_t bits(std::uint64_t draw = 0) const { return mix_bits(key_ + (draw + 1) * kWeyl); }

  /// Uniform in (0, 1), never 0 and never 1: multiples of 2^-53, and 2^-54 in place of 0.
  double uniform(std::uint64_t draw = 0) const {
    const std::uint64_t top = bits(draw) >> 11;
    return top == 0 ? 0x1p-54 : static_cast<double>(top) * 0x1p-53;
  }
  /// Uniform in 0 .. count-1; count >= 1. The bias is below count / 2^64.
  std::uint64_t index(std::uint64_t count, std::uint64_t draw = 0) const {
    return static_cast<std::uint64_t>((static_cast<Wide>(bits(draw)) * count) >> 64);
  }
  /// Exponential with mean 1.
  double exponential(std::uint64_t draw = 0) const { return -std::log(uniform(draw)); }
  /// Standard normal.
  double normal(std::uint64_t draw = 0) const { return normal_quantile(uniform(draw)); }
  /// Gamma with mean `shape` and variance `shape`; shape > 0. Uses draws from `first_draw` on, two
  /// a trial, usually one trial and rarely more than three. Source: G. Marsaglia, W. W. Tsang, "A
  /// simple method for generating gamma variables", ACM TOMS 26
  ///         (2000); for shape < 1 the value of shape + 1 times uniform^(1/shape), §6 there
  double gamma(double shape, std::uint64_t first_draw = 0) const;
  /// The number of trials up to the first success, 1 or more, mean `mean` >= 1.
  double geometric(double mean, std::uint64_t draw = 0) const {
    if (mean <= 1) return 1;
    return 1 + std::floor(std::log(uniform(draw)) / std::log1p(-1 / mean));
  }

  bool operator==(const RandomStream&) const = default;

 private:
  __extension__ using Wide = unsigned __int128;
  static constexpr std::uint64_t kWeyl = 0x9E3779B97F4A7C15ULL;  // 2^64 / golden ratio, odd
  static constexpr std::uint64_t kIds = 0xD1342543DE82EF95ULL;   // odd; another step than kWeyl's

  explicit RandomStream(std::uint64_t key) : key_(key) {}

  std::uint64_t key_;
};

namespace random_detail {

/// a[0] + a[1] x + ... + a[7] x^7.
inline double polynomial(const double (&a)[8], double x) {
  return ((((((a[7] * x + a[6]) * x + a[5]) * x + a[4]) * x + a[3]) * x + a[2]) * x + a[1]) * x +
         a[0];
}

inline constexpr double kCentreAbove[8] = {3.3871328727963666080e0,  1.3314166789178437745e+2,
                                           1.9715909503065514427e+3, 1.3731693765509461125e+4,
                                           4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                           3.3430575583588128105e+4, 2.5090809287301226727e+3};
inline constexpr double kCentreBelow[8] = {1.0,
                                           4.2313330701600911252e+1,
                                           6.8718700749205790830e+2,
                                           5.3941960214247511077e+3,
                                           2.1213794301586595867e+4,
                                           3.9307895800092710610e+4,
                                           2.8729085735721942674e+4,
                                           5.2264952788528545610e+3};
inline constexpr double kTailAbove[8] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                                         5.76949722146069140550e0,  3.64784832476320460504e0,
                                         1.27045825245236838258e0,  2.41780725177450611770e-1,
                                         2.27238449892691845833e-2, 7.74545014278341407640e-4};
inline constexpr double kTailBelow[8] = {1.0,
                                         2.05319162663775882187e0,
                                         1.67638483018380384940e0,
                                         6.89767334985100004550e-1,
                                         1.48103976427480074590e-1,
                                         1.51986665636164571966e-2,
                                         5.47593808499534494600e-4,
                                         1.05075007164441684324e-9};
inline constexpr double kFarAbove[8] = {6.65790464350110377720e0,  5.46378491116411436990e0,
                                        1.78482653991729133580e0,  2.96560571828504891230e-1,
                                        2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                        2.71155556874348757815e-5, 2.01033439929228813265e-7};
inline constexpr double kFarBelow[8] = {1.0,
                                        5.99832206555887937690e-1,
                                        1.36929880922735805310e-1,
                                        1.48753612908506148525e-2,
                                        7.86869131145613259100e-4,
                                        1.84631831751005468180e-5,
                                        1.42151175831644588870e-7,
                                        2.04426310338993978564e-15};

}  // namespace random_detail

inline double normal_quantile(double probability) {
  using namespace random_detail;
  const double centred = probability - 0.5;
  if (std::fabs(centred) <= 0.425) {
    const double r = 0.180625 - centred * centred;
    return centred * polynomial(kCentreAbove, r) / polynomial(kCentreBelow, r);
  }
  const double tail = std::sqrt(-std::log(centred < 0 ? probability : 1 - probability));
  const double value = tail <= 5
                           ? polynomial(kTailAbove, tail - 1.6) / polynomial(kTailBelow, tail - 1.6)
                           : polynomial(kFarAbove, tail - 5) / polynomial(kFarBelow, tail - 5);
  return centred < 0 ? -value : value;
}

inline double RandomStream::gamma(double shape, std::uint64_t first_draw) const {
  CHECK(shape > 0);
  const bool boosted = shape < 1;
  const double boost = boosted ? std::pow(uniform(first_draw++), 1 / shape) : 1;
  const double d = (boosted ? shape + 1 : shape) - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  for (std::uint64_t draw = first_draw;; draw += 2) {
    const double x = normal(draw);
    const double root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    if (std::log(uniform(draw + 1)) < 0.5 * x * x + d - d * v + d * std::log(v))
      return d * v * boost;
  }
}

}  // namespace fleetsim
