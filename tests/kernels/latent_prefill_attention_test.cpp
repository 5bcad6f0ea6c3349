// Prefill attention on expanded latents is what float64 says, whatever order threads run in and
// whoever takes which tile, and its check sees mistakes.

#include "kernels/operators/latent_prefill_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "hw_models/check.h"
#include "kernels/checks/latent_attention_check.h"
#include "kernels/checks/operator_checks.h"
#include "tests/kernels/check_reports.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

TEST_CASE("prefill attention on expanded latents is what float64 says",
          "[kernels][latent_prefill]") {
  emulation::set_schedule_seed(90);
  require_all_passed(check_latent_prefill_attention(90, Scale::emulated));
}

TEST_CASE(
    "prefill attention on expanded latents: bits depend neither on the order of threads nor "
    "on the number of blocks",
    "[kernels][latent_prefill]") {
  LatentPrefillCase c{2, {140, 0, 66}, {130, 4, 0}};
  AttentionResult first;
  for (const std::uint64_t seed : {1, 2, 3, 4}) {
    emulation::set_schedule_seed(seed);
    c.blocks = static_cast<int>(seed % 3);
    AttentionResult result;
    require_all_passed(check_latent_prefill_case(c, 7, nullptr, &result));
    if (seed == 1) first = result;
    REQUIRE(result == first);
  }
}

TEST_CASE(
    "the check of latent prefill sees wrong starts, a wrong length, a key and a value that "
    "differ",
    "[kernels][latent_prefill]") {
  const LatentPrefillCase c{2, {70, 33}, {65, 40}};
  void (*const faults[])(LatentPrefillOperands&) = {
      [](LatentPrefillOperands& o) { o.key_starts[1] -= 3; },
      [](LatentPrefillOperands& o) { o.cached_lengths[0] -= 1; },
      [](LatentPrefillOperands& o) { o.query_starts[1] += 1; },
      [](LatentPrefillOperands& o) {  // rotated parts of two keys of head 1
        for (std::size_t i = 128; i < 192; ++i)
          std::swap(o.keys[(5 * 2 + 1) * 192 + i], o.keys[(6 * 2 + 1) * 192 + i]);
      },
      [](LatentPrefillOperands& o) {
        for (std::size_t i = 0; i < 128; ++i) o.values[(3 * 2) * 128 + i].bits ^= 0x8000;
      },
  };
  for (std::size_t i = 0; i < std::size(faults); ++i) {
    INFO("fault " << i);
    CHECK(any_failed(check_latent_prefill_case(c, 1, faults[i])));
  }
}

TEST_CASE("contexts taken in pieces and merged by their log-sum-exps are what they are at once",
          "[kernels][latent_prefill]") {
  // the last 40 keys and the 60 before them, of the same draws
  const LatentPrefillCase whole{1, {3}, {97}, false};
  AttentionResult at_once, pieces[2];
  check_latent_prefill_case(whole, 11, nullptr, &at_once);
  check_latent_prefill_case(
      whole, 11, [](LatentPrefillOperands& o) { o.cached_lengths = {57}; }, &pieces[0]);
  check_latent_prefill_case(
      whole, 11, [](LatentPrefillOperands& o) { o.cached_lengths = {37}, o.key_starts = {60}; },
      &pieces[1]);
  for (std::size_t row = 0; row < 3; ++row) {
    const double both = std::log(std::exp(static_cast<double>(pieces[0].log_sum_exp[row])) +
                                 std::exp(static_cast<double>(pieces[1].log_sum_exp[row])));
    CHECK(both == Approx(at_once.log_sum_exp[row]).margin(1e-4));
    for (std::size_t i = row * 128; i < (row + 1) * 128; ++i) {
      double merged = 0;
      for (const AttentionResult& piece : pieces)
        merged += std::exp(static_cast<double>(piece.log_sum_exp[row]) - both) *
                  static_cast<double>(to_float(piece.out[i]));
      REQUIRE(merged == Approx(to_float(at_once.out[i])).margin(4e-3));
    }
  }
}

TEST_CASE(
    "prefill attention on expanded latents launches nothing for no tokens and refuses what it "
    "cannot compute",
    "[kernels][latent_prefill]") {
  LatentPrefillArguments arguments;
  arguments.heads = 16;
  launch_latent_prefill(arguments, {});
  arguments.total_tokens = arguments.total_keys = 100, arguments.sequences = 2;
  REQUIRE(latent_prefill_supports(arguments));
  const auto refused = [&](auto change) {
    auto changed = arguments;
    change(changed);
    return !latent_prefill_supports(changed);
  };
  CHECK(refused([](auto& a) { a.heads = 129; }));
  CHECK(refused([](auto& a) { a.heads = 0; }));
  CHECK(refused([](auto& a) { a.total_keys = 0; }));
  CHECK(refused([](auto& a) { a.sequences = 1 << 30; }));
  arguments.heads = 129;
  CHECK_THROWS_AS(launch_latent_prefill(arguments, {}), fleetsim::InternalError);
}
