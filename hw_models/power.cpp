// Three figures become a line through each corner: idle, all memory, all arithmetic.

#include "hw_models/power.h"

#include <algorithm>

#include "hw_models/check.h"
#include "hw_models/operators.h"

namespace fleetsim {

double PowerLaw::watts(FlopsPerSecond flops, BytesPerSecond bytes, double busy_share) const {
  const double load = joules_per_flop * flops.value + joules_per_byte * bytes.value;
  return idle_watts + std::min(load, (limit_watts - idle_watts) * busy_share);
}

std::optional<PowerLaw> power_law(const GpuSpec& gpu, const Precision& precision) {
  if (!gpu.power) return std::nullopt;
  const GpuPower& figures = *gpu.power;
  const NumberFormat format = math_format(precision.weights, precision.activations, gpu);
  const double flop_rate = gpu.gemm_efficiency_at(format) * gpu.dense_peak.at(format).value;
  const double byte_rate = gpu.attention_bandwidth_share * gpu.memory_bandwidth.value;
  CHECK(flop_rate > 0 && byte_rate > 0, gpu.name);
  PowerLaw law;
  law.idle_watts = figures.idle_watts;
  law.limit_watts = figures.compute_bound_watts;
  law.joules_per_flop = (figures.compute_bound_watts - figures.idle_watts) / flop_rate;
  law.joules_per_byte = (figures.memory_bound_watts - figures.idle_watts) / byte_rate;
  return law;
}

}  // namespace fleetsim
