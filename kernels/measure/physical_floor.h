#pragma once
// The ceilings that a run measured, and the time that no sound measurement of a point lies under.

#include <vector>

#include "kernels/measure/measured_row.h"

namespace fleetsim::kernels {

/// The best of the `ceiling` rows; 0 where none was measured. Units in the names: GB = 10^9 bytes.
struct Ceilings {
  double hbm_read_gb_s = 0, hbm_write_gb_s = 0;
  double hbm_copy_gb_s = 0;  // bytes read plus bytes written
  double bf16_tflop_s = 0, fp8_tflop_s = 0;
  double h2d_gb_s = 0, d2h_gb_s = 0;
  double both_ways_gb_s = 0;  // sum of the two directions
  double launch_us = 0, graph_launch_us = 0, node_us = 0;

  bool operator==(const Ceilings&) const = default;
};

/// The ceilings' names in a manifest, in its order.
struct CeilingFigure {
  const char* name;
  double Ceilings::*value;
};
const std::vector<CeilingFigure>& ceiling_figures();

/// Takes a row into account when it is one of `ceiling`.
void add_ceiling(Ceilings& ceilings, const MeasuredRow& row);

/// How much faster than the measured ceiling a row may be before it is called a counting error.
/// Copies differ by a few percent between patterns. Large GEMMs are limited by power: the shape
/// that runs best is not the one that the ceiling was measured at (kernels-and-cost-models §2.1:
/// 8192^3 at 769-798 TFLOP/s where the best shapes reach 940).
inline constexpr double kBytesTolerance = 0.10, kFlopsTolerance = 0.25;

/// The least time of a row: the longest of its FLOPs, its bytes (when they come from memory: cold)
/// and its link bytes, each at the measured ceiling made faster by its tolerance. Units: ns. 0
/// where no ceiling applies.
double floor_ns(const Point& point, L2State l2, const Ceilings& ceilings);

}  // namespace fleetsim::kernels
