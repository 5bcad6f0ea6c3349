// All-reduce time by message size, number of GPUs and GPU. NVLink GPUs carry measured curves
// (gpus/*.yaml, from kernels-and-cost-models §2.5); the rest gets a ring over PCIe.

#include <algorithm>
#include <cmath>

#include "hw_models/check.h"
#include "hw_models/operators.h"

namespace fleetsim {
namespace {

/// NCCL's floor among 2 and among 8 GPUs (§2.5, H200); in between linear in log2(gpus).
constexpr double kRingFloor2 = 7.1e-6, kRingFloor8 = 17.8e-6;
/// Share of a nominal PCIe link that kernel-driven copies reach: 35 of 64 GB/s (§2.6, H100).
constexpr double kPcieShare = 0.55;

/// Where n stands between 2 (0) and 8 (1) GPUs on a log2 axis.
double log_position(double n, double from, double to) {
  return (std::log2(n) - std::log2(from)) / (std::log2(to) - std::log2(from));
}

AllReduceCurve ring_over_pcie(const GpuSpec& gpu, std::int64_t gpus) {
  const double n = static_cast<double>(gpus);
  const double floor = kRingFloor2 + (kRingFloor8 - kRingFloor2) * log_position(n, 2, 8);
  const double per_byte = 2 * (n - 1) / n / (kPcieShare * gpu.pcie_per_direction.value);
  AllReduceCurve curve;
  curve.gpus = gpus;
  curve.source = "derived: NCCL's floor and a ring at 0.55 of nominal PCIe";
  curve.points = {{0.0, {floor}}, {1e9, {floor + per_byte * 1e9}}};
  return curve;
}

}  // namespace

AllReduceCurve all_reduce_curve(const GpuSpec& gpu, std::int64_t gpus) {
  CHECK(gpus >= 2 && gpus <= 8, "all-reduce among " + std::to_string(gpus));
  if (gpu.all_reduce.empty()) return ring_over_pcie(gpu, gpus);
  for (const AllReduceCurve& curve : gpu.all_reduce)
    if (curve.gpus == gpus) return curve;
  const AllReduceCurve& few = gpu.all_reduce.front();
  const AllReduceCurve& many = gpu.all_reduce.back();
  CHECK(few.gpus < gpus && gpus < many.gpus && few.points.size() == many.points.size(), gpu.name);
  const double weight = log_position(static_cast<double>(gpus), static_cast<double>(few.gpus),
                                     static_cast<double>(many.gpus));
  AllReduceCurve curve = few;
  curve.gpus = gpus;
  curve.source = "interpolated in log2(gpus) between 2 and 8";
  for (std::size_t i = 0; i < curve.points.size(); ++i) {
    CHECK(few.points[i].first == many.points[i].first, gpu.name);
    curve.points[i].second += (many.points[i].second - few.points[i].second) * weight;
  }
  return curve;
}

Seconds curve_time(const std::vector<std::pair<double, Seconds>>& curve, double bytes) {
  CHECK(curve.size() >= 2, "a curve has at least two points");
  if (bytes <= curve.front().first) return curve.front().second;
  std::size_t right = 1;
  while (right + 1 < curve.size() && curve[right].first < bytes) ++right;
  const auto& [x0, t0] = curve[right - 1];
  const auto& [x1, t1] = curve[right];
  return t0 + (t1 - t0) * ((bytes - x0) / (x1 - x0));
}

}  // namespace fleetsim
