#pragma once
// Which replica gets a request: routing policies, one row each in one table.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sim/fleet/outstanding.h"
#include "sim/workload/request.h"

namespace fleetsim {

/// What a router may look at, exact at the time of the arrival. Replicas are numbered within the
/// group of replicas that serve the request's model.
struct RouterView {
  const OutstandingCounts& outstanding;
  /// Owned share of a replica's KV blocks, 0 to 1.
  std::function<double(std::int32_t replica)> kv_use;
};

/// Settings of a routing policy.
struct RouterConfig {
  std::int32_t replicas = 1;
  std::uint64_t seed = 1;
  double load_bound = 1.25;  // prefix-affinity
};

class RoutingPolicy {
 public:
  virtual ~RoutingPolicy() = default;
  virtual std::int32_t pick(const Request& request, const RouterView& view) = 0;
};

struct RouterRow {
  std::string name, description;
  std::unique_ptr<RoutingPolicy> (*make)(const RouterConfig&);
};

/// All routing policies. To add one: write it in router.cpp and add its row.
const std::vector<RouterRow>& router_table();
const RouterRow* find_router(const std::string& name);
std::vector<std::string> router_names();

}  // namespace fleetsim
