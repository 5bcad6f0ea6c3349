#pragma once
// What the numbers in records stand for: names of pools, classes and requests.

#include <string>
#include <vector>

#include "sim/fleet/deployment.h"
#include "sim/metrics/records.h"
#include "sim/scenario/scenario.h"

namespace fleetsim {

struct RecordNames {
  std::vector<std::string> pools, classes;
  std::vector<std::string>
      requests;                     // by RequestId; past its end a request is called by its number
  std::vector<std::string> models;  // by pool
  std::vector<std::int64_t> kv_blocks;  // by pool: blocks of one replica that requests can own
};

/// `requests`: names of requests that the scenario writes out, in order of RequestId.
RecordNames record_names(const Scenario& scenario, const Deployment& deployment,
                         std::vector<std::string> requests);

}  // namespace fleetsim
