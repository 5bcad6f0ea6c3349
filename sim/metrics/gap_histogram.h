#pragma once
// A weighted histogram of whole numbers with a bounded relative error, in the manner of HDR
// histograms.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "hw_models/check.h"
#include "sim/metrics/wide.h"

namespace fleetsim {

/// Counts of values >= 0 in buckets: width 1 below 2^(kBits + 1), else 2^kBits buckets an octave.
/// Count, sum, min and max are exact. A percentile is off by at most half a bucket, that is by
/// 2^-(kBits + 1) of the value (kBits 12: 0.0123 %, kBits 9: 0.098 %); values below 2^(kBits + 1)
/// and histograms of one value are exact. Adding is order-independent: same values, same bytes.
/// Memory: 2^kBits counters for each octave that occurs, nothing before the first value.
/// Errors: CHECK on negative values or counts. `Count` must hold the largest bucket.
template <int kBits, typename Count>
class LogHistogram {
 public:
  /// `count` samples of `value`. A few nanoseconds; allocates when an octave occurs first.
  void add(std::int64_t value, std::int64_t count = 1) {
    CHECK(value >= 0 && count >= 0, "histogram of a negative gap or count");
    if (count == 0) return;
    const int octave = octave_of(value);
    const auto row = static_cast<std::size_t>(octave);
    if (row >= octaves_.size() || octaves_[row].empty()) [[unlikely]]
      grow(row);
    octaves_[row][slot_of(value, octave)] += static_cast<Count>(count);
    count_ += count;
    sum_ += static_cast<Wide>(value) * count;
    if (value < min_ || count_ == count) min_ = value;
    if (value > max_) max_ = value;
  }

  /// Adds every sample of `other`.
  void merge(const LogHistogram& other);

  std::int64_t count() const { return count_; }
  Wide sum() const { return sum_; }
  /// Largest and smallest sample; 0 when empty.
  std::int64_t max() const { return max_; }
  std::int64_t min() const { return min_; }
  /// Mean of the samples, exact up to the last rounding. CHECK: not empty.
  double mean() const;

  /// Linear interpolation between order statistics (numpy's 'linear'); probability in [0, 1].
  /// CHECK: not empty.
  double percentile(double probability) const;
  /// The same for ascending probabilities in one pass over the buckets.
  std::vector<double> percentiles(std::span<const double> ascending) const;

  /// Bytes behind the counters, for memory accounting.
  std::int64_t bytes() const;

 private:
  static constexpr std::int64_t kSlots = std::int64_t{1} << kBits;

  // Row 0 holds [0, 2^kBits), row 1 + e holds [2^(kBits + e), 2^(kBits + e + 1)) in steps of 2^e.
  static int octave_of(std::int64_t value) {
    const auto width = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(value)));
    return width <= kBits ? 0 : width - kBits;
  }
  static std::size_t slot_of(std::int64_t value, int octave) {
    return static_cast<std::size_t>(octave == 0 ? value : (value >> (octave - 1)) - kSlots);
  }
  double midpoint(std::size_t octave, std::size_t slot) const;
  void grow(std::size_t row);

  std::vector<std::vector<Count>> octaves_;
  std::int64_t count_ = 0, min_ = 0, max_ = 0;
  Wide sum_ = 0;
};

/// Inter-token gaps in nanoseconds: relative value error at most 0.0123 %.
using GapHistogram = LogHistogram<12, std::int64_t>;
/// Latencies of one SLO window in nanoseconds, small enough to keep one a window: at most 0.098 %.
using WindowHistogram = LogHistogram<9, std::uint32_t>;

extern template class LogHistogram<12, std::int64_t>;
extern template class LogHistogram<9, std::uint32_t>;

}  // namespace fleetsim
