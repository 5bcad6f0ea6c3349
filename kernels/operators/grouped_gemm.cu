// Hopper's way of a GEMM (sm_90a alone): a block of three warpgroups, one of which copies and two
// multiply. A tile is 128 rows of one expert times 256, 128 or 64 columns; the copying thread fills
// a ring of stages (128 bytes along K of rows and weights, by TMA, swizzled), each multiplying
// warpgroup takes 64 rows of the tile and hands a stage back when its products are through. Blocks
// stay, and walk tiles in an order that each finds from the offsets: expert by expert, weights
// first, so that all rows of an expert meet a piece of weights while it is in L2 (in bands of 2048
// rows: more would not stay there themselves). A tile with 64 rows or fewer is copied and
// multiplied by half: when experts have few rows, time is weights from memory, and the second
// warpgroup has nothing to do. Rows of the next expert that come along with the last box are
// multiplied and not stored.
//
// Budget, columns 256: 128 sums a thread of 232 registers; 4 stages of 48 KiB. 128 and 64 columns:
// 6 stages of 32 KiB, 8 of 24. 40 registers for who copies: 40 * 128 + 232 * 256 <= 65536.
// Shared memory begins at a multiple of 1 KiB, and so does each operand of a stage.

#include <cmath>

#include "kernels/device/memory_access.h"
#include "kernels/device/tensor_map.h"
#include "kernels/device/warpgroup.h"
#include "kernels/operators/grouped_gemm.h"

namespace fleetsim::kernels {
namespace {

constexpr int kTileRows = 128, kHalfRows = 64;
constexpr int kPanelBytes = kHalfRows * kPanelRowBytes;
constexpr int kMultiplying = 2;  // warpgroups
constexpr int kThreads = (1 + kMultiplying) * kWarpgroupThreads;
constexpr int kRingBytes = 192 * 1024;

/// The ring for tiles of `kColumns`.
template <int kColumns>
struct Ring {
  static constexpr int kWeightBytes = kColumns * kPanelRowBytes;
  static constexpr int kStageBytes = 2 * kPanelBytes + kWeightBytes;
  static constexpr int kStages = kRingBytes / kStageBytes;

  unsigned char* stages;
  Mbarrier *full, *empty;  // [kStages]

  FLEETSIM_DEVICE explicit Ring(unsigned char* shared)
      : stages(shared),
        full(reinterpret_cast<Mbarrier*>(shared + kRingBytes)),
        empty(full + kStages) {}
  FLEETSIM_DEVICE unsigned char* weights(int stage) const { return stages + stage * kStageBytes; }
  FLEETSIM_DEVICE unsigned char* rows(int stage, int half) const {
    return weights(stage) + kWeightBytes + half * kPanelBytes;
  }
};
constexpr int kBarriersBytes = 256;  // of 16 barriers at most

struct Parameters {
  const std::int32_t* offsets;
  const float *row_scale, *weight_scales;
  Bf16* out;
  int experts, n, steps, column_tiles;
};

/// What all threads of a block know of the groups, in shared memory.
struct Groups {
  int* offsets;     // [experts + 1], in rows
  int* first_tile;  // [experts + 1], in tiles of rows
};

struct Tile {
  int expert, row, rows, column;  // rows: at most kTileRows
  bool last_use;                  // nobody else needs these weights
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDACC__)

/// Fills `groups`; all threads.
FLEETSIM_DEVICE void read_groups(const Groups& groups, const Parameters& parameters) {
  const int thread = static_cast<int>(threadIdx.x), experts = parameters.experts;
  for (int i = thread; i <= experts; i += kThreads) groups.offsets[i] = parameters.offsets[i];
  sync_block();
  if (thread < kWarpLanes) {
    int before = 0;
    for (int first = 0; first < experts; first += kWarpLanes) {
      const int expert = first + thread;
      int tiles = expert < experts
                      ? ceil_div(groups.offsets[expert + 1] - groups.offsets[expert], kTileRows)
                      : 0;
      FLEETSIM_UNROLL
      for (int distance = 1; distance < kWarpLanes; distance *= 2) {
        const int other = shuffle_up(tiles, distance);
        if (thread >= distance) tiles += other;
      }
      if (expert < experts) groups.first_tile[expert + 1] = before + tiles;
      before += shuffle(tiles, kWarpLanes - 1);
    }
    if (thread == 0) groups.first_tile[0] = 0;
  }
  sync_block();
}

FLEETSIM_DEVICE Tile tile_at(int index, int tile_columns, const Groups& groups,
                             const Parameters& parameters) {
  constexpr int kBandTiles = 16;  // of rows
  const int column_tiles = parameters.column_tiles;
  int low = 0, high = parameters.experts;  // the last expert that begins at or before the tile
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (groups.first_tile[middle] * column_tiles <= index)
      low = middle;
    else
      high = middle;
  }
  const int row_tiles = groups.first_tile[low + 1] - groups.first_tile[low];
  const int inside = index - groups.first_tile[low] * column_tiles;
  const int band = inside / (kBandTiles * column_tiles);
  const int band_rows =
      row_tiles - band * kBandTiles < kBandTiles ? row_tiles - band * kBandTiles : kBandTiles;
  const int in_band = inside - band * kBandTiles * column_tiles;
  const int row_tile = band * kBandTiles + in_band % band_rows;
  Tile tile;
  tile.expert = low;
  tile.row = groups.offsets[low] + row_tile * kTileRows;
  const int left = groups.offsets[low + 1] - tile.row;
  tile.rows = left < kTileRows ? left : kTileRows;
  tile.column = in_band / band_rows * tile_columns;
  tile.last_use = row_tile == row_tiles - 1;
  return tile;
}

/// One thread copies all stages of all tiles of this block.
template <class Element, int kColumns>
FLEETSIM_DEVICE void copy_tiles(const Ring<kColumns>& ring, const TensorMap& rows,
                                const TensorMap& weights, const Groups& groups,
                                const Parameters& parameters) {
  constexpr int kStepElements = kPanelRowBytes / static_cast<int>(sizeof(Element));
  const int tiles = groups.first_tile[parameters.experts] * parameters.column_tiles;
  Turn<Ring<kColumns>::kStages> turn;
  for (int index = static_cast<int>(blockIdx.x); index < tiles;
       index += static_cast<int>(gridDim.x)) {
    const Tile tile = tile_at(index, kColumns, groups, parameters);
    const bool whole = tile.rows > kHalfRows;
    const L2Keep keep = tile.last_use ? L2Keep::first_out : L2Keep::normal;
    for (int step = 0; step < parameters.steps; ++step, turn.advance()) {
      barrier_wait(ring.empty + turn.slot, turn.parity ^ 1U);
      Mbarrier* full = ring.full + turn.slot;
      barrier_arrive_expecting(full, Ring<kColumns>::kWeightBytes + (whole ? 2 : 1) * kPanelBytes);
      const int k = step * kStepElements;
      copy_tensor_to_shared(ring.weights(turn.slot), weights, {k, tile.column, tile.expert}, full,
                            keep);
      copy_tensor_to_shared(ring.rows(turn.slot, 0), rows, {k, tile.row}, full);
      if (whole)
        copy_tensor_to_shared(ring.rows(turn.slot, 1), rows, {k, tile.row + kHalfRows}, full);
    }
  }
  let_next_kernel_start();
}

/// Four lanes side by side hold two columns each of four groups of eight: afterwards each holds the
/// eight of one group.
FLEETSIM_DEVICE uint4 gather_in_quad(std::uint32_t (&pairs)[4], int lane) {
  const bool odd = (lane & 1) != 0, high = (lane & 2) != 0;
  const std::uint32_t a = shuffle_xor(odd ? pairs[0] : pairs[1], 1);
  const std::uint32_t b = shuffle_xor(odd ? pairs[2] : pairs[3], 1);
  (odd ? pairs[0] : pairs[1]) = a;
  (odd ? pairs[2] : pairs[3]) = b;
  const std::uint32_t c = shuffle_xor(high ? pairs[0] : pairs[2], 2);
  const std::uint32_t d = shuffle_xor(high ? pairs[1] : pairs[3], 2);
  (high ? pairs[0] : pairs[2]) = c;
  (high ? pairs[1] : pairs[3]) = d;
  return {pairs[0], pairs[1], pairs[2], pairs[3]};
}

/// The rows of this warpgroup that are the expert's own. `first_row`: of the warpgroup, in the
/// tile.
template <int kColumns>
FLEETSIM_DEVICE void store_tile(const float (&sums)[kColumns / 2], float scale, const Tile& tile,
                                int first_row, const Parameters& parameters) {
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroupThreads;
  const int lane = thread % kWarpLanes;
  const int own_row = first_row + thread / kWarpLanes * 16 + lane / 4;
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int row = own_row + 8 * half;
    Bf16* out = parameters.out + static_cast<std::int64_t>(tile.row + row) * parameters.n;
    FLEETSIM_UNROLL
    for (int group = 0; group < kColumns / 32; ++group) {
      std::uint32_t pairs[4];
      FLEETSIM_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int at = 4 * (4 * group + i) + 2 * half;
        pairs[i] = pack_bf16(sums[at] * scale, sums[at + 1] * scale);
      }
      const uint4 eight = gather_in_quad(pairs, lane);
      const int column = tile.column + 32 * group + 8 * (lane % 4);
      if (row < tile.rows && column < parameters.n) store_16(out + column, eight);
    }
  }
}

/// A warpgroup multiplies its half of each tile of this block.
template <class Element, int kColumns>
FLEETSIM_DEVICE void multiply_tiles(const Ring<kColumns>& ring, const Groups& groups,
                                    const Parameters& parameters, int half) {
  const int tiles = groups.first_tile[parameters.experts] * parameters.column_tiles;
  const bool arrives = threadIdx.x % kWarpLanes == 0;  // a lane of each warp hands stages back
  Turn<Ring<kColumns>::kStages> turn;
  float sums[kColumns / 2];
  for (int index = static_cast<int>(blockIdx.x); index < tiles;
       index += static_cast<int>(gridDim.x)) {
    const Tile tile = tile_at(index, kColumns, groups, parameters);
    if (half * kHalfRows >= tile.rows) {
      for (int step = 0; step < parameters.steps; ++step, turn.advance()) {
        barrier_wait(ring.full + turn.slot, turn.parity);  // not before others took the last one
        if (arrives) barrier_arrive(ring.empty + turn.slot);
      }
      continue;
    }
    int last = 0;  // the stage before
    FLEETSIM_NO_UNROLL
    for (int step = 0; step < parameters.steps; ++step, turn.advance()) {
      barrier_wait(ring.full + turn.slot, turn.parity);
      const SharedOperand a = shared_operand(ring.rows(turn.slot, half));
      const SharedOperand b = shared_operand(ring.weights(turn.slot));
      warpgroup_fence();
      FLEETSIM_UNROLL
      for (int part = 0; part < kPanelRowBytes / 32; ++part)
        warpgroup_multiply<Element, kColumns>(sums, a + 32 * part, b + 32 * part,
                                              step > 0 || part > 0);
      warpgroup_commit();
      warpgroup_wait<1>();  // the products of the stage before are through
      if (step > 0 && arrives) barrier_arrive(ring.empty + last);
      last = turn.slot;
    }
    warpgroup_wait<0>();
    keep_behind(sums);
    if (arrives) barrier_arrive(ring.empty + last);
    float scale = 1;
    if constexpr (sizeof(Element) == 1)
      scale = *parameters.row_scale * parameters.weight_scales[tile.expert];
    store_tile<kColumns>(sums, scale, tile, half * kHalfRows, parameters);
  }
}

#endif

template <class Element, int kColumns>
__global__ void __launch_bounds__(kThreads, 1)
    grouped_gemm_kernel(const __grid_constant__ TensorMap rows,
                        const __grid_constant__ TensorMap weights,
                        const __grid_constant__ Parameters parameters) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDACC__)
  unsigned char* shared = dynamic_shared_memory();
  const Ring<kColumns> ring(shared);
  Groups groups;
  groups.offsets = reinterpret_cast<int*>(shared + kRingBytes + kBarriersBytes);
  groups.first_tile = groups.offsets + parameters.experts + 1;
  if (threadIdx.x == 0) {
    prefetch_tensor_map(rows);
    prefetch_tensor_map(weights);
    for (int stage = 0; stage < Ring<kColumns>::kStages; ++stage) {
      barrier_init(ring.full + stage, 1);
      barrier_init(ring.empty + stage, kMultiplying * kWarpgroupThreads / kWarpLanes);
    }
    fence_barrier_init();
  }
  wait_for_kernel_before();
  read_groups(groups, parameters);  // its barriers publish those of the ring, too
  const int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroupThreads;
  if (warpgroup == 0) {
    give_registers<40>();
    if (threadIdx.x == 0) copy_tiles<Element, kColumns>(ring, rows, weights, groups, parameters);
  } else {
    take_registers<232>();
    multiply_tiles<Element, kColumns>(ring, groups, parameters, warpgroup - 1);
  }
#endif
}

template <class Element, int kColumns>
void launch_tiles(const GroupedGemmArguments& arguments, Stream stream) {
  constexpr int kElementBytes = static_cast<int>(sizeof(Element));
  constexpr int kStepElements = kPanelRowBytes / kElementBytes;
  static_assert(2 * Ring<kColumns>::kStages * sizeof(Mbarrier) <= kBarriersBytes);
  const std::int64_t row_bytes = std::int64_t{arguments.k} * kElementBytes;
  TensorShape rows, weights;
  rows.base = arguments.rows;
  rows.element_bytes = weights.element_bytes = kElementBytes;
  rows.rank = 2;
  rows.sizes[0] = weights.sizes[0] = arguments.k;
  rows.sizes[1] = arguments.rows_max;
  rows.strides[1] = weights.strides[1] = row_bytes;
  rows.box[0] = weights.box[0] = kStepElements;
  rows.box[1] = kHalfRows;
  weights.base = arguments.weights;
  weights.rank = 3;
  weights.sizes[1] = arguments.n;
  weights.sizes[2] = arguments.experts;
  weights.strides[2] = row_bytes * arguments.n;
  weights.box[1] = kColumns;
  weights.box[2] = 1;
  const Parameters parameters{arguments.offsets,
                              arguments.row_scale,
                              arguments.weight_scales,
                              arguments.out,
                              arguments.experts,
                              arguments.n,
                              ceil_div(arguments.k, kStepElements),
                              ceil_div(arguments.n, kColumns)};
  const std::int64_t tiles_max = (std::int64_t{arguments.rows_max} / kTileRows +
                                  std::min(arguments.experts, arguments.rows_max)) *
                                 parameters.column_tiles;
  CHECK(tiles_max < std::int64_t{1} << 31);
  const std::int64_t blocks = std::min<std::int64_t>(tiles_max, device_facts().sms);
  launch(grouped_gemm_kernel<Element, kColumns>,
         LaunchShape{
             .grid = dim3{static_cast<unsigned>(blocks), 1, 1},
             .block = dim3{kThreads, 1, 1},
             .shared_bytes = kRingBytes + kBarriersBytes +
                             2 * (static_cast<std::size_t>(arguments.experts) + 1) * sizeof(int),
             .stream = stream,
             .after_trigger = true},
         make_tensor_map(rows), make_tensor_map(weights), parameters);
}

template <class Element>
void launch_format(const GroupedGemmArguments& arguments, Stream stream) {
  const int rows = arguments.rows_expected > 0 ? arguments.rows_expected : arguments.rows_max;
  switch (grouped_gemm_tile_columns(rows, arguments.experts, arguments.n, device_facts().sms)) {
    case 256:
      return launch_tiles<Element, 256>(arguments, stream);
    case 128:
      return launch_tiles<Element, 128>(arguments, stream);
    default:
      return launch_tiles<Element, 64>(arguments, stream);
  }
}

}  // namespace

int grouped_gemm_tile_columns(int rows, int experts, int n, int sms) {
  const double each = rows, all = experts;
  // experts that get any row when rows choose evenly
  const double met = all * -std::expm1(each * std::log1p(-1 / (all + 1e-9)));
  const double rows_of_one = each / met;
  const double row_tiles = met * std::ceil(rows_of_one / kTileRows);
  const double row_bytes = (rows_of_one > kHalfRows ? 2 : 1) * kPanelBytes;
  int best = 256;
  double least = INFINITY;
  for (const int columns : {256, 128, 64}) {
    const double rounds = std::ceil(row_tiles * ceil_div(n, columns) / sms);
    const double bytes = rounds * (row_bytes + columns * kPanelRowBytes);
    if (bytes < least) {
      least = bytes;
      best = columns;
    }
  }
  return best;
}

void launch_grouped_gemm(const GroupedGemmArguments& arguments, Stream stream) {
  const bool bf16 = arguments.format == GroupedFormat::bf16;
  CHECK(arguments.rows_max >= 0 && arguments.rows_expected >= 0);
  CHECK(arguments.experts >= 1 && arguments.experts <= kExpertsMax);
  CHECK(arguments.n >= 8 && arguments.n % 8 == 0);
  CHECK(arguments.k >= 8 && arguments.k % (bf16 ? 8 : 16) == 0);
  CHECK(bf16 || (arguments.row_scale != nullptr && arguments.weight_scales != nullptr));
  if (device_facts().compute_capability != 90)
    throw NotSupportedHere("the grouped GEMM is written for sm_90 (wgmma)");
  if (arguments.rows_max == 0) return;
  if (bf16) return launch_format<Bf16>(arguments, stream);
  return launch_format<E4m3>(arguments, stream);
}

}  // namespace fleetsim::kernels
