#pragma once
// Memory of the device seen from the host: allocations that are poisoned, guarded at both ends and
// freed.

#include <cstring>
#include <vector>

#include "kernels/device/launch.h"

namespace fleetsim::kernels {

/// `bytes` of device memory, 256-byte aligned, between guards; every byte is 0xFF (NaN in bf16,
/// fp16, fp32 and e4m3). Errors: CudaError when there is not enough.
void* device_allocate(std::size_t bytes);
/// Frees; nullptr does nothing.
void device_free(void* memory);
/// True while nobody wrote within 256 bytes before or behind the allocation (on the emulator the
/// address sanitizer watches instead, and this is always true).
bool device_guards_intact(const void* memory);
/// Synchronous copies, after all work issued so far; bytes may be 0.
void copy_to_device(void* device, const void* host, std::size_t bytes);
void copy_to_host(void* host, const void* device, std::size_t bytes);
/// `rows` pieces of `row_bytes`, one behind the other on the host, `device_stride` bytes apart on
/// the device. Synchronous, as copy_to_device.
void copy_rows_to_device(void* device, std::size_t device_stride, const void* host,
                         std::size_t row_bytes, std::size_t rows);
/// The other way round.
void copy_rows_to_host(void* host, const void* device, std::size_t device_stride,
                       std::size_t row_bytes, std::size_t rows);
/// Every byte becomes `value`; in order with `stream`.
void device_fill(void* device, int value, std::size_t bytes, Stream stream);
/// Waits for all work of the device. Errors: CudaError of anything that failed meanwhile.
void device_synchronize();

/// An array of T on the device. T is copied byte by byte.
template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(std::size_t size)
      : data_(static_cast<T*>(device_allocate(size * sizeof(T)))), size_(size) {}
  explicit DeviceBuffer(const std::vector<T>& values) : DeviceBuffer(values.size()) {
    copy_to_device(data_, values.data(), size_ * sizeof(T));
  }
  ~DeviceBuffer() { device_free(data_); }
  DeviceBuffer(DeviceBuffer&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(DeviceBuffer&&) = delete;

  T* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::vector<T> values() const {
    std::vector<T> out(size_);
    copy_to_host(out.data(), data_, size_ * sizeof(T));
    return out;
  }
  bool guards_intact() const { return device_guards_intact(data_); }

 private:
  T* data_;
  std::size_t size_;
};

}  // namespace fleetsim::kernels
