#pragma once
// Datasheet facts of a GPU and the ceilings seen on it, each with its source (gpus/*.yaml).

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hw_models/precision.h"
#include "hw_models/units.h"

namespace fleetsim {

/// Measured time of an all-reduce among `gpus` GPUs: points (message bytes, seconds), both
/// ascending.
struct AllReduceCurve {
  std::int64_t gpus = 0;
  std::vector<std::pair<double, Seconds>> points;
  std::string source;
};

/// Electric power of one GPU, board included: without work (context alive, weights loaded), while
/// memory binds, while arithmetic binds. Ascending.
struct GpuPower {
  double idle_watts = 0, memory_bound_watts = 0, compute_bound_watts = 0;
};

struct GpuSpec {
  std::string name;                  // canonical: "h100-sxm"
  std::vector<std::string> aliases;  // short forms: "h100"
  std::string title;                 // "NVIDIA H100 SXM5 80 GB"
  int architecture_sm = 0;           // 80, 89, 90, 100, 120
  bool data_centre = true;
  std::map<NumberFormat, FlopsPerSecond> dense_peak;  // absent format: the GPU has none
  BytesPerSecond memory_bandwidth;                    // datasheet
  Bytes memory_datasheet;                             // decimal GB
  Bytes memory_reported;  // what the driver reports; gpu_memory_utilization multiplies it
  bool memory_reported_is_nominal = true;  // not read on a device
  double l2_bytes = 0;
  int sms = 0;
  double tensor_clock_hz = 0;              // the clock behind the datasheet's peaks
  double bf16_flops_per_clock_per_sm = 0;  // sms x this x clock = dense_peak[bf16]
  std::optional<BytesPerSecond> nvlink_per_direction;
  BytesPerSecond pcie_per_direction;
  double tdp_watts = 0;
  std::optional<GpuPower> power;
  // fixed costs and achieved ceilings of the roofline (kernels-and-cost-models §2, §4)
  Seconds gemm_floor, attention_floor;
  double gemm_efficiency = 0, gemm_bandwidth_share = 0, attention_bandwidth_share = 0,
         attention_efficiency = 0;
  std::map<NumberFormat, double>
      gemm_efficiency_by_format;               // where it differs from gemm_efficiency
  double attention_bandwidth_share_fp8 = 0;    // decode kernels read fp8 KV less well
  std::vector<AllReduceCurve> all_reduce;      // ascending in gpus; empty without NVLink
  std::map<std::string, std::string> sources;  // field -> where the figure is from

  bool has(NumberFormat format) const { return dense_peak.count(format) > 0; }
  /// Share of the format's dense peak that large GEMMs reach.
  double gemm_efficiency_at(NumberFormat format) const;
};

/// All GPUs built in, by canonical name.
const std::vector<GpuSpec>& gpu_catalogue();
/// By canonical name or unambiguous short form ("h200"); nullptr when unknown.
const GpuSpec* find_gpu(const std::string& name);
std::vector<std::string> gpu_names();

}  // namespace fleetsim
