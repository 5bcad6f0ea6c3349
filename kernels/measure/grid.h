#pragma once
// The benchmark grid: which points a run measures, most valuable first.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/measure/point.h"

namespace fleetsim::kernels {

enum class GridSize { quick, full };

/// The points of kernels-and-cost-models §4.6, iterations of built-in batches among them, in the
/// order in which they are measured: all ceilings; then the families side by side, so that a run
/// cut short has the same share of each family, the coarse points before the fine ones (grid.cpp).
/// `only_op`: that operator alone (behind the ceilings, without which rows cannot be judged);
/// empty: all. The same arguments give the same points. Errors: CHECK that the operator exists.
std::vector<Point> bench_grid(GridSize size, std::string_view only_op, std::uint64_t seed);

/// The same points in reverse, the ceilings still first: a second run in this order shows how far
/// results depend on what ran before (kernels-and-cost-models §4.8).
std::vector<Point> in_reverse(std::vector<Point> points);

/// Device time that a point will take with preparation, check and timing. Units: seconds. A plan
/// for the budget at round rates of a Hopper GPU, not a prediction.
double estimated_seconds(const Point& point);

/// A GEMM of a model: weight [n, k] of one tensor-parallel rank.
struct GemmSite {
  std::string model, matrix;  // "llama-3.1-70b", "gate-up projection"
  std::int64_t tp = 1, n = 0, k = 0;
};
/// Every distinct (n, k) of the models the grid is made for; of several matrices of one shape the
/// first.
std::vector<GemmSite> gemm_sites();

/// The routed experts of a model on one GPU, the busiest of experts / local_experts that share
/// them.
struct ExpertSite {
  std::string model;
  std::int64_t hidden = 0, ffn = 0, experts = 0, local_experts = 0, experts_per_token = 0;
};
std::vector<ExpertSite> expert_sites();

}  // namespace fleetsim::kernels
