// Decode attention on latents is what float64 says, whatever order threads run in and however
// contexts are cut, and its check sees mistakes.

#include "kernels/operators/latent_decode_attention.h"

#include <algorithm>
#include <vector>

#include "hw_models/check.h"
#include "kernels/checks/latent_attention_check.h"
#include "kernels/checks/operator_checks.h"
#include "kernels/operators/decode_schedule.h"
#include "tests/kernels/check_reports.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

LatentDecodeArguments sound_arguments() {
  LatentDecodeArguments arguments;
  arguments.heads = 16, arguments.query_tokens = 2, arguments.sequences = 3;
  arguments.pages = 40, arguments.page_tokens = 64, arguments.pages_per_sequence = 10;
  return arguments;
}

}  // namespace

TEST_CASE("decode attention on latents is what float64 says", "[kernels][latent_decode]") {
  emulation::set_schedule_seed(90);
  require_all_passed(check_latent_decode_attention(90, Scale::emulated));
}

TEST_CASE("decode attention on latents: bits do not depend on the order in which threads run",
          "[kernels][latent_decode]") {
  const LatentDecodeCase c{20, 2, 16, {64 * 5 + 1, 64 * 7, 0, 70}, 3};
  AttentionResult first;
  for (const std::uint64_t seed : {1, 2, 3, 4}) {
    emulation::set_schedule_seed(seed);
    AttentionResult result;
    require_all_passed(check_latent_decode_case(c, 7, nullptr, &result));
    if (seed == 1) first = result;
    REQUIRE(result == first);
  }
}

TEST_CASE("decode attention on latents cut in 1 to 5 parts gives one result",
          "[kernels][latent_decode]") {
  LatentDecodeCase c{16, 1, 64, {64 * 10 - 5}};
  std::vector<double> whole;
  for (c.blocks = 1; c.blocks <= 5; ++c.blocks) {
    AttentionResult result;
    require_all_passed(check_latent_decode_case(c, 5, nullptr, &result));
    std::vector<float> out;
    for (const Bf16 value : result.out) out.push_back(to_float(value));
    if (c.blocks == 1) whole.assign(out.begin(), out.end());
    // probabilities are rounded under other maxima: each is as far from the other as from float64
    REQUIRE(compare(out, whole).relative_error < 5e-3);
  }
}

TEST_CASE(
    "the check of latent decoding sees a wrong page, a wrong length, a query, a latent and a "
    "rotated element that differ",
    "[kernels][latent_decode]") {
  const LatentDecodeCase c{9, 2, 16, {140, 50}};
  void (*const faults[])(LatentDecodeOperands&) = {
      [](LatentDecodeOperands& o) {  // a page of the other sequence
        o.page_table[1] = o.page_table[o.page_table.size() / 2];
      },
      [](LatentDecodeOperands& o) { o.lengths[0] -= 1; },
      [](LatentDecodeOperands& o) {
        for (std::size_t i = 0; i < 8; ++i) o.query[3 * 576 + i].bits ^= 0x8000;
      },
      [](LatentDecodeOperands& o) {
        for (std::size_t i = 0; i < 576; ++i)
          o.query[(9 + 2) * 576 + i] = o.query[(9 + 3) * 576 + i];
      },
      [](LatentDecodeOperands& o) {  // signs of a page's latents
        const auto page = static_cast<std::size_t>(o.page_table[2]) * 16 * 576;
        for (std::size_t i = 0; i < 576; ++i) o.cache[page + i].bits ^= i < 512 ? 0x8000 : 0;
      },
      [](LatentDecodeOperands& o) {  // rotated parts of two tokens
        const auto page = static_cast<std::size_t>(o.page_table[0]) * 16 * 576;
        for (std::size_t i = 512; i < 576; ++i)
          std::swap(o.cache[page + i], o.cache[page + 576 + i]);
      },
  };
  for (std::size_t i = 0; i < std::size(faults); ++i) {
    INFO("fault " << i);
    CHECK(any_failed(check_latent_decode_case(c, 1, faults[i])));
  }
}

TEST_CASE("a sequence whose latents are not finite spoils nobody else's result",
          "[kernels][latent_decode]") {
  const LatentDecodeCase c{5, 1, 16, {150, 130, 9, 1, 140}, 1};
  AttentionResult sound, spoiled;
  check_latent_decode_case(c, 3, nullptr, &sound);
  check_latent_decode_case(
      c, 3,
      [](LatentDecodeOperands& o) {  // all pages of sequence 1
        const std::size_t row = o.page_table.size() / o.lengths.size();
        for (int page = 0; page < ceil_div(o.lengths[1], 16); ++page)
          std::fill_n(
              o.cache.begin() + static_cast<std::ptrdiff_t>(
                                    o.page_table[row + static_cast<std::size_t>(page)] * 16 * 576),
              16 * 576, Bf16{0x7fc0});
      },
      &spoiled);
  const std::size_t row = sound.out.size() / c.lengths.size();
  for (std::size_t i = 0; i < sound.out.size(); ++i)
    REQUIRE((sound.out[i].bits == spoiled.out[i].bits) == (i / row != 1));
}

TEST_CASE(
    "decode attention on latents launches nothing for no sequences and refuses what it cannot "
    "compute",
    "[kernels][latent_decode]") {
  launch_latent_decode({}, {});
  const LatentDecodeArguments sound = sound_arguments();
  REQUIRE(latent_decode_supports(sound));
  const auto refused = [&](auto change) {
    auto changed = sound;
    change(changed);
    return !latent_decode_supports(changed);
  };
  CHECK(refused([](auto& a) { a.heads = 129; }));
  CHECK(refused([](auto& a) { a.heads = 0; }));
  CHECK(refused([](auto& a) { a.query_tokens = 5; }));
  CHECK(refused([](auto& a) { a.page_tokens = 8; }));
  CHECK(refused([](auto& a) { a.page_tokens = 48; }));
  CHECK(refused([](auto& a) { a.sequences = 1 << 30; }));
  LatentDecodeArguments wrong = sound;
  wrong.heads = 129;
  CHECK_THROWS_AS(launch_latent_decode(wrong, {}), fleetsim::InternalError);
}
