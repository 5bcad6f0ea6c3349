#pragma once
// Where, with what and how a profile was measured, as plain values; the CUDA side fills them in.

#include <cstdint>
#include <optional>
#include <string>

namespace fleetsim::kernels {

/// The GPU; texts are empty where a fact cannot be read. (DeviceFacts of kernels/device/launch.h is
/// what a launch needs to know.)
struct MeasuredDevice {
  std::string name;      // "NVIDIA H200"
  std::int64_t sm = 0;   // architecture: 90
  std::int64_t sms = 0;  // streaming multiprocessors
  std::int64_t l2_bytes = 0, mem_bytes = 0;
  std::string driver;   // version of the driver
  std::string cuda;     // newest CUDA that the driver runs: "13.0"
  std::string runtime;  // CUDA runtime linked in: "13.0"
  std::string vbios;
};
struct HostFacts {
  std::string cpu, kernel;
};
struct SoftwareFacts {
  std::string git_rev;
  bool dirty = true;  // built from files that differ from git_rev
  std::string nvcc, cublaslt, flags;
};

struct RunFacts {
  MeasuredDevice device;
  HostFacts host;
  SoftwareFacts software;
  std::string started_utc;  // "2026-11-21T09:30:00Z"
  std::uint64_t seed = 0;
  std::int64_t budget_s = 0;  // device time that the run was given; 0: no limit
};

/// Clocks and power seen while measuring; nothing where they cannot be read.
struct ClockFacts {
  std::optional<std::int64_t> sm_mhz_min, sm_mhz_median;
  std::optional<double> power_w_median;
};

}  // namespace fleetsim::kernels
