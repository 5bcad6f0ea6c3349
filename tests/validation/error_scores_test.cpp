// Statistics on pairs whose answers are known by hand.

#include "sim/validation/error_scores.h"

#include <cmath>
#include <vector>

#include "tests/catch.h"

namespace fleetsim {
namespace {

TEST_CASE(
    "scores are the median and 90th percentile of the size of errors, and the signed median") {
  // errors: +10 %, -20 %, +30 %, 0
  const std::vector<MeasuredPair> pairs = {{10, 11}, {10, 8}, {10, 13}, {10, 10}};
  const auto scores = error_scores(pairs);
  REQUIRE(scores.has_value());
  CHECK(scores->count == 4);
  CHECK(scores->median == Approx(0.15));          // of 0, 0.1, 0.2, 0.3
  CHECK(scores->p90 == Approx(0.2 + 0.1 * 0.7));  // place 2.7 of 0..3
  CHECK(scores->bias == Approx(0.05));            // of -0.2, 0, 0.1, 0.3
}

TEST_CASE("without pairs there are no scores") { CHECK_FALSE(error_scores({}).has_value()); }

TEST_CASE("equal orders correlate by 1, opposite ones by -1, ties share their rank") {
  const std::vector<MeasuredPair> same = {{1, 10}, {2, 40}, {3, 90}};
  CHECK(rank_correlation(same) == Approx(1));
  const std::vector<MeasuredPair> opposite = {{1, 3}, {2, 2}, {3, 1}};
  CHECK(rank_correlation(opposite) == Approx(-1));
  // ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5 / sqrt(4.5 x 5)
  const std::vector<MeasuredPair> tied = {{1, 1}, {2, 2}, {2, 3}, {3, 4}};
  CHECK(*rank_correlation(tied) == Approx(4.5 / std::sqrt(4.5 * 5)));
}

TEST_CASE("two points, or one side all equal, have no order to compare") {
  CHECK_FALSE(rank_correlation(std::vector<MeasuredPair>{{1, 2}, {2, 3}}).has_value());
  CHECK_FALSE(rank_correlation(std::vector<MeasuredPair>{{1, 2}, {2, 2}, {3, 2}}).has_value());
}

}  // namespace
}  // namespace fleetsim
