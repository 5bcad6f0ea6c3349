#pragma once
// Clocks, power, temperature and what holds the clocks back, read through NVML; nothing is ever
// set.

#include <memory>
#include <string>

#include "kernels/measure/run_points.h"

namespace fleetsim::kernels {

/// Words for the bits of nvmlDeviceGetCurrentClocksThrottleReasons, joined by commas; empty when
/// none is set. Being idle (bit 0) is no reason: nobody was held back.
std::string held_back_text(unsigned long long reasons);

/// One GPU, found by its PCI address: NVML and CUDA may count GPUs in different orders.
class GpuClocks {
 public:
  /// Looks for libnvidia-ml.so.1 and the GPU at `pci_bus_id` ("0000:1b:00.0"). Without them it
  /// reads nothing, and missing() says why.
  explicit GpuClocks(const std::string& pci_bus_id);
  ~GpuClocks();
  GpuClocks(const GpuClocks&) = delete;
  GpuClocks& operator=(const GpuClocks&) = delete;

  /// Empty, or why nothing can be read.
  const std::string& missing() const { return missing_; }
  ClockReading read() const;
  /// MHz of the SMs at this moment.
  std::optional<std::int64_t> sm_mhz() const;
  /// "580.65.06", "96.00.61.00.01"; empty where they cannot be read.
  std::string driver_version() const;
  std::string vbios_version() const;

 private:
  struct Library;
  std::unique_ptr<Library> library_;
  void* device_ = nullptr;
  std::string missing_;
};

}  // namespace fleetsim::kernels
