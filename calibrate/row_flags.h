#pragma once
// Which measured rows a fit must not trust, found from the rows themselves and the GPU's datasheet.

#include <string>
#include <vector>

#include "calibrate/measured_table.h"
#include "hw_models/gpu_spec.h"

namespace fleetsim {

/// Flags the rows that have none yet; the first reason that holds, in this order:
///  - repeated: the same shape by the same kernel again; the first such row gets the median time;
///  - under_floor: FLOPs or bytes faster than the datasheet allows, beyond what the L2 cache can
///    explain; experts with skewed routing are held to their FLOPs alone, since how many experts
///    they read is not known;
///  - warm_l2: bytes faster than the memory, of operands under 1.5 times the L2 cache (§2.4);
///  - not_modelled: other rows of an experts' site that has rows under the floor (the router did
///    not spread tokens as the table says, or the experts have other matrices than the shape); and
///    element-wise kernels that even at their best stay under a third of the memory's bandwidth
///    (several kernels, or not bound by what they stream);
///  - launch_bound: GEMMs, element-wise kernels and collectives of an implementation whose fastest
///    call takes many times the smallest node of a CUDA graph with nothing in its work to explain
///    it; all rows up to kLaunchReach times that fastest call.
void flag_rows(std::vector<MeasuredOperator>& rows, const GpuSpec& gpu);

/// The least time of a call by the datasheet: its FLOPs and its bytes each alone. Seconds; 0 where
/// the datasheet has no figure. A collective's bytes cross the link once (multicast sums them in
/// the switch).
struct DatasheetFloor {
  double compute = 0, memory = 0;
  double bytes = 0;  // of `memory`
};
DatasheetFloor datasheet_floor(const OperatorShape& shape, const GpuSpec& gpu);

}  // namespace fleetsim
