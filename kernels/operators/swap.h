#pragma once
// KV blocks swapped between the cache and host memory, in three ways that are measured against each
// other.

#include "kernels/device/host_copy.h"
#include "kernels/operators/block_copies.h"

namespace fleetsim::kernels {

enum class SwapMethod {
  memcpy_loop,   // a cudaMemcpyAsync for each block of each plane
  memcpy_batch,  // one cudaMemcpyBatchAsync
  sm_kernel,     // gather or scatter by SMs over mapped host memory
};

/// The cache is as in BlockMoveArguments; host memory holds all planes of a block together:
/// [host block][plane][block_bytes]. Pairs: `from` is where the data is, `to` where it goes. The
/// copy engines want lists on the host, the kernel wants them on the device.
struct SwapArguments {
  SwapMethod method = SwapMethod::memcpy_batch;
  HostCopyDirection direction = HostCopyDirection::to_host;
  std::vector<void*> planes;                   // device addresses
  std::vector<BlockPair> pairs;                // no `to` twice
  const PinnedMemory* host = nullptr;          // large enough for every host block named
  void* const* planes_on_device = nullptr;     // copies of the two lists in device memory:
  const BlockPair* pairs_on_device = nullptr;  // of sm_kernel only
  std::int64_t block_bytes = 0;                // a multiple of 16
  int thread_blocks_max = 0;                   // of sm_kernel; 0: fill the device
};

/// The copies of a swap, in the order of pairs and planes. CHECKs that all lie in host memory.
HostCopies swap_copies(const SwapArguments& arguments);

/// Starts the swap on `stream`. The lists on the host may go after the return, memory after the
/// stream is through. Errors: CudaError.
void launch_swap(const SwapArguments& arguments, Stream stream);

}  // namespace fleetsim::kernels
