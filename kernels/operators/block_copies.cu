// A warp moves pieces of 2 KiB: four 16-byte reads a lane, then four writes. Neighbouring warps
// take neighbouring pieces; a persistent grid keeps enough of them in flight whatever the size of a
// block is.

#include "kernels/device/memory_access.h"
#include "kernels/device/warp.h"
#include "kernels/operators/block_copies.h"

namespace fleetsim::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpLanes;
constexpr int kInFlight = 4;  // 16-byte reads of a lane
constexpr unsigned kPieceBytes = kWarpLanes * 16 * kInFlight;
constexpr int kThreadBlocksPerSm = 5;  // 5 * 256 threads * 64 bytes in flight: 80 KiB an SM

enum class Move { copy, gather, scatter };

struct Parameters {
  BlockMoveArguments arguments;
  unsigned pieces, pieces_per_block;
};

template <Move kMove>
__global__ void __launch_bounds__(kThreads, kThreadBlocksPerSm)
    block_move_kernel(const __grid_constant__ Parameters p) {
  wait_for_kernel_before();
  let_next_kernel_start();
  const BlockMoveArguments& a = p.arguments;
  const unsigned lane = threadIdx.x % kWarpLanes;
  const unsigned planes = static_cast<unsigned>(a.plane_count);
  const unsigned step = gridDim.x * kWarps;
  for (unsigned piece = blockIdx.x * kWarps + threadIdx.x / kWarpLanes; piece < p.pieces;
       piece += step) {
    const unsigned plane_of_pair = piece / p.pieces_per_block;  // all planes of a pair in a row
    const unsigned pair_number = plane_of_pair / planes;
    const unsigned plane = plane_of_pair - pair_number * planes;
    const BlockPair pair = a.pairs[pair_number];
    auto* cache = static_cast<unsigned char*>(a.planes[plane]);
    auto* packed = static_cast<unsigned char*>(a.packed) + plane * a.block_bytes;
    const std::int64_t packed_step = planes * a.block_bytes;
    const std::int64_t offset =
        static_cast<std::int64_t>(piece - plane_of_pair * p.pieces_per_block) * kPieceBytes +
        lane * 16;
    const unsigned char* from = kMove == Move::scatter ? packed + pair.from * packed_step
                                                       : cache + pair.from * a.block_bytes;
    unsigned char* to =
        kMove == Move::gather ? packed + pair.to * packed_step : cache + pair.to * a.block_bytes;
    const std::int64_t left = a.block_bytes - offset;  // of this lane, in steps of a warp's 512
    uint4 values[kInFlight];
    FLEETSIM_UNROLL
    for (int i = 0; i < kInFlight; ++i)
      if (i * kWarpLanes * 16 < left) values[i] = load_16_once(from + offset + i * kWarpLanes * 16);
    FLEETSIM_UNROLL
    for (int i = 0; i < kInFlight; ++i)
      if (i * kWarpLanes * 16 < left) store_16_once(to + offset + i * kWarpLanes * 16, values[i]);
  }
}

template <Move kMove>
void launch_move(const BlockMoveArguments& a, Stream stream) {
  CHECK(a.plane_count >= 1 && a.pair_count >= 0 && a.thread_blocks_max >= 0);
  CHECK(a.block_bytes > 0 && a.block_bytes % 16 == 0, "blocks are moved in pieces of 16 bytes");
  CHECK(kMove == Move::copy || a.packed != nullptr);
  if (a.pair_count == 0) return;
  Parameters p{};
  p.arguments = a;
  const std::int64_t per_block = ceil_div(a.block_bytes, static_cast<std::int64_t>(kPieceBytes));
  const std::int64_t pieces = per_block * a.plane_count * a.pair_count;
  CHECK(pieces < (std::int64_t{1} << 31), "too many blocks for one launch");
  p.pieces_per_block = static_cast<unsigned>(per_block);
  p.pieces = static_cast<unsigned>(pieces);
  unsigned blocks = static_cast<unsigned>(device_facts().sms * kThreadBlocksPerSm);
  if (a.thread_blocks_max > 0 && static_cast<unsigned>(a.thread_blocks_max) < blocks)
    blocks = static_cast<unsigned>(a.thread_blocks_max);
  const unsigned useful = ceil_div(p.pieces, static_cast<unsigned>(kWarps));
  LaunchShape shape;
  shape.grid = {useful < blocks ? useful : blocks, 1, 1};
  shape.block = {kThreads, 1, 1};
  shape.stream = stream;
  shape.after_trigger = true;
  launch(block_move_kernel<kMove>, shape, p);
}

}  // namespace

void launch_block_copy(const BlockMoveArguments& arguments, Stream stream) {
  launch_move<Move::copy>(arguments, stream);
}
void launch_block_gather(const BlockMoveArguments& arguments, Stream stream) {
  launch_move<Move::gather>(arguments, stream);
}
void launch_block_scatter(const BlockMoveArguments& arguments, Stream stream) {
  launch_move<Move::scatter>(arguments, stream);
}

}  // namespace fleetsim::kernels
