#pragma once
// timeseries.csv: one row a pool and interval.

#include <string>
#include <vector>

#include "sim/metrics/summary.h"
#include "sim/report/record_names.h"

namespace fleetsim {

inline constexpr const char* kTimeseriesCsvHeader =
    "start_s,length_s,pool,arrivals,completed,queue_mean,running_mean,kv_blocks_used_mean_per_"
    "replica,"
    "kv_use_fraction,busy_fraction,prompt_tokens_per_s,output_tokens_per_s,iterations,replicas,"
    "power_w\n";

/// The whole file. Means are weighted by time; queue and running over the pool, KV blocks per
/// replica. power_w is of the pool's GPUs and
/// empty where it is unknown. kv_use_fraction is empty where KV is
/// unlimited.
std::string timeseries_csv(const std::vector<TimeseriesPoint>& points, const RecordNames& names);

}  // namespace fleetsim
