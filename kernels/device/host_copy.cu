// Two bodies of one interface: the CUDA runtime, and plain copies for the emulator, where host and
// device share one memory.

#include <cstdlib>
#include <cstring>

#include "kernels/device/host_copy.h"

namespace fleetsim::kernels {

#if defined(__CUDACC__)

PinnedMemory::PinnedMemory(std::size_t bytes) : bytes_(bytes) {
  CUDA_CHECK(cudaHostAlloc(&data_, bytes, cudaHostAllocMapped | cudaHostAllocPortable));
  CUDA_CHECK(cudaHostGetDevicePointer(&device_address_, data_, 0));
}

PinnedMemory::~PinnedMemory() { cudaFreeHost(data_); }  // nothing to do about an error here

void copy_one_by_one(const HostCopies& copies, HostCopyDirection direction, Stream stream) {
  const cudaMemcpyKind kind =
      direction == HostCopyDirection::to_host ? cudaMemcpyDeviceToHost : cudaMemcpyHostToDevice;
  for (std::size_t i = 0; i < copies.to.size(); ++i)
    CUDA_CHECK(cudaMemcpyAsync(copies.to[i], copies.from[i], copies.bytes[i], kind, stream));
}

void copy_as_batch(const HostCopies& copies, Stream stream) {
  if (copies.to.empty()) return;
  cudaMemcpyAttributes attributes{};
  attributes.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
  attributes.flags = cudaMemcpyFlagPreferOverlapWithCompute;
  std::size_t first = 0;  // the attributes hold from copy 0 on
  CUDA_CHECK(cudaMemcpyBatchAsync(copies.to.data(), copies.from.data(), copies.bytes.data(),
                                  copies.to.size(), &attributes, &first, 1,
                                  stream == nullptr ? cudaStreamPerThread : stream));
}

#else

PinnedMemory::PinnedMemory(std::size_t bytes) : bytes_(bytes) {
  // exact in length: the address sanitizer guards both ends
  if (posix_memalign(&data_, 256, bytes == 0 ? 1 : bytes) != 0)
    throw CudaError("out of emulated pinned memory");
  device_address_ = data_;
}

PinnedMemory::~PinnedMemory() { std::free(data_); }

void copy_one_by_one(const HostCopies& copies, HostCopyDirection, Stream) {
  for (std::size_t i = 0; i < copies.to.size(); ++i)
    std::memcpy(copies.to[i], copies.from[i], copies.bytes[i]);
}

/// Backwards: whoever counts on an order is found out.
void copy_as_batch(const HostCopies& copies, Stream) {
  for (std::size_t i = copies.to.size(); i > 0; --i)
    std::memcpy(copies.to[i - 1], copies.from[i - 1], copies.bytes[i - 1]);
}

#endif

}  // namespace fleetsim::kernels
