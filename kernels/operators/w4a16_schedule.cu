// Host code alone; a .cu so that it is built wherever the kernel is.
//
// The cut along K is chosen by an estimate of time: more blocks read more at once, but the block
// that ends a tile adds up more parts alone. Figures are those of an H200's data sheet
// (SMs x clock, memory bandwidth) and orders of magnitude for latencies; they choose among plans
// that are all correct, and no result is derived from them.

#include <algorithm>

#include "hw_models/check.h"
#include "kernels/operators/w4a16_schedule.h"
#include "kernels/operators/w4a16_stages.h"

namespace fleetsim::kernels {
namespace {

constexpr double kMemoryBytesPerNs = 4800;   // data sheet
constexpr double kBlockBytesPerNs = 50;      // 50 KB in flight a block, about 1 µs of latency
constexpr double kMultiplyAddsPerNs = 1740;  // of an SM by mma.sync: 1024 a clock at 1.7 GHz
constexpr double kSumBytesPerNs = 100;       // one block reads parts out of L2
constexpr double kCutNs = 1500;              // write parts, fence, counter, first read
constexpr int kColumns = kW4a16ColumnsOfBlock;

int rows_of_tile(int m) {
  if (m <= 16) return 16;
  if (m <= 32) return 32;
  if (m <= 64) return 64;
  // twice the rows read the weights half as often; not at the price of empty rows
  const bool fits = ceil_div(m, 128) * 128 <= ceil_div(m, 64) * 64;
  return fits || m > 512 ? 128 : 64;
}

/// Blocks that one SM holds at a time: two where registers (the kernel's launch bounds) and shared
/// memory allow.
int blocks_of_sm(int tile_rows, const W4a16Device& device) {
  const std::size_t room = device.shared_bytes_max + 1024;
  const bool two = tile_rows <= 32 && 2 * (w4a16_shared_bytes(tile_rows) + 1024) <= room;
  return two ? 2 : 1;
}

/// Estimated time of the shared part, ns.
double shared_ns(const W4a16Plan& plan, int rows, int sms, int sharing_blocks) {
  const int groups = plan.shared_tiles * plan.groups;
  const double group_bytes = kColumns / kW4a16TileColumns * kW4a16TileBytes;
  const double read_ns =
      std::max(group_bytes / kBlockBytesPerNs, group_bytes * sharing_blocks / kMemoryBytesPerNs);
  const double multiply_ns = static_cast<double>(plan.tile_rows) * kColumns * kInt4Group /
                             kMultiplyAddsPerNs * ceil_div(sharing_blocks, sms);
  double ns = ceil_div(groups, sharing_blocks) * std::max(read_ns, multiply_ns);
  if (sharing_blocks > plan.shared_tiles) {
    const int parts = ceil_div(sharing_blocks, plan.shared_tiles) + 1;
    ns += kCutNs + parts * static_cast<double>(rows) * kColumns * 4 / kSumBytesPerNs;
  }
  return ns;
}

}  // namespace

std::size_t w4a16_shared_bytes(int tile_rows) {
  switch (tile_rows) {
    case 16:
      return W4a16Stages<16>::kSharedBytes;
    case 32:
      return W4a16Stages<32>::kSharedBytes;
    case 64:
      return W4a16Stages<64>::kSharedBytes;
    default:
      CHECK(tile_rows == 128);
      return W4a16Stages<128>::kSharedBytes;
  }
}

W4a16Plan plan_w4a16_gemm(int m, int n, int k, const W4a16Device& device) {
  CHECK(m >= 1 && n >= 1 && k >= 1 && device.sms >= 1);
  CHECK(n % kW4a16TileColumns == 0 && k % kInt4Group == 0);
  W4a16Plan plan;
  plan.tile_rows = rows_of_tile(m);
  plan.row_tiles = ceil_div(m, plan.tile_rows);
  plan.column_tiles = ceil_div(n, kColumns);
  plan.groups = k / kInt4Group;
  const int resident = device.sms * blocks_of_sm(plan.tile_rows, device);
  const int tiles = plan.row_tiles * plan.column_tiles;
  plan.shared_tiles = tiles % resident;
  plan.whole_tiles = tiles - plan.shared_tiles;
  plan.blocks = plan.whole_tiles > 0 ? resident : 0;
  if (plan.shared_tiles == 0) return plan;

  const int rows = std::min(m, plan.tile_rows);
  const int most = std::min(resident, plan.shared_tiles * plan.groups);
  int best = plan.shared_tiles;
  double best_ns = shared_ns(plan, rows, device.sms, best);
  for (int blocks = plan.shared_tiles + 1; blocks <= most; ++blocks) {
    const double ns = shared_ns(plan, rows, device.sms, blocks);
    if (ns < best_ns) {
      best = blocks;
      best_ns = ns;
    }
  }
  return with_sharing_blocks(plan, best);
}

W4a16Plan with_sharing_blocks(W4a16Plan plan, int sharing_blocks) {
  CHECK(sharing_blocks >= plan.shared_tiles && sharing_blocks >= 1);
  CHECK(sharing_blocks <= plan.shared_tiles * plan.groups);
  // so that w4a16_range_begin fits into 32 bits
  CHECK(static_cast<std::int64_t>(plan.shared_tiles) * plan.groups * (sharing_blocks + 1) <
        std::int64_t{1} << 32);
  plan.sharing_blocks = sharing_blocks;
  // whole tiles go by waves of `blocks`: there, the launch keeps its size
  if (plan.whole_tiles == 0) plan.blocks = sharing_blocks;
  CHECK(plan.sharing_blocks <= plan.blocks);
  return plan;
}

std::size_t w4a16_counter_bytes(const W4a16Plan& plan) {
  return ceil_div<std::size_t>(static_cast<std::size_t>(plan.shared_tiles) * sizeof(unsigned),
                               256) *
         256;
}

std::size_t w4a16_workspace_bytes(const W4a16Plan& plan) {
  if (plan.sharing_blocks <= plan.shared_tiles) return w4a16_counter_bytes(plan);  // nothing is cut
  return w4a16_counter_bytes(plan) + std::size_t{2} * plan.sharing_blocks * plan.tile_rows *
                                         kW4a16ColumnsOfBlock * sizeof(float);
}

}  // namespace fleetsim::kernels
