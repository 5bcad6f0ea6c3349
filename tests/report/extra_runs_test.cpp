// The search for headroom against fleets whose breaking load is known, and the interval by hand.

#include "sim/report/extra_runs.h"

#include <map>
#include <set>
#include <stdexcept>

#include "tests/catch.h"

using namespace fleetsim;

namespace {

RunDigest verdict(std::int64_t load, bool met) {
  RunDigest digest;
  digest.load_percent = load;
  digest.met = met;
  return digest;
}

/// Searches a fleet that meets its objective up to and including `holds_to` percent of change.
Headroom search(std::int64_t holds_to, std::int64_t step,
                std::set<std::int64_t>* probed = nullptr) {
  return search_headroom(holds_to >= 0, step, [&](const std::vector<std::int64_t>& loads) {
    std::vector<std::optional<RunDigest>> results;
    for (const std::int64_t load : loads) {
      if (probed) probed->insert(load);
      results.push_back(verdict(load, load <= holds_to));
    }
    return results;
  });
}

}  // namespace

TEST_CASE("the search finds every breaking load to one percent with few runs") {
  for (std::int64_t holds_to = -89; holds_to < 300; ++holds_to) {
    INFO(holds_to);
    const Headroom headroom = search(holds_to, 1);
    REQUIRE(headroom.turns_at_percent.has_value());
    // met as written: the first load missed; missed as written: the last load met
    CHECK(*headroom.turns_at_percent == (holds_to >= 0 ? holds_to + 1 : holds_to));
    CHECK(headroom.probes.size() <= 20);
  }
}

TEST_CASE("with steps of two percent the answer is within two percent of the truth") {
  for (std::int64_t holds_to = 0; holds_to < 300; ++holds_to) {
    INFO(holds_to);
    const auto turn = search(holds_to, 2).turns_at_percent;
    REQUIRE(turn.has_value());
    CHECK(*turn > holds_to);
    CHECK(*turn <= holds_to + 2);
  }
}

TEST_CASE("a fleet that never breaks, or never holds, has no answer but says how far was looked") {
  CHECK_FALSE(search(1'000, 1).turns_at_percent.has_value());
  CHECK(search(1'000, 1).probed_to_percent == 300);
  CHECK_FALSE(search(-100, 1).turns_at_percent.has_value());
  CHECK(search(-100, 1).probed_to_percent == -90);
}

TEST_CASE("a stopped search has no answer") {
  const Headroom headroom = search_headroom(true, 1, [](const std::vector<std::int64_t>& loads) {
    std::vector<std::optional<RunDigest>> results(loads.size());
    results[0] = verdict(loads[0], false);
    return results;
  });
  CHECK_FALSE(headroom.complete);
  CHECK_FALSE(headroom.turns_at_percent.has_value());
}

TEST_CASE("where the verdict is not monotone the first turn from the load as written counts") {
  const std::map<std::int64_t, bool> met = {
      {2, true}, {5, false}, {10, true}, {3, true}, {4, false}};
  const Headroom headroom = search_headroom(true, 1, [&](const std::vector<std::int64_t>& loads) {
    std::vector<std::optional<RunDigest>> results;
    for (const std::int64_t load : loads) results.push_back(verdict(load, met.at(load)));
    return results;
  });
  CHECK(headroom.turns_at_percent == 4);
}

TEST_CASE("runs come back in the order asked for whatever the number of threads") {
  std::vector<RunRequest> requests;
  for (std::int64_t i = 0; i < 40; ++i) requests.push_back({static_cast<std::uint64_t>(i), i});
  for (const std::int64_t jobs : {1, 3, 16}) {
    const auto results =
        make_runs(requests, jobs, [](const RunRequest& request) -> std::optional<RunDigest> {
          if (request.load_percent == 5) return std::nullopt;
          RunDigest digest;
          digest.seed = request.seed;
          return digest;
        });
    REQUIRE(results.size() == requests.size());
    for (std::size_t i = 0; i < results.size(); ++i)
      CHECK((i == 5 ? !results[i] : results[i]->seed == i));
  }
}

TEST_CASE("the first failing run's error is the one reported") {
  const auto failing = [](const RunRequest& request) -> std::optional<RunDigest> {
    if (request.seed >= 2) throw std::runtime_error("seed " + std::to_string(request.seed));
    return RunDigest{};
  };
  CHECK_THROWS_WITH(make_runs({{1, 0}, {2, 0}, {3, 0}, {4, 0}}, 4, failing), "seed 2");
}

TEST_CASE("the 95 % interval of a mean is Student's") {
  // 1, 2, 3, 4, 5: standard deviation sqrt(2.5), 4 degrees of freedom: 2.776 * sqrt(2.5 / 5)
  const MeanInterval interval = mean_interval({1, 2, 3, 4, 5});
  CHECK(interval.mean == Approx(3));
  CHECK(interval.half_width == Approx(1.96293).epsilon(1e-4));
  CHECK(mean_interval({7}).half_width == 0);
}
