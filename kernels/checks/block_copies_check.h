#pragma once
// KV blocks moved by the block kernels and by swaps, byte by byte against a plain loop; a fault can
// be planted, so that a test sees that the comparison finds it.

#include "kernels/checks/check.h"
#include "kernels/operators/swap.h"

namespace fleetsim::kernels {

struct BlockCase {
  int planes = 1, pairs = 1;
  std::int64_t block_bytes = 16;
  int thread_blocks_max = 0;
};

enum class BlockMove { copy, gather, scatter };
enum class BlockFault {
  none,
  wrong_target,  // the reference moves one block to a neighbour of its target
  lost_tail,     // the reference leaves out the last 16 bytes of a block
};

/// error: bytes anywhere in the planes or the packed memory that are not what the move makes of
/// random contents, untouched ones included; limit 0.
CheckReport check_block_move(BlockMove move, const BlockCase& shape, std::uint64_t seed,
                             BlockFault fault = BlockFault::none);
CheckReport check_swap_case(SwapMethod method, HostCopyDirection direction, const BlockCase& shape,
                            std::uint64_t seed, BlockFault fault = BlockFault::none);

}  // namespace fleetsim::kernels
