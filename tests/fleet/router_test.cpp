// Each routing policy by hand on a small view, and the counts behind them against a plain scan.

#include "sim/fleet/router.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "sim/core/random.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

struct Group {
  explicit Group(std::int32_t replicas)
      : counts(replicas), kv(static_cast<std::size_t>(replicas)) {}
  OutstandingCounts counts;
  std::vector<double> kv;
  RouterView view() {
    return {counts, [this](std::int32_t replica) { return kv[static_cast<std::size_t>(replica)]; }};
  }
};

std::unique_ptr<RoutingPolicy> make(const std::string& name, std::int32_t replicas,
                                    std::uint64_t seed = 1, double load_bound = 1.25) {
  const RouterRow* row = find_router(name);
  REQUIRE(row != nullptr);
  return row->make({replicas, seed, load_bound});
}

Request request_of(RequestId id, std::uint64_t session = 0, StreamId stream = 0) {
  Request request;
  request.id = id;
  request.session = session;
  request.prompt_tokens = 10;
  request.prompt = {{stream == 0 ? 1000000 + id : stream, 0, 10}};
  return request;
}

std::vector<std::int32_t> picks(RoutingPolicy& policy, Group& group, int count) {
  std::vector<std::int32_t> picked;
  for (int i = 0; i < count; ++i) {
    picked.push_back(policy.pick(request_of(static_cast<RequestId>(i)), group.view()));
  }
  return picked;
}

}  // namespace

TEST_CASE("round-robin takes each replica in turn, whatever the load", "[router]") {
  Group group(3);
  group.counts.add(1, 100);
  CHECK(picks(*make("round-robin", 3), group, 7) == std::vector<std::int32_t>{0, 1, 2, 0, 1, 2, 0});
}

TEST_CASE("random takes all replicas equally often and depends on seed and request only",
          "[router]") {
  Group group(4);
  const auto once = picks(*make("random", 4, 7), group, 8000);
  group.counts.add(2, 50);
  CHECK(once == picks(*make("random", 4, 7), group, 8000));
  CHECK(once != picks(*make("random", 4, 8), group, 8000));
  for (std::int32_t replica = 0; replica < 4; ++replica) {
    const auto hits = static_cast<double>(std::count(once.begin(), once.end(), replica));
    CHECK(std::fabs(hits - 2000) < 4 * std::sqrt(8000 * 0.25 * 0.75));
  }
}

TEST_CASE("least-outstanding takes the fewest, ties going round", "[router]") {
  Group group(4);
  auto policy = make("least-outstanding", 4);
  std::vector<std::int32_t> picked;
  for (int i = 0; i < 6; ++i) {
    picked.push_back(policy->pick(request_of(0), group.view()));
    group.counts.add(picked.back(), 1);
  }
  CHECK(picked == std::vector<std::int32_t>{0, 1, 2, 3, 0, 1});
  group.counts.add(3, -1);  // 2 2 1 0
  CHECK(policy->pick(request_of(0), group.view()) == 3);
  group.counts.add(3, 1);  // 2 2 1 1: from 0 on, 2 comes first
  CHECK(policy->pick(request_of(0), group.view()) == 2);
  group.counts.add(0, -2);  // 0 2 1 1
  CHECK(policy->pick(request_of(0), group.view()) == 0);
}

TEST_CASE("least-outstanding spreads over idle replicas instead of filling the first", "[router]") {
  Group group(3);
  auto policy = make("least-outstanding", 3);
  CHECK(picks(*policy, group, 5) == std::vector<std::int32_t>{0, 1, 2, 0, 1});
}

TEST_CASE("power-of-two-choices looks at two distinct replicas and takes the less loaded",
          "[router]") {
  // One idle replica among loaded ones is taken whenever it is among the two: 2 of 4 drawn, so
  // half.
  Group group(4);
  for (const std::int32_t replica : {0, 1, 3}) group.counts.add(replica, 5);
  const auto picked = picks(*make("power-of-two-choices", 4), group, 4000);
  const auto idle = static_cast<double>(std::count(picked.begin(), picked.end(), 2));
  CHECK(std::fabs(idle - 2000) < 4 * std::sqrt(4000 * 0.25));
  // The most loaded of distinct loads is never taken: it would have to be drawn twice.
  Group graded(3);
  for (std::int32_t replica = 0; replica < 3; ++replica) graded.counts.add(replica, replica);
  const auto of_graded = picks(*make("power-of-two-choices", 3), graded, 3000);
  CHECK(std::count(of_graded.begin(), of_graded.end(), 2) == 0);
  CHECK(std::count(of_graded.begin(), of_graded.end(), 1) > 0);
  Group one(1);
  CHECK(picks(*make("power-of-two-choices", 1), one, 3) == std::vector<std::int32_t>{0, 0, 0});
}

TEST_CASE("least-kv takes the smallest share of blocks in use, ties going round", "[router]") {
  Group group(3);
  group.kv = {0.5, 0.2, 0.9};
  auto policy = make("least-kv", 3);
  CHECK(picks(*policy, group, 2) == std::vector<std::int32_t>{1, 1});
  group.kv = {0.2, 0.2, 0.2};
  CHECK(picks(*policy, group, 4) == std::vector<std::int32_t>{2, 0, 1, 2});
}

TEST_CASE("prefix-affinity keeps a conversation on one replica, and a prefix without one",
          "[router]") {
  Group group(8);
  auto policy = make("prefix-affinity", 8);
  std::set<std::int32_t> homes;
  for (std::uint64_t session = 1; session <= 200; ++session) {
    const std::int32_t home = policy->pick(request_of(0, session), group.view());
    homes.insert(home);
    for (RequestId turn = 1; turn < 4; ++turn) {
      CHECK(policy->pick(request_of(turn, session), group.view()) == home);
    }
  }
  CHECK(homes.size() == 8);
  const std::int32_t home = policy->pick(request_of(1, 0, 42), group.view());
  for (RequestId id = 2; id < 20; ++id) {
    CHECK(policy->pick(request_of(id, 0, 42), group.view()) == home);
  }
}

TEST_CASE("prefix-affinity moves few conversations when a replica is added", "[router]") {
  Group ten(10), eleven(11);
  auto before = make("prefix-affinity", 10), after = make("prefix-affinity", 11);
  int moved = 0, moved_elsewhere = 0;
  const int sessions = 2000;
  for (int session = 1; session <= sessions; ++session) {
    const Request request = request_of(0, static_cast<std::uint64_t>(session));
    const std::int32_t from = before->pick(request, ten.view()),
                       to = after->pick(request, eleven.view());
    moved += from != to ? 1 : 0;
    moved_elsewhere += from != to && to != 10 ? 1 : 0;
  }
  CHECK(moved_elsewhere == 0);  // only to the new replica
  // 1/11 of the keys, up to the spread of the new replica's arcs (64 points: about 1/8 of the
  // mean).
  CHECK(moved > sessions / 11 * 5 / 8);
  CHECK(moved < sessions / 11 * 11 / 8);
}

TEST_CASE("prefix-affinity passes on what would lift a replica above load_bound times the mean",
          "[router]") {
  // All requests share one prefix: without the bound all would go to one replica.
  for (const double bound : {1.0, 1.25, 2.0}) {
    Group group(4);
    auto policy = make("prefix-affinity", 4, 1, bound);
    for (RequestId id = 0; id < 400; ++id) {
      const std::int32_t picked = policy->pick(request_of(id, 0, 42), group.view());
      group.counts.add(picked, 1);
      const double mean = static_cast<double>(group.counts.total()) / 4;
      CHECK(group.counts[picked] <= std::ceil(bound * mean));
    }
    std::int32_t most = 0;
    for (std::int32_t replica = 0; replica < 4; ++replica)
      most = std::max(most, group.counts[replica]);
    CHECK(most == static_cast<std::int32_t>(bound * 100));
  }
}

TEST_CASE("outstanding counts find the least loaded replica as a plain scan does", "[router]") {
  const RandomStream dice(3, "outstanding counts", 0);
  std::uint64_t draw = 0;
  for (const std::int32_t replicas : {1, 2, 3, 7, 8, 33, 300}) {
    OutstandingCounts counts(replicas);
    std::vector<std::int32_t> plain(static_cast<std::size_t>(replicas), 0);
    std::int64_t total = 0;
    for (int step = 0; step < 2000; ++step) {
      const auto replica =
          static_cast<std::int32_t>(dice.index(static_cast<std::uint64_t>(replicas), draw++));
      std::int32_t& own = plain[static_cast<std::size_t>(replica)];
      const auto change = own > 0 && dice.uniform(draw++) < 0.5
                              ? -1
                              : static_cast<std::int32_t>(1 + dice.index(3, draw++));
      own += change;
      total += change;
      counts.add(replica, change);
      const auto start =
          static_cast<std::int32_t>(dice.index(static_cast<std::uint64_t>(replicas), draw++));
      std::int32_t best = start;
      for (std::int32_t i = 1; i < replicas; ++i) {
        const std::int32_t other = (start + i) % replicas;
        if (plain[static_cast<std::size_t>(other)] < plain[static_cast<std::size_t>(best)])
          best = other;
      }
      if (counts.least(start) != best || counts.total() != total || counts[replica] != own) {
        FAIL("replicas " << replicas << ", step " << step << ": " << counts.least(start)
                         << " instead of " << best);
      }
    }
  }
}

TEST_CASE("every router has a name of its own and a description, and is found by it", "[router]") {
  std::set<std::string> names;
  for (const RouterRow& row : router_table()) {
    CHECK(names.insert(row.name).second);
    CHECK(row.description.size() > 10);
    CHECK(find_router(row.name) == &row);
  }
  CHECK(names == std::set<std::string>{"round-robin", "random", "least-outstanding",
                                       "power-of-two-choices", "least-kv", "prefix-affinity"});
  CHECK(find_router("fastest") == nullptr);
  CHECK(router_names().size() == names.size());
}
