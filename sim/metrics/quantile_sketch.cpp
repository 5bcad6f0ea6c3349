// The compactor hierarchy of Manku, Rajagopalan and Lindsay (SIGMOD 1998) in the form of Karnin,
// Lang and Liberty (FOCS 2016), with alternating instead of random offsets. Level h holds values
// that stand for w = 2^h inputs each. When a level reaches k = kCapacity values, an even number of
// them is sorted, every second one moves a level up, the others are dropped; total weight stays
// equal to the count.
//
// Bound. Let r be how many of the values compacted together are <= x. Keeping positions 0, 2, 4,
// ... leaves ceil(r / 2) of double weight: the estimated rank of x changes by 0 or +w. Keeping 1,
// 3, 5, ... leaves floor(r / 2): it changes by 0 or -w. Errors of opposite sign cannot add up, so
// with p_h and q_h compactions of either kind
//     |error| <= E = sum over h of 2^h max(p_h, q_h)                       (rank_error_bound)
// and each compaction takes the kind that occurred less often at its level, so max(p_h, q_h) <=
// (m_h + 1) / 2 for m_h compactions. Each uses up at least k values of weight 2^h (k is even), and
// every unit of the count passes a level at most once: m_h <= n / (k 2^h). With H levels compacted,
//     E <= H n / (2 k) + 2^H / 2,   and n >= k 2^(H-1), so   E / n <= (H / 2 + 1) / k.
// k = 16384: n = 10^11 gives H <= 1 + log2(n / k), so 23, and E / n <= 12.5 / 16384 = 0.0763 % <
// 0.1 %. Merging adds p_h and q_h; max(p + p', q + q') <= max(p, q) + max(p', q'), so E of the
// union is at most the sum of both bounds, and levels of the union are compacted by the same rule.
//
// Query. For position t the smallest kept v with estimated rank >= t is returned; the true ranks
// that v covers, (rank below v, rank of v], then meet (t - E, t + E): the rank error is at most E.

#include "sim/metrics/quantile_sketch.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "hw_models/check.h"

namespace fleetsim {

void QuantileSketch::make_room(std::size_t level) {
  while (levels_.size() <= level) {
    levels_.emplace_back();
    levels_.back().values.reserve(kCapacity);
  }
}

void QuantileSketch::add(double value) {
  CHECK(!std::isnan(value), "a quantile of NaN");
  if (count_ == 0) {
    make_room(0);
    min_ = max_ = value;
  }
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
  count_ += 1;
  levels_[0].values.push_back(value);
  if (levels_[0].values.size() >= kCapacity) compact(0);
}

void QuantileSketch::compact(std::size_t level) {
  make_room(level + 1);
  Level& from = levels_[level];
  if (level == 0) std::sort(from.values.begin(), from.values.end());
  const std::size_t used = from.values.size() / 2 * 2;
  const std::size_t kind = from.compactions[1] < from.compactions[0] ? 1 : 0;
  from.compactions[kind] += 1;
  std::vector<double> kept;
  kept.reserve(used / 2);
  for (std::size_t i = kind; i < used; i += 2) kept.push_back(from.values[i]);
  from.values.erase(from.values.begin(), from.values.begin() + static_cast<std::ptrdiff_t>(used));
  absorb(level + 1, std::move(kept));
}

void QuantileSketch::absorb(std::size_t level, std::vector<double> sorted) {
  make_room(level);
  std::vector<double>& values = levels_[level].values;
  const auto middle = static_cast<std::ptrdiff_t>(values.size());
  values.insert(values.end(), sorted.begin(), sorted.end());
  if (level > 0) std::inplace_merge(values.begin(), values.begin() + middle, values.end());
  if (values.size() >= kCapacity) compact(level);
}

void QuantileSketch::merge(const QuantileSketch& other) {
  if (other.count_ == 0) return;
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = count_ == 0 ? other.max_ : std::max(max_, other.max_);
  count_ += other.count_;
  for (std::size_t level = 0; level < other.levels_.size(); ++level) {
    make_room(level);
    for (std::size_t kind = 0; kind < 2; ++kind) {
      levels_[level].compactions[kind] += other.levels_[level].compactions[kind];
    }
    absorb(level, other.levels_[level].values);
  }
}

std::vector<double> QuantileSketch::quantiles(const std::vector<double>& probabilities) const {
  CHECK(count_ > 0, "a quantile of nothing");
  struct Item {
    double value;
    std::int64_t rank;  // estimated number of values <= value
  };
  std::vector<Item> items;
  for (std::size_t level = 0; level < levels_.size(); ++level) {
    for (const double value : levels_[level].values)
      items.push_back({value, std::int64_t{1} << level});
  }
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return a.value != b.value ? a.value < b.value : a.rank < b.rank;
  });
  for (std::size_t i = 1; i < items.size(); ++i) items[i].rank += items[i - 1].rank;
  const bool exact = static_cast<std::int64_t>(items.size()) == count_;

  std::vector<double> answer;
  for (const double probability : probabilities) {
    CHECK(probability >= 0 && probability <= 1, "probability " + std::to_string(probability));
    const double position = probability * static_cast<double>(count_ - 1);
    const auto below = std::min(static_cast<std::int64_t>(position), count_ - 1);
    if (exact) {
      const auto index = static_cast<std::size_t>(below);
      const double low = items[index].value;
      const double high = items[std::min(index + 1, items.size() - 1)].value;
      answer.push_back(low + (position - static_cast<double>(below)) * (high - low));
    } else if (probability == 0 || probability == 1) {
      answer.push_back(probability == 0 ? min_ : max_);
    } else {
      const auto found =
          std::lower_bound(items.begin(), items.end(), below + 1,
                           [](const Item& a, std::int64_t rank) { return a.rank < rank; });
      answer.push_back(found->value);
    }
  }
  return answer;
}

std::int64_t QuantileSketch::rank_error_bound() const {
  std::int64_t bound = 0;
  for (std::size_t level = 0; level < levels_.size(); ++level) {
    const auto& kinds = levels_[level].compactions;
    bound += (std::int64_t{1} << level) * std::max(kinds[0], kinds[1]);
  }
  return bound;
}

double QuantileSketch::worst_rank_error(double count) {
  const auto capacity = static_cast<double>(kCapacity);
  if (count < capacity) return 0;
  const double levels = std::floor(1 + std::log2(count / capacity));
  return count * (levels / 2 + 1) / capacity;
}

std::int64_t QuantileSketch::bytes() const {
  std::size_t total = levels_.capacity() * sizeof(Level);
  for (const Level& level : levels_) total += level.values.capacity() * sizeof(double);
  return static_cast<std::int64_t>(total);
}

}  // namespace fleetsim
