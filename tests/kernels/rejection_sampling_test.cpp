// Rejection sampling: its check holds on the emulated device and finds planted faults, and its
// reference is lossless itself.

#include "kernels/reference/rejection_sampling.h"

#include <cmath>
#include <vector>

#include "kernels/checks/operator_checks.h"
#include "kernels/checks/rejection_sampling_check.h"
#include "kernels/device/device_memory.h"
#include "kernels/emulation/emulated_device.h"
#include "kernels/operators/rejection_sampling.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

TEST_CASE("accepted and next tokens are float64's, their distribution is the target's",
          "[kernels][rejection_sampling]") {
  emulation::set_schedule_seed(1);
  for (const CheckReport& report : check_rejection_sampling(42, Scale::emulated)) {
    INFO(report.what << ": " << report.error << " of " << report.limit << " " << report.problem);
    CHECK(report.passed());
  }
}

TEST_CASE("verified tokens do not depend on the schedule", "[kernels][rejection_sampling]") {
  const int before = emulation::device_traits().compute_capability;
  for (const std::uint64_t schedule : {2, 3, 4})
    for (const int capability : {80, 90}) {
      emulation::set_schedule_seed(schedule);
      emulation::device_traits().compute_capability = capability;
      const CheckReport report =
          check_rejection_case({LogitShape::coarse, 8, 6, 5000, 5000, true}, 40 + schedule);
      INFO(report.what << ": " << report.error << " " << report.problem);
      CHECK(report.passed());
    }
  emulation::device_traits().compute_capability = before;
}

// Power: over logits of variance 1, 1500 requests give a temperature that is wrong by half a
// noncentrality of about 1500 * (1/3)^2 = 170 of first tokens alone, at 6 degrees. The seed is
// fixed.
TEST_CASE("1500 drafts tell a biased verification from a lossless one",
          "[kernels][rejection_sampling]") {
  const auto passes = [](int children, bool with_probabilities, DraftFault fault) {
    return check_rejection_draws(children, with_probabilities, 1500, 7, fault).passed();
  };
  CHECK(passes(2, false, DraftFault::none));
  CHECK_FALSE(passes(1, false, DraftFault::hotter));
  CHECK(passes(2, true, DraftFault::none));
  CHECK_FALSE(passes(1, true, DraftFault::hotter));
  CHECK_FALSE(passes(1, true, DraftFault::other_distribution));
}

namespace {

/// One request by the kernel: accepted tokens and the next one.
std::vector<std::int32_t> verified(const std::vector<float>& logits,
                                   const std::vector<int>& parents,
                                   const std::vector<std::int32_t>& tokens, SamplingRow row) {
  const int nodes = static_cast<int>(parents.size());
  const DeviceBuffer<float> device_logits(logits);
  const DeviceBuffer<int> starts(std::vector<int>{0, nodes}), device_parents(parents);
  const DeviceBuffer<std::int32_t> device_tokens(tokens), out(parents.size()), accepted(1);
  const DeviceBuffer<SamplingRow> rows(std::vector<SamplingRow>{row});
  RejectionSamplingArguments a;
  a.logits = device_logits.data();
  a.node_starts = starts.data();
  a.parents = device_parents.data();
  a.draft_tokens = device_tokens.data();
  a.parameters = rows.data();
  a.requests = 1;
  a.rows = a.nodes_max = nodes;
  a.vocab = static_cast<int>(logits.size()) / nodes;
  a.row_stride = a.vocab;
  a.tokens = out.data();
  a.accepted = accepted.data();
  const DeviceBuffer<unsigned char> workspace(rejection_sampling_workspace_bytes(a));
  device_fill(workspace.data(), 0, workspace.size(), Stream{});
  a.workspace = workspace.data();
  launch_rejection_sampling(a, Stream{});
  std::vector<std::int32_t> all = out.values();
  all.resize(static_cast<std::size_t>(accepted.values()[0]) + 1);
  return all;
}

}  // namespace

TEST_CASE("greedy drafts are followed as far as they are the largest logits, ties to the lowest id",
          "[kernels][rejection_sampling]") {
  SamplingRow greedy;
  greedy.temperature = 0;
  // rows say 2; 1, as 3 is its equal; 0; 3
  const std::vector<float> logits = {0, 1, 5, 2, 0, 7, 1, 7, 4, 1, 2, 3, 0, 0, 0, 1};
  using Tokens = std::vector<std::int32_t>;
  CHECK(verified(logits, {-1, 0, 1, 2}, {-1, 2, 1, 0}, greedy) == Tokens{2, 1, 0, 3});  // bonus
  CHECK(verified(logits, {-1, 0, 1, 2}, {-1, 2, 3, 0}, greedy) == Tokens{2, 1});
  CHECK(verified(logits, {-1, 0, 1, 2}, {-1, 3, 1, 0}, greedy) == Tokens{2});
  // the second sibling is right, and node 3 is its child
  CHECK(verified(logits, {-1, 0, 0, 2}, {-1, 1, 2, 0}, greedy) == Tokens{2, 0, 3});
  // the right token under the sibling that was not taken
  CHECK(verified(logits, {-1, 0, 0, 1}, {-1, 1, 2, 0}, greedy) == Tokens{2, 0});
}

TEST_CASE("a target that is sure of the drafts accepts them all and gives one more",
          "[kernels][rejection_sampling]") {
  SamplingRow row;
  const std::vector<float> sure = {0, 0, 90, 0, 0, 90, 0, 0, 90, 0, 0, 0};
  using Tokens = std::vector<std::int32_t>;
  CHECK(verified(sure, {-1, 0, 1}, {-1, 2, 1}, row) == Tokens{2, 1, 0});
  // and takes none that it is sure not to say, drawn or not
  CHECK(verified(sure, {-1, 0, 0}, {-1, 1, 3}, row) == Tokens{2});
}

TEST_CASE("the float64 reference accepts what probabilities say", "[kernels][rejection_sampling]") {
  // p = (1/4, 3/4) and q = (3/4, 1/4): token 0 is accepted with 1/3, else token 1 follows
  DraftInputs in;
  in.tree = {-1, 0};
  in.tokens = {-1, 0};
  in.logits = {{0.0F, std::log(3.0F)}, {9.0F, 0.0F}};
  in.draft_probabilities = {{0.75F, 0.25F}, {0.5F, 0.5F}};
  int accepted = 0;
  constexpr int kTimes = 30000;
  for (int i = 0; i < kTimes; ++i) {
    in.position = static_cast<std::uint64_t>(i);
    const DraftVerdict verdict = rejection_reference(in);
    accepted += static_cast<int>(verdict.nodes.size());
    if (verdict.nodes.empty()) REQUIRE(verdict.tokens == std::vector<int>{1});
  }
  // a standard deviation is 0.0027
  CHECK(std::abs(static_cast<double>(accepted) / kTimes - 1.0 / 3) < 0.011);
  CHECK(target_distribution({1, 2, 2, 0}, 0) == std::vector<double>{0, 1, 0, 0});
  CHECK(target_distribution({-INFINITY, NAN}, 1) == std::vector<double>{1, 0});
  CHECK(target_distribution({0, INFINITY, INFINITY}, 1) == std::vector<double>{0, 1, 0});
  CHECK(target_distribution({0, std::log(3.0F)}, 1)[1] == Approx(0.75));
}

TEST_CASE("rejection sampling refuses shapes that it was not made for",
          "[kernels][rejection_sampling]") {
  const float logits[4] = {};
  const int integers[2] = {};
  const SamplingRow row;
  std::int32_t out[2];
  unsigned char workspace[16];
  RejectionSamplingArguments sound;
  sound.logits = logits;
  sound.node_starts = sound.parents = integers;
  sound.draft_tokens = integers;
  sound.parameters = &row;
  sound.nodes_max = 1;
  sound.vocab = 4;
  sound.row_stride = 4;
  sound.tokens = sound.accepted = out;
  sound.workspace = workspace;
  REQUIRE_NOTHROW(launch_rejection_sampling(sound, {}));  // no requests: no launch
  const auto refused = [&](auto change) {
    RejectionSamplingArguments changed = sound;
    change(changed);
    CHECK_THROWS(launch_rejection_sampling(changed, {}));
  };
  refused([](RejectionSamplingArguments& a) { a.nodes_max = 0; });
  refused([](RejectionSamplingArguments& a) { a.nodes_max = 65; });
  refused([](RejectionSamplingArguments& a) { a.row_stride = 3; });
  refused([](RejectionSamplingArguments& a) { a.vocab = 0; });
  refused([](RejectionSamplingArguments& a) { a.requests = 70000; });
  refused([](RejectionSamplingArguments& a) { a.accepted = nullptr; });
}
