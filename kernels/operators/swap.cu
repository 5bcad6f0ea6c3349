#include "kernels/operators/swap.h"

namespace fleetsim::kernels {
namespace {

void check_within_host(const SwapArguments& a) {
  CHECK(a.host != nullptr && !a.planes.empty());
  CHECK(a.block_bytes > 0 && a.block_bytes % 16 == 0);
  const bool to_host = a.direction == HostCopyDirection::to_host;
  const std::int64_t step = static_cast<std::int64_t>(a.planes.size()) * a.block_bytes;
  const auto places = static_cast<std::int64_t>(a.host->size()) / step;
  for (const BlockPair& pair : a.pairs) {
    const std::int32_t place = to_host ? pair.to : pair.from;
    CHECK(pair.from >= 0 && pair.to >= 0 && place < places, "a block outside the host's memory");
  }
}

}  // namespace

HostCopies swap_copies(const SwapArguments& a) {
  check_within_host(a);
  const bool to_host = a.direction == HostCopyDirection::to_host;
  const auto planes = static_cast<std::int64_t>(a.planes.size());
  HostCopies copies;
  for (const BlockPair& pair : a.pairs)
    for (std::int64_t plane = 0; plane < planes; ++plane) {
      const std::int64_t cache_block = to_host ? pair.from : pair.to;
      const std::int64_t host_block = to_host ? pair.to : pair.from;
      unsigned char* cache =
          static_cast<unsigned char*>(a.planes[static_cast<std::size_t>(plane)]) +
          cache_block * a.block_bytes;
      unsigned char* host = static_cast<unsigned char*>(a.host->data()) +
                            (host_block * planes + plane) * a.block_bytes;
      copies.to.push_back(to_host ? host : cache);
      copies.from.push_back(to_host ? cache : host);
      copies.bytes.push_back(static_cast<std::size_t>(a.block_bytes));
    }
  return copies;
}

void launch_swap(const SwapArguments& a, Stream stream) {
  if (a.method == SwapMethod::memcpy_loop)
    return copy_one_by_one(swap_copies(a), a.direction, stream);
  if (a.method == SwapMethod::memcpy_batch) return copy_as_batch(swap_copies(a), stream);
  check_within_host(a);
  BlockMoveArguments move;
  move.planes = a.planes_on_device;
  move.plane_count = static_cast<int>(a.planes.size());
  move.packed = a.host->device_address();
  move.pairs = a.pairs_on_device;
  move.pair_count = static_cast<int>(a.pairs.size());
  move.block_bytes = a.block_bytes;
  move.thread_blocks_max = a.thread_blocks_max;
  CHECK(move.planes != nullptr && move.pairs != nullptr,
        "the kernel needs the lists on the device");
  if (a.direction == HostCopyDirection::to_host)
    launch_block_gather(move, stream);
  else
    launch_block_scatter(move, stream);
}

}  // namespace fleetsim::kernels
