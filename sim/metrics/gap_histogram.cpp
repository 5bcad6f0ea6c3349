// Percentiles walk the buckets in order once: cumulative counts give, for each order statistic
// asked, the bucket that holds it; its midpoint, clamped to the exact [min, max], stands for the
// sample.

#include "sim/metrics/gap_histogram.h"

#include <algorithm>
#include <cmath>

namespace fleetsim {

template <int kBits, typename Count>
void LogHistogram<kBits, Count>::grow(std::size_t row) {
  if (row >= octaves_.size()) octaves_.resize(row + 1);
  octaves_[row].resize(static_cast<std::size_t>(kSlots), 0);
}

template <int kBits, typename Count>
void LogHistogram<kBits, Count>::merge(const LogHistogram& other) {
  if (other.count_ == 0) return;
  for (std::size_t row = 0; row < other.octaves_.size(); ++row) {
    if (other.octaves_[row].empty()) continue;
    if (row >= octaves_.size() || octaves_[row].empty()) grow(row);
    for (std::size_t slot = 0; slot < other.octaves_[row].size(); ++slot) {
      octaves_[row][slot] += other.octaves_[row][slot];
    }
  }
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = count_ == 0 ? other.max_ : std::max(max_, other.max_);
  count_ += other.count_;
  sum_ += other.sum_;
}

template <int kBits, typename Count>
double LogHistogram<kBits, Count>::mean() const {
  CHECK(count_ > 0, "mean of an empty histogram");
  return static_cast<double>(sum_) / static_cast<double>(count_);
}

template <int kBits, typename Count>
double LogHistogram<kBits, Count>::midpoint(std::size_t octave, std::size_t slot) const {
  const int shift = octave == 0 ? 0 : static_cast<int>(octave) - 1;
  const std::int64_t base = octave == 0 ? 0 : kSlots;
  const std::int64_t low = (base + static_cast<std::int64_t>(slot)) << shift;
  const double middle =
      static_cast<double>(low) + static_cast<double>((std::int64_t{1} << shift) - 1) / 2;
  return std::clamp(middle, static_cast<double>(min_), static_cast<double>(max_));
}

template <int kBits, typename Count>
std::vector<double> LogHistogram<kBits, Count>::percentiles(
    std::span<const double> ascending) const {
  CHECK(count_ > 0, "percentile of an empty histogram");
  CHECK(std::is_sorted(ascending.begin(), ascending.end()), "probabilities must ascend");
  // Ranks floor(position) and floor(position) + 1 of every probability, answered as the walk passes
  // them.
  struct Position {
    std::int64_t rank;
    double fraction;
    double low = 0, high = 0;
  };
  std::vector<Position> positions;
  for (const double probability : ascending) {
    CHECK(probability >= 0 && probability <= 1, "probability " + std::to_string(probability));
    const double position = probability * static_cast<double>(count_ - 1);
    const auto rank = std::min(static_cast<std::int64_t>(position), count_ - 1);
    positions.push_back({rank, position - static_cast<double>(rank)});
  }
  std::int64_t seen = 0;
  std::size_t next_low = 0, next_high = 0;
  for (std::size_t row = 0; row < octaves_.size(); ++row) {
    for (std::size_t slot = 0; slot < octaves_[row].size(); ++slot) {
      if (octaves_[row][slot] == 0) continue;
      seen += static_cast<std::int64_t>(octaves_[row][slot]);
      const double value = midpoint(row, slot);
      while (next_low < positions.size() && positions[next_low].rank < seen) {
        positions[next_low++].low = value;
      }
      while (next_high < positions.size() &&
             std::min(positions[next_high].rank + 1, count_ - 1) < seen) {
        positions[next_high++].high = value;
      }
    }
  }
  std::vector<double> answer;
  for (const Position& p : positions) answer.push_back(p.low + p.fraction * (p.high - p.low));
  return answer;
}

template <int kBits, typename Count>
double LogHistogram<kBits, Count>::percentile(double probability) const {
  return percentiles(std::span(&probability, 1)).front();
}

template <int kBits, typename Count>
std::int64_t LogHistogram<kBits, Count>::bytes() const {
  std::size_t total = octaves_.capacity() * sizeof(octaves_[0]);
  for (const auto& octave : octaves_) total += octave.capacity() * sizeof(Count);
  return static_cast<std::int64_t>(total);
}

template class LogHistogram<12, std::int64_t>;
template class LogHistogram<9, std::uint32_t>;

}  // namespace fleetsim
