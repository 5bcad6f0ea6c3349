// The order is a counting sort over pieces of 1024 (token, slot): a first kernel counts each
// piece's experts, a second adds up what is before its piece and ranks the piece's own. Every block
// of the second reads all counts (128 pieces x 256 experts x 4 bytes lie in L2), which spares a
// third kernel. Ranks come from votes in a fixed order, so that rows of an expert keep the order of
// tokens whatever the schedule. Rows are copied token by token: one read, as many writes as slots.

#include "kernels/device/device_memory.h"
#include "kernels/device/memory_access.h"
#include "kernels/device/warp.h"
#include "kernels/operators/expert_permutation.h"
#include "kernels/operators/row_pieces.h"

namespace fleetsim::kernels {
namespace {

constexpr int kPieceSlots = 1024;
constexpr int kOrderThreads = 512;
constexpr int kOrderWarps = kOrderThreads / kWarpLanes;
constexpr int kRounds = kPieceSlots / kOrderThreads;
static_assert(kOrderThreads >= kExpertsMax, "a thread an expert");

/// The local number of an entry's expert, or -1.
FLEETSIM_DEVICE int local_expert(const ExpertOrderArguments& arguments, int entry, int entries) {
  if (entry >= entries) return -1;
  const int local = arguments.ids[entry] - arguments.first_expert;
  return local >= 0 && local < arguments.local_experts ? local : -1;
}

__global__ void __launch_bounds__(kOrderThreads)
    count_kernel(const __grid_constant__ ExpertOrderArguments arguments) {
  auto* counts = reinterpret_cast<int*>(dynamic_shared_memory());  // [local_experts]
  const int own = static_cast<int>(threadIdx.x), piece = static_cast<int>(blockIdx.x);
  const int entries = arguments.tokens * arguments.experts_per_token;
  if (own < arguments.local_experts) counts[own] = 0;
  sync_block();
  wait_for_kernel_before();
  for (int round = 0; round < kRounds; ++round) {
    const int local =
        local_expert(arguments, piece * kPieceSlots + round * kOrderThreads + own, entries);
    if (local >= 0) atomic_add(counts + local, 1);
  }
  sync_block();
  let_next_kernel_start();
  if (own < arguments.local_experts)
    arguments.workspace[piece * arguments.local_experts + own] = counts[own];
}

/// Sum of the values of the threads before this one. `scratch`: kOrderWarps ints.
FLEETSIM_DEVICE int sum_before(int value, int* scratch) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  int sum = value;
  FLEETSIM_UNROLL
  for (int distance = 1; distance < kWarpLanes; distance *= 2) {
    const int before = shuffle_up(sum, distance);
    if (lane >= distance) sum += before;
  }
  if (lane == kWarpLanes - 1) scratch[warp] = sum;
  sync_block();
  int base = 0;
  for (int i = 0; i < warp; ++i) base += scratch[i];
  return base + sum - value;
}

__global__ void __launch_bounds__(kOrderThreads)
    place_kernel(const __grid_constant__ ExpertOrderArguments arguments, int pieces) {
  const int own = static_cast<int>(threadIdx.x), piece = static_cast<int>(blockIdx.x);
  const int lane = own % kWarpLanes, warp = own / kWarpLanes;
  const int local_experts = arguments.local_experts;
  const int entries = arguments.tokens * arguments.experts_per_token;
  auto* scratch = reinterpret_cast<int*>(dynamic_shared_memory());
  int* next = scratch + kOrderWarps;    // [local_experts]: the next row of each expert
  int* of_warp = next + local_experts;  // [kOrderWarps][local_experts]
  wait_for_kernel_before();

  int all = 0, before = 0;
  if (own < local_experts)
    for (int i = 0; i < pieces; ++i) {
      const int count = arguments.workspace[i * local_experts + own];
      all += count;
      if (i < piece) before += count;
    }
  const int offset = sum_before(all, scratch);
  if (own < local_experts) {
    next[own] = offset + before;
    if (piece == 0) arguments.order.offsets[own] = offset;
    if (piece == 0 && own == local_experts - 1) arguments.order.offsets[own + 1] = offset + all;
  }
  let_next_kernel_start();

  for (int round = 0; round < kRounds; ++round) {
    for (int i = own; i < kOrderWarps * local_experts; i += kOrderThreads) of_warp[i] = 0;
    sync_block();
    const int entry = piece * kPieceSlots + round * kOrderThreads + own;
    const int local = local_expert(arguments, entry, entries);
    int rank = 0, same = 0;  // lanes of the same expert: before this one, all
    for (int other = 0; other < kWarpLanes; ++other) {
      const bool equal = shuffle(local, other) == local;
      same += equal ? 1 : 0;
      rank += equal && other < lane ? 1 : 0;
    }
    if (local >= 0 && rank == 0) of_warp[warp * local_experts + local] = same;
    sync_block();
    // counts of warps become rows of warps
    if (own < local_experts) {
      int row = next[own];
      for (int i = 0; i < kOrderWarps; ++i) {
        const int count = of_warp[i * local_experts + own];
        of_warp[i * local_experts + own] = row;
        row += count;
      }
      next[own] = row;
    }
    sync_block();
    if (entry < entries) {
      const int row = local >= 0 ? of_warp[warp * local_experts + local] + rank : -1;
      arguments.order.row_of_slot[entry] = row;
      if (row >= 0) arguments.order.slot_of_row[row] = entry;
    }
    sync_block();
  }
}

constexpr int kMoveThreads = 256;
constexpr int kVectors = 4;                   // 16 bytes each under way a thread
constexpr int kSpan = kWarpLanes * kVectors;  // of a warp, in pieces of 16 bytes

/// A warp copies 2 KiB of a token's row to all its places.
__global__ void __launch_bounds__(kMoveThreads)
    gather_kernel(const __grid_constant__ RowGatherArguments arguments, int spans) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const std::int64_t unit =
      (static_cast<std::int64_t>(blockIdx.x) * kMoveThreads + threadIdx.x) / kWarpLanes;
  const std::int64_t token = unit / spans;
  if (token >= arguments.tokens) return;
  const int pieces = static_cast<int>(arguments.row_bytes / 16);
  const int first = static_cast<int>(unit % spans) * kSpan + lane;
  const auto* from =
      static_cast<const unsigned char*>(arguments.rows) + token * arguments.row_bytes;
  auto* to = static_cast<unsigned char*>(arguments.out);
  const int picks = arguments.experts_per_token;
  wait_for_kernel_before();
  const int own_row = lane < picks ? arguments.row_of_slot[token * picks + lane] : -1;
  if (vote(own_row >= 0) == 0) return;  // all of it belongs to other ranks
  uint4 values[kVectors];
  FLEETSIM_UNROLL
  for (int i = 0; i < kVectors; ++i) {
    const int piece = first + i * kWarpLanes;
    if (piece < pieces) values[i] = load_16_once(from + std::int64_t{16} * piece);
  }
  let_next_kernel_start();
  for (int slot = 0; slot < picks; ++slot) {
    const std::int64_t row = shuffle(own_row, slot);
    if (row < 0) continue;
    FLEETSIM_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      const int piece = first + i * kWarpLanes;
      if (piece < pieces)
        store_16(to + row * arguments.row_bytes + std::int64_t{16} * piece, values[i]);
    }
  }
}

/// Eight elements of a token a thread.
__global__ void __launch_bounds__(kMoveThreads)
    combine_kernel(const __grid_constant__ RowCombineArguments arguments) {
  const int pieces = arguments.hidden / 8, picks = arguments.experts_per_token;
  const std::int64_t unit = static_cast<std::int64_t>(blockIdx.x) * kMoveThreads + threadIdx.x;
  const std::int64_t token = unit / pieces, column = unit % pieces * 8;
  if (token >= arguments.tokens) return;
  wait_for_kernel_before();
  float sums[8] = {};
  for (int first = 0; first < picks; first += kVectors) {
    uint4 values[kVectors];
    float weights[kVectors];
    FLEETSIM_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      const std::int64_t slot = token * picks + first + i;
      const std::int64_t row = first + i < picks ? arguments.row_of_slot[slot] : -1;
      values[i] = {0, 0, 0, 0};
      weights[i] = 0;
      if (row < 0) continue;
      weights[i] = arguments.weights[slot];
      values[i] = load_16_once(arguments.rows + row * arguments.hidden + column);
    }
    FLEETSIM_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      float row[8];
      unpack_bf16_x8(row, values[i]);
      FLEETSIM_UNROLL
      for (int j = 0; j < 8; ++j) sums[j] += weights[i] * row[j];
    }
  }
  let_next_kernel_start();
  store_16(arguments.out + token * arguments.hidden + column, pack_bf16_x8(sums));
}

int pieces_of(const ExpertOrderArguments& arguments) {
  const std::int64_t entries = std::int64_t{arguments.tokens} * arguments.experts_per_token;
  return static_cast<int>(ceil_div(entries, std::int64_t{kPieceSlots}));
}

LaunchShape spread(std::int64_t threads, Stream stream) {
  const std::int64_t blocks = ceil_div(threads, std::int64_t{kMoveThreads});
  CHECK(blocks < std::int64_t{1} << 31);
  return LaunchShape{.grid = dim3{static_cast<unsigned>(blocks), 1, 1},
                     .block = dim3{kMoveThreads, 1, 1},
                     .stream = stream,
                     .after_trigger = true};
}

}  // namespace

std::size_t expert_order_workspace(const ExpertOrderArguments& arguments) {
  return static_cast<std::size_t>(pieces_of(arguments)) *
         static_cast<std::size_t>(arguments.local_experts);
}

void launch_expert_order(const ExpertOrderArguments& arguments, Stream stream) {
  CHECK(arguments.tokens >= 0 && arguments.experts_per_token >= 1 &&
        arguments.experts_per_token <= kExpertsPerTokenMax);
  CHECK(std::int64_t{arguments.tokens} * arguments.experts_per_token <
        (std::int64_t{1} << 31) - (1 << 16));
  CHECK(arguments.local_experts >= 1 && arguments.local_experts <= kExpertsMax);
  const std::size_t experts = static_cast<std::size_t>(arguments.local_experts);
  const int pieces = pieces_of(arguments);
  if (pieces == 0)
    return device_fill(arguments.order.offsets, 0, (experts + 1) * sizeof(std::int32_t), stream);
  LaunchShape shape{.grid = dim3{static_cast<unsigned>(pieces), 1, 1},
                    .block = dim3{kOrderThreads, 1, 1},
                    .shared_bytes = experts * sizeof(int),
                    .stream = stream,
                    .after_trigger = true};
  launch(count_kernel, shape, arguments);
  shape.shared_bytes = (kOrderWarps + (1 + kOrderWarps) * experts) * sizeof(int);
  launch(place_kernel, shape, arguments, pieces);
}

void launch_row_gather(const RowGatherArguments& arguments, Stream stream) {
  CHECK(arguments.tokens >= 0 && arguments.experts_per_token >= 1 &&
        arguments.experts_per_token <= kExpertsPerTokenMax);
  CHECK(arguments.row_bytes >= 16 && arguments.row_bytes % 16 == 0 &&
        arguments.row_bytes < std::int64_t{1} << 31);
  if (arguments.tokens == 0) return;
  const int spans = static_cast<int>(ceil_div(arguments.row_bytes / 16, std::int64_t{kSpan}));
  launch(gather_kernel, spread(std::int64_t{arguments.tokens} * spans * kWarpLanes, stream),
         arguments, spans);
}

void launch_row_combine(const RowCombineArguments& arguments, Stream stream) {
  CHECK(arguments.tokens >= 0 && arguments.experts_per_token >= 1);
  CHECK(arguments.hidden >= 8 && arguments.hidden % 8 == 0);
  if (arguments.tokens == 0) return;
  launch(combine_kernel, spread(std::int64_t{arguments.tokens} * (arguments.hidden / 8), stream),
         arguments);
}

}  // namespace fleetsim::kernels
