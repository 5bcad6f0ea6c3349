#pragma once
// What one run of a point must do at least: FLOPs, bytes to and from device memory, bytes over a
// link. The formulas of kernels-and-cost-models §3.

#include "kernels/measure/point.h"

namespace fleetsim::kernels {

/// What a run's floating-point work is done in; elementwise arithmetic counts as plain.
enum class MathRate { plain, bf16, fp8 };
enum class Link { none, host_to_device, device_to_host, both_ways, peers };

struct Work {
  double flops = 0;
  double bytes = 0;  // device memory, each byte that must move once
  MathRate rate = MathRate::plain;
  double link_bytes = 0;
  Link link = Link::none;
};

/// Valid: every point. Of `launch` and `graph` ceilings: no work. Sampling: one pass over the
/// logits.
Work work_of(const Point& point);

}  // namespace fleetsim::kernels
