#include "kernels/measure/expert_choices.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "hw_models/check.h"

namespace fleetsim::kernels {
namespace {

/// splitmix64 (Steele, Lea, Flood 2014) of a counter.
std::uint64_t mixed(std::uint64_t counter) {
  std::uint64_t z = (counter + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}
/// Uniform in [0, 1).
double unit(std::uint64_t counter) { return static_cast<double>(mixed(counter) >> 11) * 0x1p-53; }

/// Chances by id. Popularity is dealt to ids at random, of several deals the one in which the share
/// of this GPU's others is the nearest to even: that is what prices mean by the busiest GPU.
std::vector<double> chances_by_id(const ExpertLayer& layer) {
  std::vector<double> chances = expert_chances(layer.experts, layer.experts_per_token, layer.skew);
  if (layer.skew == 0 || layer.experts <= 2) return chances;
  constexpr int kDeals = 64;
  const double even = static_cast<double>(layer.local_experts - 1) /
                      static_cast<double>(layer.experts - 1) *
                      (static_cast<double>(layer.experts_per_token) - chances[0]);
  std::vector<double> best;
  double least = INFINITY;
  for (int deal = 0; deal < kDeals; ++deal) {
    std::vector<double> dealt = chances;
    for (std::size_t i = dealt.size() - 1; i > 1; --i)  // Fisher and Yates, the first stays
      std::swap(dealt[i], dealt[1 + mixed(static_cast<std::uint64_t>(deal) << 32 | i) % i]);
    const double share =
        std::accumulate(dealt.begin() + 1, dealt.begin() + layer.local_experts, 0.0);
    if (std::fabs(share - even) >= least) continue;
    least = std::fabs(share - even);
    best = std::move(dealt);
  }
  return best;
}

}  // namespace

ExpertLayer expert_layer(const Point& point) {
  ExpertLayer layer;
  layer.tokens = point.integer("tokens");
  layer.experts = point.integer("experts");
  layer.local_experts = point.integer("local_experts");
  layer.experts_per_token = point.integer("experts_per_token");
  layer.skew = static_cast<double>(point.integer("skew_hundredths")) / 100;
  return layer;
}

std::vector<double> expert_chances(std::int64_t experts, std::int64_t picks, double skew) {
  CHECK(experts >= 1 && picks >= 1 && picks <= experts && skew >= 0);
  std::vector<double> chances;
  for (std::int64_t rank = 1; rank <= experts; ++rank)
    chances.push_back(std::pow(static_cast<double>(rank), -skew));
  double left = std::accumulate(chances.begin(), chances.end(), 0.0);
  double picks_left = static_cast<double>(picks);
  for (double& chance : chances) {
    const double share = chance;
    chance = left > 0 ? std::min(1.0, picks_left * share / left) : 0;
    picks_left -= chance;
    left -= share;
  }
  return chances;
}

std::vector<std::int32_t> expert_choices(const ExpertLayer& layer) {
  CHECK(layer.local_experts >= 1 && layer.local_experts <= layer.experts);
  std::vector<double> before = chances_by_id(layer);  // chances of ids up to this one
  std::partial_sum(before.begin(), before.end(), before.begin());
  std::vector<std::int32_t> ids;
  ids.reserve(static_cast<std::size_t>(layer.tokens * layer.experts_per_token));
  for (std::int64_t token = 0; token < layer.tokens; ++token) {
    const double start = unit(static_cast<std::uint64_t>(token));
    std::int64_t next = 0;  // rounding must not let a token choose twice
    for (std::int64_t pick = 0; pick < layer.experts_per_token; ++pick) {
      const auto found =
          std::upper_bound(before.begin() + next, before.end(), start + static_cast<double>(pick));
      const std::int64_t last = layer.experts - layer.experts_per_token + pick;
      const std::int64_t id = std::min<std::int64_t>(found - before.begin(), last);
      ids.push_back(static_cast<std::int32_t>(id));
      next = id + 1;
    }
  }
  return ids;
}

LocalRows local_rows(const ExpertLayer& layer, const std::vector<std::int32_t>& choices) {
  LocalRows result;
  result.rows.assign(static_cast<std::size_t>(layer.local_experts), 0);
  const auto picks = static_cast<std::size_t>(layer.experts_per_token);
  for (std::size_t first = 0; first < choices.size(); first += picks) {
    bool met = false;
    for (std::size_t slot = first; slot < first + picks; ++slot) {
      if (choices[slot] >= layer.local_experts) continue;
      ++result.rows[static_cast<std::size_t>(choices[slot])];
      ++result.all;
      met = true;
    }
    result.tokens_met += met ? 1 : 0;
  }
  for (const std::int32_t rows : result.rows) result.experts_met += rows > 0 ? 1 : 0;
  return result;
}

}  // namespace fleetsim::kernels
