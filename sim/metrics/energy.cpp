// Watts are rates of FLOPs and bytes (hw_models/power.h); here those of a window and of intervals
// are found from sums.

#include "sim/metrics/energy.h"

#include <algorithm>
#include <limits>

namespace fleetsim {
namespace {

/// What an interval does, in units that only mean something against the same sum over the window.
struct IntervalWork {
  double tokens = 0, iterations = 0, kv_reads = 0;
};

IntervalWork work_of(const MeterInterval& interval) {
  IntervalWork work;
  work.tokens = static_cast<double>(interval.prompt_tokens + interval.output_tokens);
  work.iterations = static_cast<double>(interval.iterations);
  if (interval.busy > 0) {
    work.kv_reads = work.iterations * static_cast<double>(interval.kv_block_nanoseconds) /
                    static_cast<double>(interval.busy);
  }
  return work;
}

double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

}  // namespace

std::optional<double> joules_of(const std::optional<PowerLaw>& power, const FleetUsage& usage) {
  if (!power || !usage.flops || !usage.bytes) return std::nullopt;
  if (usage.gpu_seconds <= 0) return 0;
  const double busy = usage.busy_gpu_seconds / usage.gpu_seconds;
  return usage.gpu_seconds *
         power->watts({*usage.flops / usage.gpu_seconds}, {*usage.bytes / usage.gpu_seconds}, busy);
}

std::optional<EnergySection> energy_section(const std::optional<double>& joules,
                                            const FleetUsage& usage,
                                            const ThroughputSection& throughput) {
  if (!joules || usage.gpu_seconds <= 0 || usage.gpus == 0) return std::nullopt;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EnergySection section;
  section.joules = *joules;
  section.watts_per_gpu = *joules / usage.gpu_seconds;
  const double watts = section.watts_per_gpu * static_cast<double>(usage.gpus);
  const auto per = [&](double rate) { return rate > 0 ? watts / rate : kInfinity; };
  section.joules_per_output_token = per(throughput.output_tokens_per_s);
  section.joules_per_request = per(throughput.requests_per_s);
  return section;
}

std::vector<double> interval_watts(const std::optional<PowerLaw>& power, const FleetUsage& usage,
                                   const std::vector<MeterInterval>& intervals,
                                   const MeterWindow& window, SimTime end) {
  if (!power || !usage.flops || !usage.bytes) return {};
  IntervalWork whole;
  for (std::size_t i = 0; i < intervals.size(); ++i) {
    if (!window.contains(static_cast<SimTime>(i) * window.interval)) continue;
    const IntervalWork work = work_of(intervals[i]);
    whole.tokens += work.tokens;
    whole.iterations += work.iterations;
    whole.kv_reads += work.kv_reads;
  }
  const auto gpus = static_cast<double>(usage.gpus);
  const double gpus_per_replica = share(gpus, static_cast<double>(usage.replicas));
  std::vector<double> watts;
  for (std::size_t i = 0; i < intervals.size(); ++i) {
    const SimTime start = static_cast<SimTime>(i) * window.interval;
    const double gpu_seconds = to_seconds(std::min(window.interval, end - start)).value * gpus;
    const IntervalWork work = work_of(intervals[i]);
    const double flops = *usage.flops * share(work.tokens, whole.tokens);
    const double bytes =
        (*usage.bytes - usage.kv_bytes) * share(work.iterations, whole.iterations) +
        usage.kv_bytes * share(work.kv_reads, whole.kv_reads);
    const double busy = to_seconds(intervals[i].busy).value * gpus_per_replica / gpu_seconds;
    watts.push_back(
        gpus * power->watts({flops / gpu_seconds}, {bytes / gpu_seconds}, std::min(1.0, busy)));
  }
  return watts;
}

}  // namespace fleetsim
