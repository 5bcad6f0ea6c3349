// The choices of experts that points are measured with follow the law that the simulator prices
// with.

#include "kernels/measure/expert_choices.h"

#include <cmath>
#include <numeric>
#include <set>

#include "hw_models/matrix_work.h"
#include "kernels/measure/grid.h"
#include "kernels/measure/work.h"

#include "tests/catch.h"

using namespace fleetsim;
using namespace fleetsim::kernels;

namespace {

/// What prices expect on the busiest GPU, from the chances of points.
BusiestGpu busiest_by_chances(const ExpertLayer& layer) {
  const std::vector<double> chances =
      expert_chances(layer.experts, layer.experts_per_token, layer.skew);
  const double tokens = static_cast<double>(layer.tokens);
  const double others = layer.experts > 1 ? static_cast<double>(layer.local_experts - 1) /
                                                static_cast<double>(layer.experts - 1)
                                          : 0;
  BusiestGpu busiest;
  for (std::size_t rank = 0; rank < chances.size(); ++rank) {
    const double share = rank == 0 ? 1 : others;
    busiest.rows += share * tokens * chances[rank];
    busiest.distinct_experts += share * (1 - std::pow(1 - chances[rank], tokens));
  }
  return busiest;
}

ExpertsShape shape_of(const ExpertLayer& layer) {
  ExpertsShape shape;
  shape.tokens = static_cast<double>(layer.tokens);
  shape.experts = static_cast<double>(layer.experts);
  shape.local_experts = static_cast<double>(layer.local_experts);
  shape.experts_per_token = static_cast<double>(layer.experts_per_token);
  shape.skew = layer.skew;
  return shape;
}

}  // namespace

TEST_CASE("points and prices have the same law of popularity", "[unit]") {
  for (const ExpertSite& site : expert_sites())
    for (const std::int64_t local : {std::int64_t{1}, site.local_experts, site.experts})
      for (const double skew : {0.0, 0.3, 0.7, 1.0, 2.0})
        for (const std::int64_t tokens : {1, 7, 64, 1000}) {
          const ExpertLayer layer{tokens, site.experts, local, site.experts_per_token, skew};
          CAPTURE(site.model, local, skew, tokens);
          const BusiestGpu points = busiest_by_chances(layer);
          const BusiestGpu prices = busiest_gpu(shape_of(layer));
          CHECK(points.rows == Approx(prices.rows).epsilon(1e-9));
          CHECK(points.distinct_experts == Approx(prices.distinct_experts).epsilon(1e-9));
        }
}

TEST_CASE("drawn choices bring the busiest GPU what the law expects", "[unit]") {
  for (const ExpertSite& site : expert_sites())
    for (const double skew : {0.0, 0.7, 1.0}) {
      CAPTURE(site.model, skew);
      for (const std::int64_t tokens : {64, 8192}) {
        const ExpertLayer layer{tokens, site.experts, site.local_experts, site.experts_per_token,
                                skew};
        const LocalRows here = local_rows(layer, expert_choices(layer));
        const BusiestGpu expected = busiest_gpu(shape_of(layer));
        CAPTURE(tokens, here.all, here.experts_met);
        // four standard deviations of rows that choose independently, and the deal's 1 %
        CHECK(std::fabs(static_cast<double>(here.all) - expected.rows) <=
              4 * std::sqrt(expected.rows) + 0.01 * expected.rows);
        CHECK(std::fabs(static_cast<double>(here.experts_met) - expected.distinct_experts) <=
              4 * std::sqrt(expected.distinct_experts));
      }
    }
}

TEST_CASE("a token chooses distinct experts, each as often as its chance says", "[unit]") {
  const ExpertLayer layer{20'000, 16, 4, 4, 1.0};
  const std::vector<std::int32_t> choices = expert_choices(layer);
  REQUIRE(choices.size() == 80'000);
  std::vector<double> counts(16, 0.0);
  for (std::size_t first = 0; first < choices.size(); first += 4) {
    CHECK(std::set<std::int32_t>(choices.begin() + static_cast<std::ptrdiff_t>(first),
                                 choices.begin() + static_cast<std::ptrdiff_t>(first) + 4)
              .size() == 4);
    for (std::size_t slot = first; slot < first + 4; ++slot)
      counts[static_cast<std::size_t>(choices[slot])] += 1;
  }
  std::vector<double> chances = expert_chances(16, 4, 1.0);
  CHECK(std::accumulate(chances.begin(), chances.end(), 0.0) == Approx(4));
  CHECK(chances[0] == 1.0);  // 1.18 of four picks: what is above 1 goes to the others
  CHECK(chances[15] > 4.0 / 3.3807 / 16);
  CHECK(counts[0] == 20'000);
  std::sort(counts.rbegin(), counts.rend());
  for (std::size_t i = 0; i < counts.size(); ++i)
    CHECK(std::fabs(counts[i] - 20'000 * chances[i]) <= 4 * std::sqrt(20'000 * chances[i]));
  CHECK(expert_choices(layer) == choices);
}

TEST_CASE("points of experts do the work that the simulator prices", "[unit]") {
  const Point::Values layer = {{"tokens", "4096"},       {"experts", "8"},
                               {"local_experts", "8"},   {"experts_per_token", "2"},
                               {"skew_hundredths", "0"}, {"dtype", "bf16"}};
  Point::Values whole = layer, up = layer, down = layer;
  whole.insert(whole.end(), {{"hidden", "4096"}, {"ffn", "14336"}});
  up.insert(up.end(), {{"n", "28672"}, {"k", "4096"}});
  down.insert(down.end(), {{"n", "4096"}, {"k", "14336"}});
  ExpertsShape shape{GemmFormat::bf16, 4096, 4096, 14336, 8, 8, 2, 0};
  const OperatorWork priced = fleetsim::work_of(shape);
  const Work experts = kernels::work_of(sound_point("experts", whole));
  const Work gate_up = kernels::work_of(sound_point("grouped_gemm", up));
  const Work of_down = kernels::work_of(sound_point("grouped_gemm", down));
  CHECK(experts.flops == Approx(priced.flops).epsilon(1e-12));
  CHECK(gate_up.flops + of_down.flops == Approx(experts.flops).epsilon(1e-12));
  // apart, both products write and read what lies between them: 2 bytes of 3 ffn and 2 hidden
  CHECK(gate_up.bytes + of_down.bytes == Approx(priced.bytes).epsilon(1e-12));
  CHECK(experts.bytes < priced.bytes);
  // the same rows at once, of one matrix, do as many FLOPs
  const Work dense = kernels::work_of(sound_point(
      "gemm", {{"dtype", "bf16"}, {"m", "8192"}, {"n", "28672"}, {"k", "4096"}, {"algo", "top"}}));
  CHECK(dense.flops == gate_up.flops);
}

TEST_CASE("more is chosen than there is, or groups do not come out even: refused with the axis",
          "[unit]") {
  std::vector<PointFault> faults;
  CHECK_FALSE(make_point(
      "expert_routing",
      {{"rule", "sigmoid_groups"}, {"tokens", "4"}, {"experts", "60"}, {"experts_per_token", "4"}},
      faults));
  REQUIRE(faults.size() == 1);
  CHECK(faults[0].axis == "experts");
  faults.clear();
  CHECK_FALSE(make_point("expert_permute",
                         {{"tokens", "4"},
                          {"hidden", "64"},
                          {"experts", "4"},
                          {"local_experts", "5"},
                          {"experts_per_token", "6"},
                          {"skew_hundredths", "0"}},
                         faults));
  REQUIRE(faults.size() == 2);
}
