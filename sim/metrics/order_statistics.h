#pragma once
// Exact percentiles of values in memory by selection, without sorting or copying them.

#include <cstddef>
#include <span>
#include <vector>

namespace fleetsim {

/// Percentiles by linear interpolation between order statistics (numpy's 'linear') at ascending
/// probabilities in [0, 1]. Reorders `values`; infinities are values like any other (a percentile
/// that touches one is infinite). O(n log(number of probabilities)). CHECK: `values` is not empty.
std::vector<double> select_percentiles(std::span<double> values, std::span<const double> ascending);

/// The same for values that stand in buckets: bucket b holds values[ends[b - 1], ends[b]), none of
/// them above one of a later bucket. Only buckets that hold a rank which is asked for are touched.
std::vector<double> select_percentiles(std::span<double> values, std::span<const std::size_t> ends,
                                       std::span<const double> ascending);

/// x[floor(position)] + fraction * (x[next] - x[floor]), without making NaN of two infinities.
double interpolate(double low, double high, double fraction);

}  // namespace fleetsim
