#include "kernels/measure/machine_facts.h"

#include <sys/utsname.h>

#include <cstdio>
#include <ctime>
#include <fstream>

#include "kernels/device/launch.h"
#include "kernels/measure/build_facts.h"
#include "kernels/operators/gemm_cublaslt.h"

namespace fleetsim::kernels {
namespace {

/// 13000 is "13.0", 12080 "12.8".
std::string cuda_version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/// "model name : ..." of Linux on x86; empty elsewhere.
std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with("model name")) continue;
    const std::size_t begin = line.find_first_not_of(" \t", line.find(':') + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

HostFacts host_facts() {
  utsname names{};
  return {cpu_name(), uname(&names) == 0 ? std::string(names.sysname) + " " + names.release : ""};
}

}  // namespace

std::string why_no_device() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) return cudaGetErrorString(error);
  return count > 0 ? "" : "no CUDA-capable device is detected";
}

std::string pci_bus_id() {
  int device = 0;
  char text[32] = "";
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetPCIBusId(text, sizeof text, device));
  return text;
}

MeasuredDevice measured_device(const GpuClocks& clocks) {
  const DeviceFacts& known = device_facts();
  int driver = 0, runtime = 0;
  CUDA_CHECK(cudaDriverGetVersion(&driver));
  CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  MeasuredDevice device;
  device.name = known.name;
  device.sm = known.compute_capability;
  device.sms = known.sms;
  device.l2_bytes = static_cast<std::int64_t>(known.l2_bytes);
  device.mem_bytes = static_cast<std::int64_t>(known.memory_bytes);
  device.driver = clocks.driver_version();
  device.cuda = cuda_version_text(driver);
  device.runtime = cuda_version_text(runtime);
  device.vbios = clocks.vbios_version();
  return device;
}

RunFacts run_facts(const GpuClocks& clocks) {
  RunFacts facts;
  facts.device = measured_device(clocks);
  facts.host = host_facts();
  facts.software = build_facts();
  facts.software.cublaslt = cublaslt_version();
  facts.started_utc = utc_now();
  return facts;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[96];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02dZ", utc.tm_year + 1900,
                utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
  return text;
}

}  // namespace fleetsim::kernels
