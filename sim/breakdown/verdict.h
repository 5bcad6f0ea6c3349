#pragma once
// What an operator waits for: computing, memory, the link between GPUs, the fixed cost of launches,
// or the host.

#include <optional>
#include <string>

#include "hw_models/gpu_spec.h"
#include "hw_models/model_spec.h"
#include "hw_models/precision.h"
#include "hw_models/step_time.h"

namespace fleetsim {

enum class Bound { compute, memory, network, latency, host };
inline constexpr int kBounds = 5;
/// "compute-bound", ...
const char* name_of(Bound bound);

/// The GPU that operators are judged against, and in what formats they run on it.
struct Roofs {
  const GpuSpec* gpu = nullptr;
  const ModelSpec* model = nullptr;
  Precision precision;
  std::int64_t tp = 1;
};

/// The format that an operator's FLOPs run in: of quantised matrices their own where the tensor
/// cores have it, 16 bits for the head, the router and attention; nullopt where nothing is
/// multiplied (elementwise operators, collectives, host).
std::optional<NumberFormat> math_of(const OperatorCost& cost, const Roofs& roofs);

/// Bytes a second of the link that collectives of this GPU go over: NVLink's datasheet rate a
/// direction, else PCIe's.
BytesPerSecond link_of(const GpuSpec& gpu);

/// Time that the launches of an operator take however little they do; of collectives all that their
/// bytes do not need at the link's datasheet rate.
Seconds fixed_time(const OperatorCost& cost, const Roofs& roofs);

/// An operator of an iteration with what it achieves. Rates are 0 where nothing was done or no time
/// passed.
struct OperatorShare {
  OperatorCost cost;
  double share = 0;  // of the iteration's time
  std::optional<NumberFormat> math;
  double flops_per_second = 0, bytes_per_second = 0, wire_bytes_per_second = 0;
  double mfu = 0;                   // of the dense peak of `math`
  double mbu = 0;                   // of the datasheet's memory bandwidth
  double link_use = 0;              // of link_of()
  std::optional<double> intensity;  // FLOPs per byte of HBM; absent where either is 0
  Bound bound = Bound::latency;
};

/// Latency-bound: the fixed cost of launches is half of the time or more. Else the longest of the
/// times that FLOPs, bytes and wire bytes would take at datasheet rates decides, so that the
/// verdict agrees with the side of the ridge on which the operator stands in a roofline plot.
OperatorShare judge(const OperatorCost& cost, Seconds iteration, const Roofs& roofs);

}  // namespace fleetsim
