// Routing policies. Each is a small callable over a read-only view; random ones draw from their own
// stream keyed by the request, so that a policy never shifts anybody else's draws.

#include "sim/fleet/router.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "hw_models/check.h"
#include "sim/core/random.h"

namespace fleetsim {

namespace {

class RoundRobin : public RoutingPolicy {
 public:
  explicit RoundRobin(const RouterConfig& config) : replicas_(config.replicas) {}
  std::int32_t pick(const Request&, const RouterView&) override {
    const std::int32_t picked = next_;
    next_ = (next_ + 1) % replicas_;
    return picked;
  }

 private:
  std::int32_t replicas_, next_ = 0;
};

std::int32_t uniform_replica(std::uint64_t seed, RequestId id, std::uint64_t draw,
                             std::int32_t replicas) {
  const RandomStream stream(seed, "routing", id);
  return static_cast<std::int32_t>(stream.index(static_cast<std::uint64_t>(replicas), draw));
}

class Random : public RoutingPolicy {
 public:
  explicit Random(const RouterConfig& config) : config_(config) {}
  std::int32_t pick(const Request& request, const RouterView&) override {
    return uniform_replica(config_.seed, request.id, 0, config_.replicas);
  }

 private:
  RouterConfig config_;
};

// Ties go round, so that idle replicas share the first requests.
class LeastOutstanding : public RoutingPolicy {
 public:
  explicit LeastOutstanding(const RouterConfig& config) : replicas_(config.replicas) {}
  std::int32_t pick(const Request&, const RouterView& view) override {
    const std::int32_t picked = view.outstanding.least(next_);
    next_ = (picked + 1) % replicas_;
    return picked;
  }

 private:
  std::int32_t replicas_, next_ = 0;
};

// Mitzenmacher 2001: two distinct replicas at random, the less loaded one (the first drawn on a
// tie).
class PowerOfTwoChoices : public RoutingPolicy {
 public:
  explicit PowerOfTwoChoices(const RouterConfig& config) : config_(config) {}
  std::int32_t pick(const Request& request, const RouterView& view) override {
    const std::int32_t first = uniform_replica(config_.seed, request.id, 0, config_.replicas);
    if (config_.replicas == 1) return first;
    std::int32_t second = uniform_replica(config_.seed, request.id, 1, config_.replicas - 1);
    if (second >= first) ++second;
    return view.outstanding[second] < view.outstanding[first] ? second : first;
  }

 private:
  RouterConfig config_;
};

class LeastKv : public RoutingPolicy {
 public:
  explicit LeastKv(const RouterConfig& config) : replicas_(config.replicas) {}
  std::int32_t pick(const Request&, const RouterView& view) override {
    std::int32_t best = 0;
    double best_use = 2;
    for (std::int32_t i = 0; i < replicas_; ++i) {
      const std::int32_t replica = (next_ + i) % replicas_;
      const double use = view.kv_use(replica);
      if (use < best_use) {
        best = replica;
        best_use = use;
      }
    }
    next_ = (best + 1) % replicas_;
    return best;
  }

 private:
  std::int32_t replicas_, next_ = 0;
};

// Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, SODA 2018): a
// conversation, or else the first stretch of the prompt, has a home on a ring; a home whose load is
// above load_bound times the mean passes the request on along the ring.
class PrefixAffinity : public RoutingPolicy {
 public:
  explicit PrefixAffinity(const RouterConfig& config) : config_(config) {
    for (std::int32_t replica = 0; replica < config.replicas; ++replica) {
      for (std::uint64_t point = 0; point < kPointsPerReplica; ++point) {
        ring_.push_back({place(static_cast<std::uint64_t>(replica), point), replica});
      }
    }
    std::sort(ring_.begin(), ring_.end());
  }
  std::int32_t pick(const Request& request, const RouterView& view) override {
    const bool has_session = request.session != 0;
    const std::uint64_t key = has_session              ? request.session
                              : request.prompt.empty() ? request.id
                                                       : request.prompt.front().stream;
    const std::pair<std::uint64_t, std::int32_t> home{
        place(key, has_session ? kSessionKey : kPrefixKey), 0};
    const double mean =
        static_cast<double>(view.outstanding.total() + 1) / static_cast<double>(config_.replicas);
    const auto bound = static_cast<std::int32_t>(std::ceil(config_.load_bound * mean));
    auto point = std::lower_bound(ring_.begin(), ring_.end(), home);
    for (std::size_t tried = 0; tried < ring_.size(); ++tried, ++point) {
      if (point == ring_.end()) point = ring_.begin();
      if (view.outstanding[point->second] < bound) return point->second;
    }
    return view.outstanding.least(0);  // not reached: somebody is at or below the mean
  }

 private:
  static constexpr std::uint64_t kPointsPerReplica = 64;  // spreads arcs to about 1/8 of their mean
  static constexpr std::uint64_t kSessionKey = 1u << 20, kPrefixKey = (1u << 20) + 1;

  static std::uint64_t place(std::uint64_t key, std::uint64_t point) {
    return RandomStream(0, "affinity ring", key).bits(point);
  }

  RouterConfig config_;
  std::vector<std::pair<std::uint64_t, std::int32_t>> ring_;
};

template <class Policy>
std::unique_ptr<RoutingPolicy> make(const RouterConfig& config) {
  return std::make_unique<Policy>(config);
}

}  // namespace

const std::vector<RouterRow>& router_table() {
  static const std::vector<RouterRow> table = {
      {"round-robin", "each replica in turn", make<RoundRobin>},
      {"random", "a replica at random, all equally likely", make<Random>},
      {"least-outstanding", "the replica with the fewest unfinished requests, ties going round",
       make<LeastOutstanding>},
      {"power-of-two-choices", "two replicas at random, the one with fewer unfinished requests",
       make<PowerOfTwoChoices>},
      {"least-kv", "the replica with the smallest share of its KV blocks in use, ties going round",
       make<LeastKv>},
      {"prefix-affinity",
       "consistent hashing of the conversation or prompt prefix, load bounded by load_bound x mean",
       make<PrefixAffinity>},
  };
  return table;
}

const RouterRow* find_router(const std::string& name) {
  for (const RouterRow& row : router_table()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

std::vector<std::string> router_names() {
  std::vector<std::string> names;
  for (const RouterRow& row : router_table()) names.push_back(row.name);
  return names;
}

}  // namespace fleetsim
