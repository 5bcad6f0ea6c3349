#pragma once
// Copies between host and device by the copy engines, and the pinned host memory they need.

#include <vector>

#include "kernels/device/launch.h"

namespace fleetsim::kernels {

/// Page-locked host memory that the device can address; freed at the end.
class PinnedMemory {
 public:
  /// Contents are undefined. Errors: CudaError when the system locks no more pages.
  explicit PinnedMemory(std::size_t bytes);
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  void* data() const { return data_; }
  /// The same memory as kernels address it.
  void* device_address() const { return device_address_; }
  std::size_t size() const { return bytes_; }

 private:
  void* data_ = nullptr;
  void* device_address_ = nullptr;
  std::size_t bytes_;
};

enum class HostCopyDirection { to_host, to_device };

/// Many copies of one direction: copy i moves bytes[i] from `from[i]` to `to[i]`.
struct HostCopies {
  std::vector<void*> to;
  std::vector<const void*> from;
  std::vector<std::size_t> bytes;
};

/// One cudaMemcpyAsync a copy. Errors: CudaError.
void copy_one_by_one(const HostCopies& copies, HostCopyDirection direction, Stream stream);
/// All by one cudaMemcpyBatchAsync (CUDA 13), in any order among themselves. The call refuses the
/// default stream; this thread's own stands in for it, which is in order with it. Errors:
/// CudaError.
void copy_as_batch(const HostCopies& copies, Stream stream);

}  // namespace fleetsim::kernels
