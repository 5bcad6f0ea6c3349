#pragma once
// The GPU, host and libraries that a profile is measured on, as they tell it themselves.

#include "kernels/measure/gpu_clocks.h"
#include "kernels/measure/run_facts.h"

namespace fleetsim::kernels {

/// Empty when a CUDA device can be used, else CUDA's own words why not.
std::string why_no_device();

/// PCI address of the current device, "0000:1b:00.0". Errors of all here: CudaError.
std::string pci_bus_id();
MeasuredDevice measured_device(const GpuClocks& clocks);

/// Everything but seed and budget.
RunFacts run_facts(const GpuClocks& clocks);

/// "2026-11-21T09:30:00Z", now.
std::string utc_now();

}  // namespace fleetsim::kernels
