// Sums over iterations become times and ratios here, once, at the end of a run: no price is looked
// up while the simulation runs except the total of each iteration.

#include "sim/metrics/fleet_usage.h"

#include <algorithm>
#include <array>
#include <string>

namespace fleetsim {
namespace {

/// A fixed or linear cost model knows nothing of FLOPs, bytes and operators.
bool priced_by_hardware(const PoolFacts& facts) {
  return facts.step_time != nullptr && facts.step_time->kind() != "fixed" &&
         facts.step_time->kind() != "linear";
}

/// Sum over the window's iterations of a quantity f(tokens, rows) = f(tokens, 0) + f(1, rows) -
/// f(1, 0).
template <typename F>
double sum_by_counts(const PoolMeter& meter, F&& f) {
  const auto& by_tokens = meter.iterations_by_tokens();
  const auto& by_rows = meter.iterations_by_rows();
  double sum = 0;
  for (std::size_t tokens = 1; tokens < by_tokens.size(); ++tokens) {
    if (by_tokens[tokens] == 0) continue;
    sum += static_cast<double>(by_tokens[tokens]) * f(static_cast<std::int64_t>(tokens), 0);
  }
  const double without_rows = f(1, 0);
  for (std::size_t rows = 1; rows < by_rows.size(); ++rows) {
    if (by_rows[rows] == 0) continue;
    sum +=
        static_cast<double>(by_rows[rows]) * (f(1, static_cast<std::int64_t>(rows)) - without_rows);
  }
  return sum;
}

/// Seconds of one replica by group over the iterations that start in the window; attention is the
/// rest.
std::array<double, kCostGroups> group_seconds(const StepTime& price, const PoolMeter& meter) {
  std::array<double, kCostGroups> seconds{};
  double rest = to_seconds(meter.totals().started).value;
  for (const CostGroup group : {CostGroup::gemm, CostGroup::communication, CostGroup::elementwise,
                                CostGroup::host_overhead}) {
    const double time = group == CostGroup::host_overhead
                            ? to_seconds(meter.totals().host_overhead).value
                            : sum_by_counts(meter, [&](std::int64_t tokens, std::int64_t rows) {
                                return price.group_time(group, tokens, rows).value;
                              });
    seconds[static_cast<std::size_t>(group)] = time;
    rest -= time;
  }
  // Below zero only by the rounding of iterations to 1 ns.
  seconds[static_cast<std::size_t>(CostGroup::attention)] = std::max(0.0, rest);
  return seconds;
}

/// Minimum HBM bytes of the window's iterations, all GPUs of the pool.
struct MinimumBytes {
  double all = 0;
  double kv = 0;  // read and written; the rest is weights
};
MinimumBytes minimum_bytes(const StepTime& price, const PoolMeter& meter) {
  if (meter.totals().iterations == 0) return {};
  const BatchShape& sums = meter.totals().shape;
  const auto at = [&](std::int64_t tokens, std::int64_t rows) {
    BatchShape shape;
    shape.tokens = tokens;
    shape.sampled_rows = rows;
    return price.minimum_bytes(shape);
  };
  const double one_token = at(1, 0);
  const double weights = sum_by_counts(meter, at);
  double bytes = weights;

  BatchShape decodes;
  decodes.tokens = 1;
  decodes.decode_requests = sums.decode_requests;
  decodes.decode_context = sums.decode_context;
  decodes.decode_window_context = sums.decode_window_context;
  bytes += price.minimum_bytes(decodes) - one_token;

  if (sums.prefill_requests == 0) return {bytes, bytes - weights};
  // One query is in each shape below; the others cost the same each. A window lets a chunk of q
  // queries see W - 1 + q keys: queries beyond the first stand as more chunks that see as many
  // keys.
  const std::int64_t more_queries = sums.tokens - sums.decode_requests - 1;
  BatchShape prefills;
  prefills.tokens = 1;
  prefills.prefill_requests = 1;
  const double one_query = price.minimum_bytes(prefills) - one_token;
  prefills.prefill_context = sums.prefill_context;
  prefills.prefill_requests = sums.prefill_requests;
  if (price.window() > 1) prefills.prefill_requests += more_queries / (price.window() - 1);
  bytes +=
      price.minimum_bytes(prefills) - one_token + static_cast<double>(more_queries) * one_query;
  return {bytes, bytes - weights};
}

template <typename T>
void add_known(std::optional<T>& sum, const std::optional<T>& part) {
  if (sum && part) {
    *sum += *part;
  } else {
    sum.reset();
  }
}

}  // namespace

void FleetUsage::add(const FleetUsage& other) {
  gpus += other.gpus;
  replicas += other.replicas;
  iterations += other.iterations;
  preemptions += other.preemptions;
  scheduled_requests += other.scheduled_requests;
  gpu_seconds += other.gpu_seconds;
  replica_seconds += other.replica_seconds;
  busy_gpu_seconds += other.busy_gpu_seconds;
  add_known(flops, other.flops);
  add_known(peak_flops, other.peak_flops);
  add_known(bytes, other.bytes);
  add_known(peak_bytes, other.peak_bytes);
  kv_bytes += other.kv_bytes;
  kv_block_seconds += other.kv_block_seconds;
  if (other.kv_blocks_peak > kv_blocks_peak || kv_blocks_total == 0) {
    kv_blocks_peak = other.kv_blocks_peak;
    kv_blocks_peak_replica = other.kv_blocks_peak_replica;
    kv_blocks_total = other.kv_blocks_total;
  }
  if (group_gpu_seconds && other.group_gpu_seconds) {
    for (std::size_t g = 0; g < group_gpu_seconds->size(); ++g) {
      (*group_gpu_seconds)[g] += (*other.group_gpu_seconds)[g];
    }
  } else {
    group_gpu_seconds.reset();
  }
}

FleetUsage usage_of(const PoolFacts& facts, const PoolMeter& meter, SimTime length) {
  const IterationTotals& totals = meter.totals();
  const auto gpus_per_replica = static_cast<double>(facts.gpus_per_replica);
  const double seconds = to_seconds(length).value;
  FleetUsage usage;
  usage.replicas = facts.replicas;
  usage.gpus = facts.replicas * facts.gpus_per_replica;
  usage.iterations = totals.iterations;
  usage.preemptions = totals.preemptions;
  usage.scheduled_requests = totals.shape.decode_requests + totals.shape.prefill_requests;
  usage.replica_seconds = static_cast<double>(facts.replicas) * seconds;
  usage.gpu_seconds = static_cast<double>(usage.gpus) * seconds;
  usage.busy_gpu_seconds = to_seconds(totals.busy).value * gpus_per_replica;
  usage.kv_block_seconds = static_cast<double>(totals.kv_block_nanoseconds) / 1e9;
  usage.kv_blocks_peak = meter.kv_peak().blocks;
  usage.kv_blocks_peak_replica = meter.kv_peak().replica;
  usage.kv_blocks_total = facts.kv_blocks_total;

  const bool priced = priced_by_hardware(facts);
  usage.flops.reset();
  usage.bytes.reset();
  usage.group_gpu_seconds.reset();
  if (priced && facts.peak.value > 0) {
    usage.flops = facts.step_time->useful_flops(totals.shape).value;
    usage.peak_flops = facts.peak.value * usage.gpu_seconds;
  }
  if (priced && facts.memory_bandwidth.value > 0) {
    const MinimumBytes bytes = minimum_bytes(*facts.step_time, meter);
    usage.bytes = bytes.all;
    usage.kv_bytes = bytes.kv;
    usage.peak_bytes = facts.memory_bandwidth.value * usage.gpu_seconds;
  }
  if (priced) {
    auto groups = group_seconds(*facts.step_time, meter);
    double all = 0;
    for (const double group : groups) all += group;
    for (double& group : groups) group *= all > 0 ? usage.busy_gpu_seconds / all : 0;
    usage.group_gpu_seconds = groups;
  }
  return usage;
}

FleetSection fleet_section(const FleetUsage& usage) {
  FleetSection section;
  section.gpus = usage.gpus;
  section.replicas = usage.replicas;
  section.iterations = usage.iterations;
  section.preemptions = usage.preemptions;
  section.gpu_hours = usage.gpu_seconds / 3600;
  if (usage.iterations > 0) {
    section.batch_mean =
        static_cast<double>(usage.scheduled_requests) / static_cast<double>(usage.iterations);
  }
  if (usage.gpu_seconds > 0) {
    section.busy = usage.busy_gpu_seconds / usage.gpu_seconds;
    section.kv_blocks_mean = usage.kv_block_seconds / usage.replica_seconds;
    if (usage.flops) section.mfu = *usage.flops / *usage.peak_flops;
    if (usage.bytes) section.mbu = *usage.bytes / *usage.peak_bytes;
  }
  section.kv_blocks_peak = usage.kv_blocks_peak;
  section.kv_blocks_peak_replica = usage.kv_blocks_peak_replica;
  section.kv_blocks_total = usage.kv_blocks_total;
  return section;
}

std::optional<TimeBreakdown> time_breakdown(const FleetUsage& usage) {
  if (!usage.group_gpu_seconds || usage.gpu_seconds <= 0) return std::nullopt;
  TimeBreakdown breakdown;
  for (std::size_t g = 0; g < breakdown.groups.size(); ++g) {
    breakdown.groups[g] = (*usage.group_gpu_seconds)[g] / usage.gpu_seconds;
  }
  breakdown.idle = 1 - usage.busy_gpu_seconds / usage.gpu_seconds;
  return breakdown;
}

}  // namespace fleetsim
