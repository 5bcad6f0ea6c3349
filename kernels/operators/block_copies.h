#pragma once
// Whole KV blocks moved within device memory: copies within the cache, gathers out of it, scatters
// into it.

#include "kernels/device/launch.h"

namespace fleetsim::kernels {

/// One block to move: its number where it is and where it goes.
struct BlockPair {
  std::int32_t from, to;
};

/// The cache is a set of planes, e.g. K and V of every layer; block b of plane p is the block_bytes
/// bytes at planes[p] + b * block_bytes. `packed` keeps all planes of a block together:
/// [block][plane][block_bytes], as a transfer or host memory wants them. Arrays are in device
/// memory, blocks 16-byte aligned.
struct BlockMoveArguments {
  void* const* planes = nullptr;  // [plane_count], device addresses
  int plane_count = 0;
  void* packed = nullptr;            // of gather and scatter; may be mapped host memory
  const BlockPair* pairs = nullptr;  // [pair_count]; no `to` twice, and no `to` that is also a
                                     // `from` of the same memory: pairs move in any order
  int pair_count = 0;
  std::int64_t block_bytes = 0;  // a multiple of 16
  int thread_blocks_max = 0;     // 0: fill the device; fewer leave SMs to others
};

/// Copy on write: plane p, block `to` becomes a copy of block `from`, for all planes and pairs.
/// Bytes: 2 * pair_count * plane_count * block_bytes, of this and the two below. CHECKs the
/// arguments. Errors: CudaError.
void launch_block_copy(const BlockMoveArguments& arguments, Stream stream);
/// Block `from` of all planes into place `to` of `packed`.
void launch_block_gather(const BlockMoveArguments& arguments, Stream stream);
/// Place `from` of `packed` into block `to` of all planes.
void launch_block_scatter(const BlockMoveArguments& arguments, Stream stream);

}  // namespace fleetsim::kernels
