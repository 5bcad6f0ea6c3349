// The few functions of NVML that are used, declared here after its reference manual (NVML API
// Reference Guide, "Device Queries"): the header is not on every machine, the library comes with
// the driver.

#include "kernels/measure/gpu_clocks.h"

#include <dlfcn.h>

#include <utility>

namespace fleetsim::kernels {
namespace {

using NvmlDevice = void*;
using NvmlResult = int;  // 0: success
constexpr unsigned kClockSm = 1, kClockMemory = 2, kTemperatureGpu = 0;
constexpr unsigned kTextBytes = 96;

constexpr std::pair<unsigned long long, const char*> kReasons[] = {
    {0x2, "clocks chosen by an administrator"},
    {0x4, "power cap"},
    {0x8, "hardware slowdown"},
    {0x10, "sync boost group"},
    {0x20, "temperature, by software"},
    {0x40, "temperature, by hardware"},
    {0x80, "external power brake"},
    {0x100, "display clock setting"},
};

template <class Function>
void find(void* handle, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(handle, name));
}

}  // namespace

struct GpuClocks::Library {
  void* handle = nullptr;
  NvmlResult (*init)() = nullptr;
  NvmlResult (*shutdown)() = nullptr;
  NvmlResult (*by_pci)(const char*, NvmlDevice*) = nullptr;
  NvmlResult (*clock)(NvmlDevice, unsigned, unsigned*) = nullptr;
  NvmlResult (*power)(NvmlDevice, unsigned*) = nullptr;
  NvmlResult (*temperature)(NvmlDevice, unsigned, unsigned*) = nullptr;
  NvmlResult (*throttle)(NvmlDevice, unsigned long long*) = nullptr;
  NvmlResult (*driver)(char*, unsigned) = nullptr;
  NvmlResult (*vbios)(NvmlDevice, char*, unsigned) = nullptr;
  bool initialised = false;

  Library() : handle(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {
    if (handle == nullptr) return;
    find(handle, "nvmlInit_v2", init);
    find(handle, "nvmlShutdown", shutdown);
    find(handle, "nvmlDeviceGetHandleByPciBusId_v2", by_pci);
    find(handle, "nvmlDeviceGetClockInfo", clock);
    find(handle, "nvmlDeviceGetPowerUsage", power);
    find(handle, "nvmlDeviceGetTemperature", temperature);
    find(handle, "nvmlDeviceGetCurrentClocksThrottleReasons", throttle);
    find(handle, "nvmlSystemGetDriverVersion", driver);
    find(handle, "nvmlDeviceGetVbiosVersion", vbios);
  }
  ~Library() {
    if (initialised && shutdown != nullptr) shutdown();
    if (handle != nullptr) dlclose(handle);
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
};

std::string held_back_text(unsigned long long reasons) {
  std::string text;
  for (const auto& [bit, words] : kReasons)
    if ((reasons & bit) != 0) text += (text.empty() ? "" : ", ") + std::string(words);
  return text;
}

GpuClocks::GpuClocks(const std::string& pci_bus_id) : library_(std::make_unique<Library>()) {
  Library& nvml = *library_;
  if (nvml.handle == nullptr) {
    missing_ = "libnvidia-ml.so.1 was not found";
  } else if (nvml.init == nullptr || nvml.by_pci == nullptr) {
    missing_ = "libnvidia-ml.so.1 lacks nvmlInit_v2 or nvmlDeviceGetHandleByPciBusId_v2";
  } else if (const NvmlResult result = nvml.init(); result != 0) {
    missing_ = "nvmlInit_v2 failed with " + std::to_string(result);
  } else {
    nvml.initialised = true;
    const NvmlResult found = nvml.by_pci(pci_bus_id.c_str(), &device_);
    if (found != 0) {
      device_ = nullptr;
      missing_ = "NVML does not know the GPU at " + pci_bus_id + " (" + std::to_string(found) + ")";
    }
  }
}

GpuClocks::~GpuClocks() = default;

std::optional<std::int64_t> GpuClocks::sm_mhz() const {
  unsigned mhz = 0;
  if (device_ == nullptr || library_->clock == nullptr ||
      library_->clock(device_, kClockSm, &mhz) != 0)
    return std::nullopt;
  return mhz;
}

ClockReading GpuClocks::read() const {
  ClockReading reading;
  if (device_ == nullptr) return reading;
  const Library& nvml = *library_;
  reading.sm_mhz = sm_mhz();
  unsigned value = 0;
  if (nvml.clock != nullptr && nvml.clock(device_, kClockMemory, &value) == 0)
    reading.memory_mhz = value;
  if (nvml.power != nullptr && nvml.power(device_, &value) == 0)
    reading.power_w = static_cast<double>(value) / 1000;  // reported in milliwatts
  if (nvml.temperature != nullptr && nvml.temperature(device_, kTemperatureGpu, &value) == 0)
    reading.temperature_c = value;
  unsigned long long reasons = 0;
  if (nvml.throttle != nullptr && nvml.throttle(device_, &reasons) == 0)
    reading.held_back = held_back_text(reasons);
  return reading;
}

std::string GpuClocks::driver_version() const {
  char text[kTextBytes] = "";
  if (!library_->initialised || library_->driver == nullptr ||
      library_->driver(text, kTextBytes) != 0)
    return "";
  return text;
}

std::string GpuClocks::vbios_version() const {
  char text[kTextBytes] = "";
  if (device_ == nullptr || library_->vbios == nullptr ||
      library_->vbios(device_, text, kTextBytes) != 0)
    return "";
  return text;
}

}  // namespace fleetsim::kernels
