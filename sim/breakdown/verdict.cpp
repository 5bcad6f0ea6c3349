// Verdicts use datasheet rates and the launch floors alone, never the rates that a fit achieved:
// they say which resource an operator would run out of, the utilisations say how near it comes.

#include "sim/breakdown/verdict.h"

#include <algorithm>

#include "hw_models/check.h"
#include "hw_models/operators.h"
#include "hw_models/weight_groups.h"

namespace fleetsim {
namespace {

NumberFormat wide_format(const Precision& precision) {
  return precision.activations == NumberFormat::fp32 ? NumberFormat::fp32 : NumberFormat::bf16;
}

/// The role of the weights that a product reads; its name is theirs, perhaps with words behind it.
WeightRole role_of(const std::string& product, const Roofs& roofs) {
  for (const WeightGroup& group : weight_groups(*roofs.model, roofs.tp))
    if (product.starts_with(group.name)) return group.role;
  return product.find("expert") != std::string::npos && !product.starts_with("shared")
             ? WeightRole::expert
             : WeightRole::matrix;
}

double share_of(double part, double whole) { return whole > 0 ? part / whole : 0; }

}  // namespace

const char* name_of(Bound bound) {
  switch (bound) {
    case Bound::compute:
      return "compute-bound";
    case Bound::memory:
      return "memory-bound";
    case Bound::network:
      return "network-bound";
    case Bound::latency:
      return "latency-bound";
    case Bound::host:
      return "host-bound";
  }
  CHECK(false, "unknown bound");
  return "";
}

std::optional<NumberFormat> math_of(const OperatorCost& cost, const Roofs& roofs) {
  if (cost.group == CostGroup::attention) return wide_format(roofs.precision);
  if (cost.group != CostGroup::gemm) return std::nullopt;
  const Precision& precision = roofs.precision;
  switch (role_of(cost.name, roofs)) {
    case WeightRole::matrix:
      return math_format(precision.weights, precision.activations, *roofs.gpu);
    case WeightRole::expert: {
      const bool sixteen_bit = element_bytes(precision.weights) == 2;
      const NumberFormat stored =
          precision.experts ? *precision.experts
          : sixteen_bit     ? roofs.model->native_expert_format.value_or(precision.weights)
                            : precision.weights;
      return math_format(stored, precision.activations, *roofs.gpu);
    }
    default:
      return wide_format(precision);
  }
}

BytesPerSecond link_of(const GpuSpec& gpu) {
  return gpu.nvlink_per_direction.value_or(gpu.pcie_per_direction);
}

Seconds fixed_time(const OperatorCost& cost, const Roofs& roofs) {
  const double launches = static_cast<double>(cost.launches);
  switch (cost.group) {
    case CostGroup::gemm:
    case CostGroup::elementwise:
      return launches * roofs.gpu->gemm_floor;
    case CostGroup::attention:
      return launches * roofs.gpu->attention_floor;
    case CostGroup::communication:
      // Ranks wait for each other at any size: what the wire does not take is latency.
      return {std::max(0.0, cost.time.value - cost.wire_bytes / link_of(*roofs.gpu).value)};
    case CostGroup::host_overhead:
      return cost.time;
  }
  CHECK(false, "unknown cost group");
  return {};
}

OperatorShare judge(const OperatorCost& cost, Seconds iteration, const Roofs& roofs) {
  OperatorShare one;
  one.cost = cost;
  one.share = share_of(cost.time.value, iteration.value);
  one.math = math_of(cost, roofs);
  const double bandwidth = roofs.gpu->memory_bandwidth.value, link = link_of(*roofs.gpu).value;
  const double peak = one.math ? roofs.gpu->dense_peak.at(*one.math).value : 0;
  const double seconds = cost.time.value;
  one.flops_per_second = share_of(cost.flops.value, seconds);
  one.bytes_per_second = share_of(cost.bytes, seconds);
  one.wire_bytes_per_second = share_of(cost.wire_bytes, seconds);
  one.mfu = share_of(one.flops_per_second, peak);
  one.mbu = share_of(one.bytes_per_second, bandwidth);
  one.link_use = share_of(one.wire_bytes_per_second, link);
  if (cost.flops.value > 0 && cost.bytes > 0) one.intensity = cost.flops.value / cost.bytes;
  if (cost.group == CostGroup::host_overhead) {
    one.bound = Bound::host;
    return one;
  }
  if (2 * fixed_time(cost, roofs).value >= seconds) {
    one.bound = Bound::latency;
    return one;
  }
  const double busiest = std::max({one.mfu, one.mbu, one.link_use});
  if (busiest == one.link_use)
    one.bound = Bound::network;
  else
    one.bound = busiest == one.mfu ? Bound::compute : Bound::memory;
  return one;
}

}  // namespace fleetsim
