#pragma once
// Energy of a pool's GPUs, from what its meter sums up anyway: nothing is counted while a
// simulation runs.

#include <optional>
#include <vector>

#include "hw_models/power.h"
#include "sim/metrics/fleet_usage.h"
#include "sim/metrics/meter.h"
#include "sim/metrics/summary.h"

namespace fleetsim {

/// Joules of a pool's GPUs over the window, idle replicas included; hosts, switches and cooling are
/// not. Absent where FLOPs, bytes or the GPU's power are unknown. The limit is applied to the mean
/// of the busy time.
std::optional<double> joules_of(const std::optional<PowerLaw>& power, const FleetUsage& usage);

/// Absent where a pool's energy is unknown, or when no time passed.
std::optional<EnergySection> energy_section(const std::optional<double>& joules,
                                            const FleetUsage& usage,
                                            const ThroughputSection& throughput);

/// Watts of all GPUs of a pool in each interval of its time series. FLOPs of the window are shared
/// out by the tokens of an interval, weights read by its iterations, KV read by its iterations
/// times the blocks they hold. Where the window is made of whole intervals they add up to
/// joules_of(), the limit apart. Empty where the energy is unknown.
std::vector<double> interval_watts(const std::optional<PowerLaw>& power, const FleetUsage& usage,
                                   const std::vector<MeterInterval>& intervals,
                                   const MeterWindow& window, SimTime end);

}  // namespace fleetsim
