// The ranks that the percentiles need are selected by halves: nth_element puts the middle rank into
// its place, the lower and the upper ranks are then looked for on their own side only.

#include "sim/metrics/order_statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

void select_ranks(std::span<double> values, std::size_t offset,
                  std::span<const std::size_t> ranks) {
  if (ranks.empty() || values.size() < 2) return;
  const std::size_t middle = ranks.size() / 2;
  const std::size_t place = ranks[middle] - offset;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(place),
                   values.end());
  select_ranks(values.first(place), offset, ranks.first(middle));
  select_ranks(values.subspan(place + 1), ranks[middle] + 1, ranks.subspan(middle + 1));
}

}  // namespace

double interpolate(double low, double high, double fraction) {
  if (fraction == 0 || low == high) return low;
  if (std::isinf(high)) return high;
  return low + fraction * (high - low);
}

std::vector<double> select_percentiles(std::span<double> values,
                                       std::span<const double> ascending) {
  const std::size_t end = values.size();
  return select_percentiles(values, std::span(&end, 1), ascending);
}

std::vector<double> select_percentiles(std::span<double> values, std::span<const std::size_t> ends,
                                       std::span<const double> ascending) {
  CHECK(!values.empty(), "percentile of nothing");
  CHECK(std::is_sorted(ascending.begin(), ascending.end()), "probabilities must ascend");
  std::vector<std::size_t> ranks;
  std::vector<double> fractions;
  for (const double probability : ascending) {
    CHECK(probability >= 0 && probability <= 1, "probability " + std::to_string(probability));
    const double position = probability * static_cast<double>(values.size() - 1);
    const std::size_t below = std::min(static_cast<std::size_t>(position), values.size() - 1);
    fractions.push_back(position - static_cast<double>(below));
    ranks.push_back(below);
    ranks.push_back(std::min(below + 1, values.size() - 1));
  }
  std::vector<std::size_t> unique_ranks = ranks;
  std::sort(unique_ranks.begin(), unique_ranks.end());
  unique_ranks.erase(std::unique(unique_ranks.begin(), unique_ranks.end()), unique_ranks.end());
  const std::span<const std::size_t> wanted(unique_ranks);
  for (std::size_t next = 0; next < wanted.size();) {
    const auto bucket = std::upper_bound(ends.begin(), ends.end(), wanted[next]);
    CHECK(bucket != ends.end(), "buckets end before the values");
    const std::size_t begin = bucket == ends.begin() ? 0 : *(bucket - 1);
    std::size_t last = next;
    while (last < wanted.size() && wanted[last] < *bucket) ++last;
    select_ranks(values.subspan(begin, *bucket - begin), begin, wanted.subspan(next, last - next));
    next = last;
  }
  std::vector<double> answer;
  for (std::size_t i = 0; i < fractions.size(); ++i) {
    answer.push_back(interpolate(values[ranks[2 * i]], values[ranks[2 * i + 1]], fractions[i]));
  }
  return answer;
}

}  // namespace fleetsim
