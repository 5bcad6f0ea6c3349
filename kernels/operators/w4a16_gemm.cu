// The idea: eight warps, each 64 output columns wide, walk along K in stages of one group (128
// inputs). A stage is copied to shared memory by cp.async: activations, and weights in the order of
// w4a16_tiles.h, in which a lane's 16 bytes are its B fragments of eight mma of one 16-deep step.
// Codes become bf16 without a conversion: a code in the low mantissa bits of 128.0 (0x4300) is
// 128 + code, exactly; subtracting 128 + zero is exact as well; the scale is then one rounded
// multiplication. The ring of stages runs on across the pieces of a block, so that the memory keeps
// busy while sums go out.

#include "kernels/device/async_copy.h"
#include "kernels/device/memory_access.h"
#include "kernels/device/number_formats.h"
#include "kernels/device/tensor_core.h"
#include "kernels/device/warp.h"
#include "kernels/operators/w4a16_gemm.h"
#include "kernels/operators/w4a16_stages.h"

namespace fleetsim::kernels {
namespace {

struct Parameters {
  const Bf16* activations;
  const std::uint8_t* weights;
  Bf16* out;
  unsigned* counters;  // [shared_tiles], zero between launches
  float* slots;        // [2 * sharing_blocks][tile_rows][256]
  int m, n, k;
  W4a16Plan plan;
};

/// Walks a block's groups, piece after piece.
struct Cursor {
  int piece = 0;  // its index
  int group = 0, group_end = 0;

  FLEETSIM_DEVICE bool valid() const { return group < group_end; }
  /// Goes to the first group of the piece `index`; true when there is one.
  FLEETSIM_DEVICE bool enter(const W4a16Plan& plan, int index, W4a16Piece& found) {
    piece = index;
    const bool exists = w4a16_piece(plan, static_cast<int>(blockIdx.x), index, found);
    group = exists ? found.group_begin : 0;
    group_end = exists ? found.group_end : 0;
    return exists;
  }
};

/// A cursor that knows where its operands stand.
struct LoadCursor : Cursor {
  W4a16TilePlace place;

  FLEETSIM_DEVICE void begin(const W4a16Plan& plan, int index) {
    W4a16Piece found;
    if (enter(plan, index, found)) place = w4a16_tile_place(plan, found.tile);
  }
  FLEETSIM_DEVICE void advance(const W4a16Plan& plan) {
    if (++group == group_end) begin(plan, piece + 1);
  }
};

FLEETSIM_DEVICE std::uint32_t both_halves(std::uint32_t low_half) {
  return (low_half & 0xffffU) | low_half << 16;
}

/// Scales and zero points of a lane's eight mma columns, ready for pairs.
struct GroupConstants {
  std::uint32_t scale[8];
  std::uint32_t minus_offset[8];  // -(128 + zero): 0xC300 is -128, its low bits count ones
};

FLEETSIM_DEVICE void read_constants(GroupConstants& constants, const unsigned char* tile, int g) {
  const uint4 scales = *reinterpret_cast<const uint4*>(tile + kW4a16CodeBytes + g * 16);
  const std::uint32_t zeros =
      *reinterpret_cast<const std::uint32_t*>(tile + kW4a16CodeBytes + kW4a16ScaleBytes + g * 4);
  const std::uint32_t pairs[4] = {scales.x, scales.y, scales.z, scales.w};
  FLEETSIM_UNROLL
  for (int j = 0; j < 8; ++j) {
    constants.scale[j] = both_halves(pairs[j / 2] >> (16 * (j % 2)));
    constants.minus_offset[j] = both_halves(0xC300U | (zeros >> (4 * j) & 0xfU));
  }
}

/// Bits 0 to 3 and 16 to 19 of `codes` as two weights.
FLEETSIM_DEVICE std::uint32_t dequantise(std::uint32_t codes, std::uint32_t minus_offset,
                                         std::uint32_t scale) {
  constexpr std::uint32_t kOnes = 0x3f803f80U, kMinusZeros = 0x80008000U;
  const std::uint32_t raised = (codes & 0x000f000fU) | 0x43004300U;  // one lop3
  return fma_bf16x2(fma_bf16x2(raised, kOnes, minus_offset), scale, kMinusZeros);
}

/// Each of the four tiles is copied by the two warps that will read it.
template <class Stages>
FLEETSIM_DEVICE void load_weights(const Parameters& params, const LoadCursor& at,
                                  unsigned char* stage) {
  constexpr int kPieces = kW4a16TileBytes / 16, kCopiers = 2 * kWarpLanes;
  static_assert(Stages::kThreads == kCopiers * Stages::kWeightTiles);
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  const int tile = warp % Stages::kWeightTiles;
  const int copier =
      static_cast<int>(threadIdx.x) % kWarpLanes + warp / Stages::kWeightTiles * kWarpLanes;
  const int column_block = at.place.column_tile * Stages::kWeightTiles + tile;
  const bool valid = column_block * kW4a16TileColumns < params.n;
  const std::size_t tile_number =
      static_cast<std::size_t>(valid ? column_block : 0) * params.plan.groups + at.group;
  const std::uint8_t* from = params.weights + tile_number * kW4a16TileBytes + copier * 16;
  unsigned char* to = stage + Stages::kActivationBytes + tile * kW4a16TileBytes + copier * 16;
  FLEETSIM_UNROLL
  for (int piece = 0; piece < kPieces; piece += kCopiers)
    if (piece + kCopiers <= kPieces || copier < kPieces - piece)
      copy_async_16(to + piece * 16, from + piece * 16, valid);
}

template <class Stages>
FLEETSIM_DEVICE void load_activations(const Parameters& params, const LoadCursor& at,
                                      unsigned char* stage) {
  const int first_row = at.place.row_tile * Stages::kTileRows;
  const int chunk = static_cast<int>(threadIdx.x) % 16;
  FLEETSIM_UNROLL
  for (int begin = 0; begin < Stages::kTileRows; begin += Stages::kThreads / 16) {
    const int row = begin + static_cast<int>(threadIdx.x) / 16;
    const bool valid = first_row + row < params.m;
    const Bf16* from = params.activations +
                       static_cast<std::size_t>(valid ? first_row + row : 0) * params.k +
                       at.group * kInt4Group + chunk * 8;
    copy_async_16(stage + row * (kInt4Group * 2) + (chunk ^ row % 8) * 16, from, valid);
  }
}

/// sums += activations x weights, 16 inputs deep. `rows`: this lane's row of the activations' first
/// 16; `tile`: the warp's weights.
template <class Stages>
FLEETSIM_DEVICE void multiply_step(float (&sums)[Stages::kWarpRows / 16][8][4],
                                   const GroupConstants& constants, const unsigned char* rows,
                                   const unsigned char* tile, int step) {
  constexpr int kRowBlocks = Stages::kWarpRows / 16;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const uint4 read = *reinterpret_cast<const uint4*>(tile + (step * kWarpLanes + lane) * 16);
  const std::uint32_t words[4] = {read.x, read.y, read.z, read.w};
  std::uint32_t left[kRowBlocks][4];
  FLEETSIM_UNROLL
  for (int block = 0; block < kRowBlocks; ++block)
    load_matrix_x4(left[block],
                   rows + block * 16 * (kInt4Group * 2) + ((2 * step + lane / 16) ^ lane % 8) * 16);
  FLEETSIM_UNROLL
  for (int column = 0; column < 8; ++column) {
    const std::uint32_t codes = words[column / 2] >> (8 * (column % 2));
    const std::uint32_t right[2] = {
        dequantise(codes, constants.minus_offset[column], constants.scale[column]),
        dequantise(codes >> 4, constants.minus_offset[column], constants.scale[column])};
    FLEETSIM_UNROLL
    for (int block = 0; block < kRowBlocks; ++block)
      mma_bf16(sums[block][column], left[block], right);
  }
}

/// sums += activations x weights of one stage, this warp's part.
template <class Stages>
FLEETSIM_DEVICE void multiply_stage(float (&sums)[Stages::kWarpRows / 16][8][4],
                                    const unsigned char* stage) {
  constexpr int kSteps = kInt4Group / 16 / Stages::kDepthWarps;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  const int half = warp / Stages::kColumnWarps;  // of the rows or of the depth
  const int first_row = Stages::kRowWarps == 2 ? half * Stages::kWarpRows : 0;
  const int first_step = Stages::kDepthWarps == 2 ? half * kSteps : 0;
  const unsigned char* tile =
      stage + Stages::kActivationBytes + warp % Stages::kColumnWarps * kW4a16TileBytes;
  // first_row and blocks are multiples of 8: this lane's rows are lane % 8 modulo 8
  const unsigned char* rows = stage + (first_row + lane % 16) * (kInt4Group * 2);
  GroupConstants constants;
  read_constants(constants, tile, lane / 4);
  // few steps at a time: more would take the registers of the sums
  FLEETSIM_NO_UNROLL
  for (int first = first_step; first < first_step + kSteps; first += Stages::kStepsAtOnce) {
    FLEETSIM_UNROLL
    for (int i = 0; i < Stages::kStepsAtOnce; ++i)
      multiply_step<Stages>(sums, constants, rows, tile, first + i);
  }
}

/// The loops over fragments are unrolled: sums stay in registers.
template <class Stages>
FLEETSIM_DEVICE void clear(float (&sums)[Stages::kWarpRows / 16][8][4]) {
  FLEETSIM_UNROLL
  for (int i = 0; i < Stages::kWarpRows / 16 * 8 * 4; ++i) sums[i / 32][i / 4 % 8][i % 4] = 0;
}

FLEETSIM_DEVICE uint4 to_bf16_x8(const float* from) {
  return {pack_bf16(from[0], from[1]), pack_bf16(from[2], from[3]), pack_bf16(from[4], from[5]),
          pack_bf16(from[6], from[7])};
}

/// Adds up a tile's parts in the order of K and writes it.
template <class Stages>
FLEETSIM_DEVICE void sum_parts(const Parameters& params, int shared_tile) {
  const W4a16Contributors parts = w4a16_contributors(params.plan, shared_tile);
  const W4a16TilePlace place = w4a16_tile_place(params.plan, params.plan.whole_tiles + shared_tile);
  const int first_row = place.row_tile * Stages::kTileRows;
  const int first_column = place.column_tile * kW4a16ColumnsOfBlock;
  const int rows =
      params.m - first_row < Stages::kTileRows ? params.m - first_row : Stages::kTileRows;
  for (int i = static_cast<int>(threadIdx.x); i < rows * 32; i += Stages::kThreads) {
    const int column = first_column + i % 32 * 8;
    if (column >= params.n) continue;
    float total[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int block = parts.first; block <= parts.last; ++block) {
      const float* slot =
          params.slots + (static_cast<std::size_t>(w4a16_slot_of(params.plan, shared_tile, block)) *
                              Stages::kTileRows * kW4a16ColumnsOfBlock +
                          i * 8);
      const uint4 low = load_16_coherent(slot), high = load_16_coherent(slot + 4);
      const std::uint32_t words[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
      FLEETSIM_UNROLL
      for (int j = 0; j < 8; ++j) total[j] += float_of_bits(words[j]);
    }
    store_16(params.out + static_cast<std::size_t>(first_row + i / 32) * params.n + column,
             to_bf16_x8(total));
  }
}

/// Puts this warp's sums of a chunk of rows, from its block `first_block` on, into the staging, or
/// adds them to what stands there.
template <class Stages>
FLEETSIM_DEVICE void stage_rows(float* staging, const float (&sums)[Stages::kWarpRows / 16][8][4],
                                int first_block, bool add) {
  constexpr int kStride = Stages::kStagingStride;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  float* own =
      staging + lane / 4 * kStride + warp % Stages::kColumnWarps * kW4a16TileColumns + lane % 4 * 2;
  FLEETSIM_UNROLL
  for (int i = 0; i < Stages::kStagingRows / 16 * 16; ++i) {
    const int block = i / 16, column = i / 2 % 8, lower = i % 2;
    auto* to = reinterpret_cast<float2*>(own + (block * 16 + lower * 8) * kStride + column * 8);
    float2 value = {sums[first_block + block][column][lower * 2],
                    sums[first_block + block][column][lower * 2 + 1]};
    if (add) {
      const float2 there = *to;
      value = {value.x + there.x, value.y + there.y};
    }
    *to = value;
  }
}

/// Takes the block's sums out: warps of the deeper half are added to those of the upper, then rows
/// go to the output, or, as a part of a tile, to the piece's slot. The block whose part is the last
/// adds all.
template <class Stages>
FLEETSIM_DEVICE void write_piece(const Parameters& params, const W4a16Piece& piece,
                                 const float (&sums)[Stages::kWarpRows / 16][8][4],
                                 unsigned char* shared) {
  constexpr int kStride = Stages::kStagingStride;
  auto* staging = reinterpret_cast<float*>(shared + Stages::kStagingOffset);
  const int half = static_cast<int>(threadIdx.x) / kWarpLanes / Stages::kColumnWarps;
  const W4a16TilePlace place = w4a16_tile_place(params.plan, piece.tile);
  const int first_column = place.column_tile * kW4a16ColumnsOfBlock;
  const bool whole = piece.is_whole(params.plan);

  FLEETSIM_UNROLL
  for (int chunk = 0; chunk < Stages::kTileRows / Stages::kStagingRows; ++chunk) {
    // of a warp that holds the chunk's rows: which of its blocks of 16 rows is the chunk's first
    const int first_block = chunk * (Stages::kStagingRows / 16) % (Stages::kWarpRows / 16);
    FLEETSIM_UNROLL
    for (int turn = Stages::kDepthWarps - 1; turn >= 0; --turn) {
      const int holder =
          Stages::kDepthWarps == 2 ? turn : chunk * Stages::kStagingRows / Stages::kWarpRows;
      if (half == holder)
        stage_rows<Stages>(staging, sums, first_block, Stages::kDepthWarps == 2 && turn == 0);
      sync_block();
    }
    for (int i = static_cast<int>(threadIdx.x); i < Stages::kStagingRows * 32;
         i += Stages::kThreads) {
      const int row = chunk * Stages::kStagingRows + i / 32;
      const int global_row = place.row_tile * Stages::kTileRows + row;
      const int column = first_column + i % 32 * 8;
      if (global_row >= params.m || column >= params.n) continue;
      const float* from = staging + i / 32 * kStride + i % 32 * 8;
      if (whole) {
        store_16(params.out + static_cast<std::size_t>(global_row) * params.n + column,
                 to_bf16_x8(from));
      } else {
        auto* to = reinterpret_cast<uint4*>(
            params.slots +
            (static_cast<std::size_t>(piece.slot) * Stages::kTileRows + row) *
                kW4a16ColumnsOfBlock +
            i % 32 * 8);
        store_16(to, *reinterpret_cast<const uint4*>(from));
        store_16(to + 1, *reinterpret_cast<const uint4*>(from + 4));
      }
    }
    sync_block();
  }
  if (whole) return;

  const int shared_tile = piece.tile - params.plan.whole_tiles;
  auto* is_last = reinterpret_cast<int*>(shared + Stages::kFlagOffset);
  fence_device();
  sync_block();
  if (threadIdx.x == 0) {
    const W4a16Contributors parts = w4a16_contributors(params.plan, shared_tile);
    const unsigned before = add_release(params.counters + shared_tile, 1);
    *is_last = before == static_cast<unsigned>(parts.last - parts.first) ? 1 : 0;
    if (*is_last != 0) params.counters[shared_tile] = 0;  // for the next launch
  }
  sync_block();
  if (*is_last != 0) {
    fence_device();
    sum_parts<Stages>(params, shared_tile);
  }
}

template <class Stages>
__global__ void __launch_bounds__(Stages::kThreads, Stages::kBlocksOfSm)
    w4a16_gemm_kernel(const __grid_constant__ Parameters params) {
  unsigned char* shared = dynamic_shared_memory();
  const W4a16Plan& plan = params.plan;
  constexpr int kAhead = Stages::kStages - 1;

  // weights do not depend on the kernel before; activations do
  LoadCursor loading;
  loading.begin(plan, 0);
  for (int i = 0; i < kAhead && loading.valid(); ++i) {
    load_weights<Stages>(params, loading, shared + i * Stages::kStageBytes);
    loading.advance(plan);
  }
  wait_for_kernel_before();
  loading.begin(plan, 0);
  for (int i = 0; i < kAhead; ++i) {
    if (loading.valid()) {
      load_activations<Stages>(params, loading, shared + i * Stages::kStageBytes);
      loading.advance(plan);
    }
    copy_async_commit();
  }

  float sums[Stages::kWarpRows / 16][8][4];
  clear<Stages>(sums);
  int stage = 0;
  W4a16Piece piece;
  Cursor at;
  at.enter(plan, 0, piece);
  while (at.valid()) {
    copy_async_wait<kAhead - 1>();
    sync_block();  // this stage is there for all, and all have left the one before it
    if (loading.valid()) {
      unsigned char* before =
          shared + (stage == 0 ? Stages::kStages - 1 : stage - 1) * Stages::kStageBytes;
      load_weights<Stages>(params, loading, before);
      load_activations<Stages>(params, loading, before);
      loading.advance(plan);
    }
    copy_async_commit();
    multiply_stage<Stages>(sums, shared + stage * Stages::kStageBytes);
    stage = stage + 1 == Stages::kStages ? 0 : stage + 1;
    if (++at.group < at.group_end) continue;

    // computed anew: kept through the loop, it would take registers from the sums
    const int index = at.piece;
    w4a16_piece(plan, static_cast<int>(blockIdx.x), index, piece);
    if (!loading.valid()) let_next_kernel_start();
    write_piece<Stages>(params, piece, sums, shared);
    clear<Stages>(sums);
    at.enter(plan, index + 1, piece);
  }
}

template <int kRows>
void launch_tiles(const Parameters& params, Stream stream) {
  using Stages = W4a16Stages<kRows>;
  launch(w4a16_gemm_kernel<Stages>,
         LaunchShape{.grid = dim3{static_cast<unsigned>(params.plan.blocks), 1, 1},
                     .block = dim3{Stages::kThreads, 1, 1},
                     .shared_bytes = Stages::kSharedBytes,
                     .stream = stream,
                     .after_trigger = true},
         params);
}

}  // namespace

W4a16Plan plan_w4a16_gemm(int m, int n, int k) {
  const DeviceFacts& facts = device_facts();
  return plan_w4a16_gemm(m, n, k, W4a16Device{facts.sms, facts.shared_bytes_max});
}

void launch_w4a16_gemm(const W4a16GemmArguments& arguments, const W4a16Plan& plan, Stream stream) {
  CHECK(arguments.m >= 0 && arguments.n % kW4a16TileColumns == 0 && arguments.k % kInt4Group == 0);
  if (arguments.m == 0 || arguments.n == 0) return;
  CHECK(plan.row_tiles == ceil_div(arguments.m, plan.tile_rows));
  CHECK(plan.column_tiles == ceil_div(arguments.n, kW4a16ColumnsOfBlock));
  CHECK(plan.groups == arguments.k / kInt4Group);
  Parameters params{};
  params.activations = arguments.activations;
  params.weights = arguments.weights;
  params.out = arguments.out;
  params.counters = static_cast<unsigned*>(arguments.workspace);
  params.slots = reinterpret_cast<float*>(static_cast<unsigned char*>(arguments.workspace) +
                                          w4a16_counter_bytes(plan));
  params.m = arguments.m;
  params.n = arguments.n;
  params.k = arguments.k;
  params.plan = plan;
  switch (plan.tile_rows) {
    case 16:
      return launch_tiles<16>(params, stream);
    case 32:
      return launch_tiles<32>(params, stream);
    case 64:
      return launch_tiles<64>(params, stream);
    default:
      CHECK(plan.tile_rows == 128);
      return launch_tiles<128>(params, stream);
  }
}

}  // namespace fleetsim::kernels
