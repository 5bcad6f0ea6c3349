#include "kernels/reference/rejection_sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "hw_models/check.h"
#include "kernels/device/philox.h"

namespace fleetsim::kernels {
namespace {

constexpr double kRounding = 1e-5;  // of a probability: what fp32 may be wrong by

enum Purpose : std::uint32_t { acceptance = 1, recovered_token = 2 };

uint4 random_words(std::uint64_t seed, std::uint64_t position, Purpose purpose,
                   std::uint32_t number) {
  return philox({number, static_cast<std::uint32_t>(position),
                 static_cast<std::uint32_t>(position >> 32), purpose},
                seed);
}

/// Base-2 Gumbel noise of an id.
double noise_of(std::uint64_t seed, std::uint64_t position, std::size_t id) {
  const uint4 words =
      random_words(seed, position, recovered_token, static_cast<std::uint32_t>(id / 4));
  const std::uint32_t four[] = {words.x, words.y, words.z, words.w};
  return -std::log2(-std::log1p(-(static_cast<double>(four[id % 4]) + 0.5) * 0x1p-32));
}

void normalise(std::vector<double>& p) {
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  if (sum > 0)
    for (double& one : p) one /= sum;
}

}  // namespace

std::vector<double> target_distribution(const std::vector<float>& logits, double temperature) {
  CHECK(!logits.empty());
  std::vector<double> p;
  for (const float x : logits)
    p.push_back(std::isnan(x) ? -std::numeric_limits<double>::infinity() : static_cast<double>(x));
  const auto largest = std::max_element(p.begin(), p.end());
  if (temperature < 1e-5 || std::isinf(*largest)) {
    const auto id = static_cast<std::size_t>(largest - p.begin());
    p.assign(p.size(), 0.0);
    p[id] = 1;
    return p;
  }
  const double top = *largest;
  for (double& one : p) one = std::exp((one - top) / temperature);
  normalise(p);
  return p;
}

DraftVerdict rejection_reference(const DraftInputs& in) {
  CHECK(in.tree.size() == in.tokens.size() && in.tree.size() == in.logits.size());
  DraftVerdict verdict;
  std::size_t here = 0;
  std::uint32_t tried = 0;
  std::vector<double> p = target_distribution(in.logits[0], in.temperature);
  std::vector<double> before = p;  // any rejection: what rounding is relative to
  for (std::size_t node = 1; node < in.tree.size(); ++node) {
    if (in.tree[node] != static_cast<int>(here)) continue;
    const auto token = static_cast<std::size_t>(in.tokens[node]);
    const auto draft = [&](std::size_t id) {
      if (in.draft_probabilities.empty()) return 1.0;
      const float q = in.draft_probabilities[here][id];
      return q > 0.0F ? static_cast<double>(q) : 0.0;
    };
    const double chance = static_cast<double>(
        open_unit(random_words(in.seed, in.position + verdict.nodes.size(), acceptance, tried).x));
    ++tried;
    const double threshold = chance * draft(token);
    const bool decided = p[token] >= 1 || p[token] <= 0;  // the same in any precision
    if (!decided &&
        std::fabs(threshold - p[token]) < kRounding * (threshold + p[token] + before[token]))
      verdict.clear = false;
    if (threshold < p[token]) {
      verdict.nodes.push_back(static_cast<int>(node));
      verdict.tokens.push_back(static_cast<int>(token));
      here = node;
      tried = 0;
      p = target_distribution(in.logits[node], in.temperature);
      before = p;
      continue;
    }
    if (in.draft_probabilities.empty())
      p[token] = 0;
    else
      for (std::size_t id = 0; id < p.size(); ++id) p[id] = std::max(p[id] - draft(id), 0.0);
    normalise(p);
  }
  const std::uint64_t position = in.position + verdict.nodes.size();
  const double left = std::accumulate(p.begin(), p.end(), 0.0);
  if (!(left > 0)) {  // rounding left nothing, or the draft's probabilities are none
    verdict.clear = false;
    verdict.tokens.push_back(
        static_cast<int>(std::max_element(before.begin(), before.end()) - before.begin()));
    return verdict;
  }
  std::size_t best = 0;
  double best_score = -std::numeric_limits<double>::infinity();
  for (std::size_t id = 0; id < p.size(); ++id) {
    if (!(p[id] > 0)) continue;
    const double score = std::log2(p[id]) + noise_of(in.seed, position, id);
    if (score > best_score) best_score = score, best = id;
  }
  // who might have been better, or who might not have been as good
  const double rounding = kRounding * before[best] / p[best];
  for (std::size_t id = 0; id < p.size(); ++id) {
    const double high = p[id] + kRounding * before[id];
    if (id == best || !(high > 0)) continue;
    if (std::log2(high) + noise_of(in.seed, position, id) > best_score - 2 * rounding - kRounding)
      verdict.clear = false;
  }
  if (rounding > 0.1) verdict.clear = false;
  verdict.tokens.push_back(static_cast<int>(best));
  return verdict;
}

}  // namespace fleetsim::kernels
