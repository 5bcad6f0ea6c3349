// The choice of iterations to replay: some of every kind, the same for any order, and built ones.

#include "calibrate/composition_choice.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "tests/catch.h"

using namespace fleetsim;

namespace {

Composition decodes(std::int64_t batch, std::int64_t context) {
  return {std::vector<std::int64_t>(static_cast<std::size_t>(batch), 1),
          std::vector<std::int64_t>(static_cast<std::size_t>(batch), context)};
}

/// A log as a run gives it: mostly decodes, few of the rest, many the same.
std::vector<Composition> example_log() {
  std::vector<Composition> log;
  for (std::int64_t batch = 1; batch <= 100; ++batch)
    for (std::int64_t context = 100; context < 110; ++context)
      for (int again = 0; again < 3; ++again) log.push_back(decodes(batch, context));
  for (std::int64_t tokens = 10; tokens < 40; ++tokens) log.push_back({{tokens}, {0}});
  log.push_back({{2000}, {4096}});
  for (std::int64_t batch = 1; batch < 20; ++batch) {
    Composition mixed = decodes(batch, 50);
    mixed.fresh.push_back(300);
    mixed.cached.push_back(0);
    log.push_back(mixed);
  }
  Composition ragged = decodes(20, 10);
  ragged.cached[7] = 8000;
  log.push_back(ragged);
  return log;
}

std::vector<ChosenComposition> chosen_from(const std::vector<Composition>& log, std::int64_t count,
                                           std::uint64_t seed = 1) {
  CompositionChoice choice(count, seed);
  for (const Composition& one : log) choice.add(one);
  return choice.choose();
}

}  // namespace

TEST_CASE("the sample has some of every kind and no composition twice", "[composition_choice]") {
  const auto chosen = chosen_from(example_log(), 40);
  REQUIRE(chosen.size() == 40);
  std::map<CompositionKind, int> kinds;
  std::set<Composition> different;
  std::set<std::string> strata;
  for (const ChosenComposition& one : chosen) {
    ++kinds[kind_of(one.composition)];
    different.insert(one.composition);
    strata.insert(one.stratum);
  }
  CHECK(different.size() == 40);
  CHECK(kinds.size() == 4);
  CHECK(kinds[CompositionKind::ragged_decode] == 1);  // all that there are
  CHECK(kinds[CompositionKind::prefill] >= 8);
  CHECK(kinds[CompositionKind::mixed] >= 8);
  CHECK(strata.count("decode, batch 64 to 127") == 1);
  CHECK(strata.count("nearly full KV") == 1);
  // a small sample begins with one of each
  std::set<CompositionKind> first;
  for (std::size_t i = 0; i < 5; ++i) first.insert(kind_of(chosen[i].composition));
  CHECK(first.size() == 4);
}

TEST_CASE("the sample depends on the seed and on the set of iterations, not on their order",
          "[composition_choice]") {
  std::vector<Composition> log = example_log();
  const auto before = chosen_from(log, 40);
  std::mt19937_64 draws(7);
  std::shuffle(log.begin(), log.end(), draws);
  log.insert(log.end(), log.begin(), log.begin() + 500);  // some once more
  const auto after = chosen_from(log, 40);
  REQUIRE(before.size() == after.size());
  for (std::size_t i = 0; i < before.size(); ++i) {
    CHECK(before[i].composition == after[i].composition);
    CHECK(before[i].stratum == after[i].stratum);
  }
  const auto other = chosen_from(log, 40, 2);
  const bool same =
      std::equal(before.begin(), before.end(), other.begin(),
                 [](const auto& a, const auto& b) { return a.composition == b.composition; });
  CHECK_FALSE(same);
}

TEST_CASE("nearly full KV means nearly as much as the log ever holds", "[composition_choice]") {
  std::vector<Composition> log;
  for (std::int64_t context = 1000; context <= 100'000; context += 500)
    log.push_back(decodes(8, context));
  int full = 0;
  for (const ChosenComposition& one : chosen_from(log, 20)) {
    if (one.stratum != "nearly full KV") continue;
    ++full;
    CHECK(static_cast<double>(one.composition.kv_tokens()) > 0.88 * 8 * 100'001);
  }
  CHECK(full >= 5);
}

TEST_CASE("a log with fewer iterations than asked for is taken whole", "[composition_choice]") {
  const auto chosen = chosen_from({decodes(1, 5), decodes(1, 5), decodes(2, 5)}, 40);
  CHECK(chosen.size() == 2);
  CHECK(chosen_from({}, 40).empty());
  CHECK(CompositionChoice(40, 1).adversarial(16).empty());
}

TEST_CASE("built compositions stand at the edges of what the log reaches", "[composition_choice]") {
  CompositionChoice choice(40, 1);
  for (const Composition& one : example_log()) choice.add(one);
  const auto built = choice.adversarial(16);
  REQUIRE(built.size() == 10);
  std::int64_t longest = 0;
  std::size_t widest = 0;
  for (const ChosenComposition& one : built) {
    CAPTURE(one.stratum);
    CHECK(one.stratum.find("built: ") == 0);
    CHECK(one.composition.fresh.size() == one.composition.cached.size());
    for (const std::int64_t fresh : one.composition.fresh) CHECK(fresh >= 1);
    for (const std::int64_t cached : one.composition.cached) CHECK(cached >= 0);
    longest = std::max(longest, one.composition.longest());
    widest = std::max(widest, one.composition.sequences());
  }
  CHECK(longest == 8001);
  CHECK(widest == 100);
  CHECK(built[0].composition == Composition{{1}, {8000}});
  CHECK(kind_of(built[1].composition) == CompositionKind::ragged_decode);
  CHECK((built[3].composition.cached[0] + 1) % 16 == 0);
  CHECK(built[4].composition.cached[0] % 16 == 0);
  // of the smallest log, too
  CompositionChoice least(40, 1);
  least.add({{1}, {0}});
  for (const ChosenComposition& one : least.adversarial(16)) {
    CAPTURE(one.stratum);
    CHECK(one.composition.sequences() >= 1);
    for (const std::int64_t fresh : one.composition.fresh) CHECK(fresh >= 1);
  }
}
