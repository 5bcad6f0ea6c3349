// Sums over iterations become times and ratios here, once, at the end of a run: no price is looked up
// while the simulation runs except the total of each iteration.

#include "sim/metrics/fleet_usage.h"

#include <algorithm>
#include <array>
#include <string>

namespace fleetsim {
namespace {

constexpr auto kAttention = static_cast<std::size_t>(CostGroup::attention);

/// A fixed or linear cost model knows nothing of FLOPs, bytes and operators.
bool priced_by_hardware(const PoolFacts& facts) {
  return facts.step_time != nullptr && facts.step_time->kind() != "fixed" &&
         facts.step_time->kind() != "linear";
}

/// The sum of all shapes: useful_flops and minimum_bytes are linear in it but for their constant.
BatchShape summed_shape(const IterationTotals& totals) {
  return {totals.tokens,          totals.sampled_rows,          totals.decode_requests,
          totals.decode_context,  totals.decode_window_context, totals.prefill_requests,
          totals.prefill_context, totals.prefill_pairs,         totals.prefill_window_pairs};
}

/// Sum of f over all iterations, for f(shape) = constant + linear(shape): the constant counts once an
/// iteration, and f(sum) holds it once.
template <typename Affine>
double sum_over_iterations(const IterationTotals& totals, Affine&& f) {
  if (totals.iterations == 0) return 0;
  const double constant = f(BatchShape{});
  return f(summed_shape(totals)) + static_cast<double>(totals.iterations - 1) * constant;
}

/// Seconds of one replica by group over the iterations that start in the window; attention is the rest.
std::array<double, kCostGroups> group_seconds(const StepTime& price, const PoolMeter& meter) {
  std::array<double, kCostGroups> seconds{};
  const auto& by_tokens = meter.iterations_by_tokens();
  const auto& by_rows = meter.iterations_by_rows();
  double rest = to_seconds(meter.totals().started).value;
  for (std::size_t g = 0; g < seconds.size(); ++g) {
    if (g == kAttention) continue;
    const auto group = static_cast<CostGroup>(g);
    for (std::size_t tokens = 1; tokens < by_tokens.size(); ++tokens) {
      if (by_tokens[tokens] == 0) continue;
      seconds[g] += static_cast<double>(by_tokens[tokens]) *
                    price.group_time(group, static_cast<std::int64_t>(tokens), 0).value;
    }
    const double without_rows = price.group_time(group, 1, 0).value;
    for (std::size_t rows = 1; rows < by_rows.size(); ++rows) {
      if (by_rows[rows] == 0) continue;
      seconds[g] += static_cast<double>(by_rows[rows]) *
                    (price.group_time(group, 1, static_cast<std::int64_t>(rows)).value - without_rows);
    }
    rest -= seconds[g];
  }
  seconds[kAttention] = std::max(0.0, rest);   // below zero only by the rounding of iterations to 1 ns
  return seconds;
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
  usage.scheduled_requests = totals.scheduled_requests;
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
    usage.flops = sum_over_iterations(
        totals, [&](const BatchShape& shape) { return facts.step_time->useful_flops(shape).value; });
    usage.peak_flops = facts.peak.value * usage.gpu_seconds;
  }
  if (priced && facts.memory_bandwidth.value > 0) {
    usage.bytes = sum_over_iterations(
        totals, [&](const BatchShape& shape) { return facts.step_time->minimum_bytes(shape); });
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
