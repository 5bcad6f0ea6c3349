// Two bodies of one interface: the CUDA runtime, and the host's heap for the emulator.

#include <cstdlib>
#include <map>

#include "kernels/device/device_memory.h"

namespace fleetsim::kernels {

#if defined(__CUDACC__)

namespace {

constexpr std::size_t kGuardBytes = 256;
constexpr int kGuardValue = 0xA5;

/// Bytes of each allocation, by the address that was handed out.
std::map<const void*, std::size_t>& sizes() {
  static std::map<const void*, std::size_t> table;
  return table;
}

std::size_t padded(std::size_t bytes) { return ceil_div<std::size_t>(bytes, 256) * 256; }

}  // namespace

const DeviceFacts& device_facts() {
  static const DeviceFacts facts = [] {
    int device = 0;
    CUDA_CHECK(cudaGetDevice(&device));
    cudaDeviceProp properties{};
    CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
    DeviceFacts read;
    read.name = properties.name;
    read.compute_capability = properties.major * 10 + properties.minor;
    read.sms = properties.multiProcessorCount;
    read.l2_bytes = static_cast<std::size_t>(properties.l2CacheSize);
    read.memory_bytes = properties.totalGlobalMem;
    read.shared_bytes_max = properties.sharedMemPerBlockOptin;
    return read;
  }();
  return facts;
}

void* device_allocate(std::size_t bytes) {
  unsigned char* memory = nullptr;
  const std::size_t inner = padded(bytes);
  CUDA_CHECK(cudaMalloc(reinterpret_cast<void**>(&memory), inner + 2 * kGuardBytes));
  unsigned char* data = memory + kGuardBytes;
  CUDA_CHECK(cudaMemset(memory, kGuardValue, kGuardBytes));
  CUDA_CHECK(cudaMemset(data, 0xFF, bytes));
  CUDA_CHECK(cudaMemset(data + bytes, kGuardValue, inner - bytes + kGuardBytes));
  sizes()[data] = bytes;
  return data;
}

void device_free(void* memory) {
  if (memory == nullptr) return;
  sizes().erase(memory);
  cudaFree(static_cast<unsigned char*>(memory) - kGuardBytes);  // nothing to do about an error here
}

bool device_guards_intact(const void* memory) {
  const auto found = sizes().find(memory);
  CHECK(found != sizes().end(), "not an allocation of device_allocate");
  const std::size_t bytes = found->second;
  const auto* data = static_cast<const unsigned char*>(memory);
  std::vector<unsigned char> before(kGuardBytes), behind(padded(bytes) - bytes + kGuardBytes);
  copy_to_host(before.data(), data - kGuardBytes, before.size());
  copy_to_host(behind.data(), data + bytes, behind.size());
  const auto intact = [](const std::vector<unsigned char>& guard) {
    for (const unsigned char byte : guard)
      if (byte != kGuardValue) return false;
    return true;
  };
  return intact(before) && intact(behind);
}

void copy_to_device(void* device, const void* host, std::size_t bytes) {
  if (bytes > 0) CUDA_CHECK(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice));
}

void copy_rows_to_device(void* device, std::size_t device_stride, const void* host,
                         std::size_t row_bytes, std::size_t rows) {
  if (row_bytes > 0 && rows > 0)
    CUDA_CHECK(cudaMemcpy2D(device, device_stride, host, row_bytes, row_bytes, rows,
                            cudaMemcpyHostToDevice));
}

void copy_to_host(void* host, const void* device, std::size_t bytes) {
  CUDA_CHECK(cudaDeviceSynchronize());  // streams here do not wait for the legacy one
  if (bytes > 0) CUDA_CHECK(cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost));
}

void copy_rows_to_host(void* host, const void* device, std::size_t device_stride,
                       std::size_t row_bytes, std::size_t rows) {
  CUDA_CHECK(cudaDeviceSynchronize());
  if (row_bytes > 0 && rows > 0)
    CUDA_CHECK(cudaMemcpy2D(host, row_bytes, device, device_stride, row_bytes, rows,
                            cudaMemcpyDeviceToHost));
}

void device_fill(void* device, int value, std::size_t bytes, Stream stream) {
  CUDA_CHECK(cudaMemsetAsync(device, value, bytes, stream));
}

void device_synchronize() { CUDA_CHECK(cudaDeviceSynchronize()); }

#else

const DeviceFacts& device_facts() {
  static DeviceFacts facts;
  const emulation::DeviceTraits& traits = emulation::device_traits();
  facts = {"emulated",      traits.compute_capability, traits.sms,
           traits.l2_bytes, std::size_t{1} << 33,      traits.shared_bytes_max};
  return facts;
}

void* device_allocate(std::size_t bytes) {
  void* memory = nullptr;
  // exact in length: the address sanitizer guards both ends
  if (posix_memalign(&memory, 256, bytes == 0 ? 1 : bytes) != 0)
    throw CudaError("out of emulated memory");
  std::memset(memory, 0xFF, bytes);
  return memory;
}

void device_free(void* memory) { std::free(memory); }
bool device_guards_intact(const void*) { return true; }
void copy_to_device(void* device, const void* host, std::size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
}
void copy_rows_to_device(void* device, std::size_t device_stride, const void* host,
                         std::size_t row_bytes, std::size_t rows) {
  for (std::size_t row = 0; row < rows; ++row)
    copy_to_device(static_cast<unsigned char*>(device) + row * device_stride,
                   static_cast<const unsigned char*>(host) + row * row_bytes, row_bytes);
}
void copy_to_host(void* host, const void* device, std::size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}
void copy_rows_to_host(void* host, const void* device, std::size_t device_stride,
                       std::size_t row_bytes, std::size_t rows) {
  for (std::size_t row = 0; row < rows; ++row)
    copy_to_host(static_cast<unsigned char*>(host) + row * row_bytes,
                 static_cast<const unsigned char*>(device) + row * device_stride, row_bytes);
}
void device_fill(void* device, int value, std::size_t bytes, Stream) {
  std::memset(device, value, bytes);
}
void device_synchronize() {}

#endif

}  // namespace fleetsim::kernels
