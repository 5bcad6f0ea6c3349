#include "kernels/reference/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "hw_models/check.h"
#include "kernels/device/philox.h"

namespace fleetsim::kernels {

SamplingReference sampling_reference(const std::vector<float>& logits, const SamplingRule& rule) {
  constexpr double kSlack = 1e-6;
  const std::size_t vocab = logits.size();
  std::vector<std::size_t> order(vocab);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  const double largest = static_cast<double>(logits[order[0]]);
  CHECK(std::isfinite(largest));
  std::vector<double> weight(vocab);  // of the largest, in order
  for (std::size_t i = 0; i < vocab; ++i)
    weight[i] = std::exp((static_cast<double>(logits[order[i]]) - largest) / rule.temperature);

  const bool limits_count = rule.top_k > 0 && static_cast<std::size_t>(rule.top_k) < vocab;
  const bool limits_mass = rule.top_p < 1;
  std::size_t end = vocab;  // of top-k, with those equal to its last
  if (limits_count) {
    end = static_cast<std::size_t>(rule.top_k);
    while (end < vocab && logits[order[end]] == logits[order[end - 1]]) ++end;
  }
  double all = 0;
  for (std::size_t i = 0; i < end; ++i) all += weight[i];

  SamplingReference reference{std::vector<Kept>(vocab, Kept::no), std::vector<double>(vocab, 0.0)};
  double before = 0, kept_mass = 0;  // before: of strictly larger logits
  for (std::size_t first = 0; first < end;) {
    std::size_t last = first;
    while (last < end && logits[order[last]] == logits[order[first]]) ++last;
    Kept kept = Kept::yes;
    if (limits_mass && first > 0) {
      const double left = rule.top_p - before / all;
      kept = left > kSlack ? Kept::yes : left < -kSlack ? Kept::no : Kept::either;
    }
    if (limits_count || limits_mass) {
      const double halvings = -std::log2(weight[first]);
      if (halvings > 64 + 64 * kSlack)
        kept = Kept::no;
      else if (halvings > 64 - 64 * kSlack && kept == Kept::yes)
        kept = Kept::either;
    }
    for (std::size_t i = first; i < last; ++i) {
      before += weight[i];
      reference.kept[order[i]] = kept;
      if (kept == Kept::no) continue;
      reference.probability[order[i]] = weight[i];
      kept_mass += weight[i];
    }
    first = last;
  }
  for (double& probability : reference.probability) probability /= kept_mass;
  return reference;
}

std::vector<double> gumbel_scores(const std::vector<float>& logits, double temperature,
                                  std::uint64_t seed, std::uint64_t position) {
  std::vector<double> scores;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    const uint4 words =
        philox({static_cast<std::uint32_t>(id / 4), static_cast<std::uint32_t>(position),
                static_cast<std::uint32_t>(position >> 32), 0},
               seed);
    const std::uint32_t word = id % 4 == 0   ? words.x
                               : id % 4 == 1 ? words.y
                               : id % 4 == 2 ? words.z
                                             : words.w;
    const double unit = (static_cast<double>(word) + 0.5) * 0x1p-32;
    scores.push_back(static_cast<double>(logits[id]) / temperature / std::log(2.0) -
                     std::log2(-std::log1p(-unit)));
  }
  return scores;
}

int greedy_reference(const std::vector<float>& logits) {
  return static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

/// Regularised upper incomplete gamma Q(a, x), a = freedom / 2, x = statistic / 2: series below
/// a + 1, continued fraction (Lentz) above. Source: Abramowitz and Stegun 6.5.29 and 6.5.31.
double chi_square_tail(double statistic, double freedom) {
  CHECK(freedom > 0);
  const double a = freedom / 2, x = statistic / 2;
  if (!(x > 0)) return 1;
  const double scale = std::exp(a * std::log(x) - x - std::lgamma(a));
  if (x < a + 1) {
    double term = 1 / a, sum = term;
    for (int n = 1; n < 100'000 && term > sum * 1e-16; ++n) {
      term *= x / (a + n);
      sum += term;
    }
    return std::max(0.0, 1 - scale * sum);
  }
  double b = x + 1 - a, c = std::numeric_limits<double>::max(), d = 1 / b, fraction = d;
  for (int n = 1; n < 100'000; ++n) {
    const double numerator = -n * (n - a);
    b += 2;
    d = 1 / (numerator * d + b);
    c = b + numerator / c;
    fraction *= c * d;
    if (std::fabs(c * d - 1) < 1e-15) break;
  }
  return scale * fraction;
}

double agreement(const std::vector<std::int64_t>& counts, const std::vector<double>& probability) {
  CHECK(counts.size() == probability.size());
  const auto draws =
      static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  double statistic = 0, rest_expected = 0, rest_count = 0;
  int cells = 0;
  const auto add_cell = [&](double count, double expected) {
    statistic += (count - expected) * (count - expected) / expected;
    ++cells;
  };
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = draws * probability[i];
    if (!(expected > 0) && counts[i] > 0) return 0;
    if (expected >= 5) {
      add_cell(static_cast<double>(counts[i]), expected);
    } else {
      rest_expected += expected;
      rest_count += static_cast<double>(counts[i]);
    }
  }
  if (rest_expected > 0) add_cell(rest_count, rest_expected);
  return cells < 2 ? 1 : chi_square_tail(statistic, cells - 1);
}

}  // namespace fleetsim::kernels
