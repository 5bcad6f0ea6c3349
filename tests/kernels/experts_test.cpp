// A mixture of experts: routing, the order of rows and the grouped GEMM agree with float64 under
// every schedule, and their checks notice when not.

#include "kernels/reference/experts.h"

#include <cmath>
#include <map>
#include <vector>

#include "kernels/checks/expert_permutation_check.h"
#include "kernels/checks/expert_routing_check.h"
#include "kernels/checks/grouped_gemm_check.h"
#include "kernels/checks/operator_checks.h"
#include "kernels/emulation/emulated_device.h"
#include "kernels/operators/expert_permutation.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

void require_passed(std::vector<CheckReport> (*check)(std::uint64_t, Scale)) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    emulation::set_schedule_seed(seed);
    for (const CheckReport& report : check(seed, Scale::emulated)) {
      INFO(report.what << ": " << report.error << " " << report.problem);
      CHECK(report.passed());
    }
  }
}

/// The device is an sm_80 while this lives.
class OlderDevice {
 public:
  OlderDevice() { emulation::device_traits().compute_capability = 80; }
  ~OlderDevice() { emulation::device_traits().compute_capability = 90; }
};

const RoutingRule kMixtral{RouterScore::softmax, true, 1, 1, 1};
const RoutingRule kDeepSeek{RouterScore::sigmoid, true, 2.5F, 8, 4};

}  // namespace

TEST_CASE("routing chooses the experts and weights that float64 does", "[kernels][experts]") {
  require_passed(check_expert_routing);
  const OlderDevice older;
  require_passed(check_expert_routing);
}

TEST_CASE("a wrong tie, a forgotten bias, weights of another rule and a group too many are found",
          "[kernels][experts]") {
  const RoutingCase ties{20, 64, 8, kMixtral, false, false, true};
  const RoutingCase groups{20, 256, 8, kDeepSeek, false, true, false};
  const RoutingCase group_ties{20, 64, 8, kDeepSeek, false, false, true};
  CHECK(check_routing_case(ties, 1).passed());
  CHECK(check_routing_case(groups, 1).passed());
  CHECK(check_routing_case(group_ties, 1).passed());
  CHECK_FALSE(check_routing_case(ties, 1, RoutingFault::highest_of_the_tie).passed());
  CHECK_FALSE(check_routing_case(group_ties, 1, RoutingFault::highest_of_the_tie).passed());
  for (const RoutingFault fault : {RoutingFault::bias_forgotten, RoutingFault::bias_in_weights,
                                   RoutingFault::not_renormalised, RoutingFault::one_group_more})
    CHECK_FALSE(check_routing_case(groups, 1, fault).passed());
  CHECK_FALSE(check_routing_case(ties, 1, RoutingFault::not_renormalised).passed());
}

TEST_CASE("routing by hand: softmax over four, and two groups of two by sigmoid",
          "[kernels][experts]") {
  const std::vector<float> logits = {0, std::log(2.0F), std::log(4.0F), 0};
  const ExpertScores softmax = reference_expert_scores(logits, {}, false);
  CHECK(softmax.weight[2] == Approx(0.5));
  CHECK(softmax.weight[1] == Approx(0.25));
  const ExpertScores sigmoid = reference_expert_scores(logits, {1, 0, 0, 0}, true);
  CHECK(sigmoid.weight[1] == Approx(2.0 / 3));
  CHECK(sigmoid.score[0] == Approx(1.5));
  CHECK(sigmoid.weight[0] == Approx(0.5));
  // 1.5 + 0.667 against 0.8 + 0.5
  CHECK(reference_open_groups(sigmoid.score, 2, 1, 1e-6) == std::vector<int>{1, -1});
  CHECK(reference_open_groups({1, 2, 2, 1}, 2, 1, 1e-6) == std::vector<int>{1, -1});
  CHECK(reference_open_groups({1, 2, 2, 1 + 1e-9}, 2, 1, 1e-6) == std::vector<int>{0, 0});
}

TEST_CASE("rows go to their experts in the order of tokens, and come back weighted",
          "[kernels][experts]") {
  require_passed(check_expert_permutation);
  const OlderDevice older;
  require_passed(check_expert_permutation);
}

TEST_CASE("the order of rows by hand, of all experts and of a rank", "[kernels][experts]") {
  const std::vector<std::int32_t> ids = {2, 0, 1, 2, 0, 2};  // three tokens, two each
  const ReferenceExpertOrder all = reference_expert_order(ids, 0, 3);
  CHECK(all.offsets == std::vector<std::int32_t>{0, 2, 3, 6});
  CHECK(all.slot_of_row == std::vector<std::int32_t>{1, 4, 2, 0, 3, 5});
  CHECK(all.row_of_slot == std::vector<std::int32_t>{3, 0, 2, 4, 1, 5});
  const ReferenceExpertOrder rank = reference_expert_order(ids, 1, 1);
  CHECK(rank.offsets == std::vector<std::int32_t>{0, 1});
  CHECK(rank.row_of_slot == std::vector<std::int32_t>{-1, -1, 0, -1, -1, -1});
  CHECK(group_of_row(all.offsets, 1) == 0);
  CHECK(group_of_row(all.offsets, 2) == 1);
  CHECK(group_of_row({0, 0, 4}, 0) == 1);
}

TEST_CASE("offsets off by one, an unstable order, a wrong expert and a wrong row are found",
          "[kernels][experts]") {
  const PermutationCase shape{40, 16, 4, 2, 8, 64, false};
  for (const CheckReport& report : check_permutation_case(shape, 1)) CHECK(report.passed());
  for (const PermutationFault fault :
       {PermutationFault::offset_by_one, PermutationFault::unstable_order,
        PermutationFault::wrong_expert})
    CHECK_FALSE(check_permutation_case(shape, 1, fault)[0].passed());
  CHECK_FALSE(check_permutation_case(shape, 1, PermutationFault::row_twice)[1].passed());
  CHECK_FALSE(check_permutation_case(shape, 1, PermutationFault::unstable_order)[2].passed());
}

TEST_CASE("the grouped GEMM agrees with float64 under every schedule", "[kernels][experts]") {
  require_passed(check_grouped_gemm);
}

TEST_CASE("a row of the wrong expert, a wrong matrix and a short K are found in grouped products",
          "[kernels][experts]") {
  const GroupedCase shape{GroupedFormat::bf16, {40, 70, 3}, 2, 64, 128, 0};
  CHECK(check_grouped_case(shape, 1).passed());
  for (const GroupedFault fault :
       {GroupedFault::offset_by_one, GroupedFault::wrong_expert, GroupedFault::short_k})
    CHECK_FALSE(check_grouped_case(shape, 1, fault).passed());
}

TEST_CASE("the grouped GEMM says that it is not for GPUs before and after Hopper",
          "[kernels][experts]") {
  const OlderDevice older;
  CHECK_THROWS_AS(check_grouped_case({GroupedFormat::bf16, {4}, 0, 8, 8, 0}, 1), NotSupportedHere);
}

TEST_CASE("tiles are wide where there are many, narrow where few would leave SMs idle",
          "[kernels][experts]") {
  // Mixtral on an H200: gate-up and down of 16k tokens; one token
  CHECK(grouped_gemm_tile_columns(32768, 8, 28672, 132) == 256);
  CHECK(grouped_gemm_tile_columns(32768, 8, 4096, 132) == 256);
  CHECK(grouped_gemm_tile_columns(2, 8, 28672, 132) == 256);  // 224 tiles in two rounds
  CHECK(grouped_gemm_tile_columns(2, 8, 4096, 132) == 64);    // 32 tiles would use 32 SMs
  CHECK(grouped_gemm_tile_columns(1, 1, 64, 132) == 64);
}
