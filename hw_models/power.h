#pragma once
// Electric power of one GPU by what it does. Between idle and its limit, power grows with the
// arithmetic done and with the bytes moved (the energy roofline: constant power, joules per FLOP,
// joules per byte); the three figures behind it stand, with their sources, in gpus/*.yaml.

#include <optional>

#include "hw_models/gpu_spec.h"
#include "hw_models/precision.h"
#include "hw_models/units.h"

namespace fleetsim {

/// Watts and joules of one GPU. Valid: rates from 0 to the GPU's peaks. What a GPU draws while it
/// neither computes nor reads memory (launch gaps, collectives) counts as idle.
struct PowerLaw {
  double idle_watts = 0;
  double limit_watts = 0;  // no load draws more: the compute-bound figure
  double joules_per_flop = 0, joules_per_byte = 0;

  /// Mean power of a span in which the GPU is busy for `busy_share` of the time and computes and
  /// moves so much per second of the whole span. Above idle only busy time draws, at most up to the
  /// limit.
  double watts(FlopsPerSecond flops, BytesPerSecond bytes, double busy_share) const;
};

/// At the rates that the GPU reaches: memory-bound power at `attention_bandwidth_share` of its
/// bandwidth, compute-bound power at `gemm_efficiency` of its peak in the format of the GEMMs, so
/// that half the bits cost half the joules (H200, vLLM: 662 W in fp8 and in bf16). Absent without
/// figures of power.
std::optional<PowerLaw> power_law(const GpuSpec& gpu, const Precision& precision);

}  // namespace fleetsim
