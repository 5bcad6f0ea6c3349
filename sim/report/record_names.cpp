#include "sim/report/record_names.h"

#include <algorithm>

namespace fleetsim {

RecordNames record_names(const Scenario& scenario, const Deployment& deployment,
                         std::vector<std::string> requests) {
  RecordNames names;
  for (const WorkloadClass& one : scenario.workload.classes) names.classes.push_back(one.name);
  if (names.classes.empty()) names.classes.push_back("default");
  for (const PoolDeployment& pool : deployment.pools) {
    names.pools.push_back(pool.name);
    names.models.push_back(pool.model.name);
    // the null block (engine-semantics §1.4) is nobody's
    names.kv_blocks.push_back(std::max<std::int64_t>(0, pool.rules.num_gpu_blocks - 1));
  }
  names.requests = std::move(requests);
  return names;
}

}  // namespace fleetsim
