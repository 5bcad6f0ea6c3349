// A row belongs to a team of whole warps, which hold it in registers (packed bf16) between the sum
// of squares and the output, so that memory is passed once. Short rows share a block.

#include "kernels/device/memory_access.h"
#include "kernels/device/warp.h"
#include "kernels/operators/rms_norm.h"
#include "kernels/operators/row_pieces.h"

namespace fleetsim::kernels {
namespace {

constexpr int kTeamMax = 512;       // threads a row
constexpr int kBlockThreads = 256;  // what teams of short rows fill up together
constexpr int kWarpsOfTeamMax = kTeamMax / kWarpLanes;

/// What the warps of a team leave for each other; two meetings, two places.
struct TeamScratch {
  float sums[kWarpsOfTeamMax], largest[kWarpsOfTeamMax];
};

/// `kVectors` pieces of eight elements a thread.
template <int kVectors>
__global__ void __launch_bounds__(kTeamMax, kVectors <= 2 ? 2 : 1)
    rms_norm_kernel(const __grid_constant__ RmsNormArguments arguments) {
  const int team = static_cast<int>(blockDim.x), own = static_cast<int>(threadIdx.x);
  const int warp = own / kWarpLanes, warps = team / kWarpLanes;
  const int pieces = arguments.hidden / 8;
  const std::int64_t token = std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  const bool row_exists = token < arguments.tokens;  // else the team only keeps the others company
  const std::int64_t row = token * arguments.hidden;
  TeamScratch& scratch = reinterpret_cast<TeamScratch*>(dynamic_shared_memory())[threadIdx.y];

  uint4 weights[kVectors];
  FLEETSIM_UNROLL
  for (int i = 0; i < kVectors; ++i)
    weights[i] = own + i * team < pieces ? load_16(arguments.weight + (own + i * team) * 8)
                                         : uint4{0, 0, 0, 0};
  wait_for_kernel_before();

  uint4 values[kVectors];
  FLEETSIM_UNROLL
  for (int i = 0; i < kVectors; ++i)
    values[i] = row_exists && own + i * team < pieces
                    ? load_16_once(arguments.x + row + (own + i * team) * 8)
                    : uint4{0, 0, 0, 0};
  if (arguments.residual != nullptr && row_exists) {
    uint4 residual[kVectors];
    FLEETSIM_UNROLL
    for (int i = 0; i < kVectors; ++i)
      residual[i] = own + i * team < pieces
                        ? load_16_coherent(arguments.residual + row + (own + i * team) * 8)
                        : uint4{0, 0, 0, 0};
    FLEETSIM_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      float left[8], right[8];
      unpack_bf16_x8(left, values[i]);
      unpack_bf16_x8(right, residual[i]);
      FLEETSIM_UNROLL
      for (int j = 0; j < 8; ++j) left[j] += right[j];
      values[i] = pack_bf16_x8(left);
      if (own + i * team < pieces)
        store_16(arguments.residual + row + (own + i * team) * 8, values[i]);
    }
  }
  let_next_kernel_start();

  float squares = 0;
  FLEETSIM_UNROLL
  for (int i = 0; i < kVectors; ++i) {
    float piece[8];
    unpack_bf16_x8(piece, values[i]);
    FLEETSIM_UNROLL
    for (int j = 0; j < 8; ++j) squares += piece[j] * piece[j];
  }
  squares = warp_sum(squares);
  if (own % kWarpLanes == 0) scratch.sums[warp] = squares;
  sync_block();
  float total = 0;
  for (int i = 0; i < warps; ++i) total += scratch.sums[i];
  const float inverse =
      1.0F / sqrtf(total / static_cast<float>(arguments.hidden) + arguments.epsilon);

  const auto normed = [&](float(&piece)[8], int i) {
    float weight[8];
    unpack_bf16_x8(piece, values[i]);
    unpack_bf16_x8(weight, weights[i]);
    FLEETSIM_UNROLL
    for (int j = 0; j < 8; ++j) piece[j] *= inverse * weight[j];
  };

  float inverse_scale = 1;
  if (arguments.out.token_scales != nullptr) {
    float largest = 0;
    FLEETSIM_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      float piece[8];
      normed(piece, i);
      largest = largest_magnitude(piece, largest);
    }
    largest = warp_max(largest);
    if (own % kWarpLanes == 0) scratch.largest[warp] = largest;
    sync_block();
    for (int i = 0; i < warps; ++i) largest = fmaxf(largest, scratch.largest[i]);
    const float scale = token_scale(largest);
    if (own == 0 && row_exists) arguments.out.token_scales[token] = scale;
    inverse_scale = 1.0F / scale;
  } else if (arguments.out.tensor_scale != nullptr) {
    inverse_scale = 1.0F / *arguments.out.tensor_scale;
  }

  FLEETSIM_UNROLL
  for (int i = 0; i < kVectors; ++i) {
    if (!row_exists || own + i * team >= pieces) continue;
    float piece[8];
    normed(piece, i);
    write_x8(arguments.out, row + (own + i * team) * 8, piece, inverse_scale);
  }
}

template <int kVectors>
void launch_rows(const RmsNormArguments& arguments, Stream stream) {
  const int team = ceil_div(ceil_div(arguments.hidden / 8, kVectors), kWarpLanes) * kWarpLanes;
  CHECK(team <= kTeamMax);
  const int rows = team >= kBlockThreads ? 1 : kBlockThreads / team;
  launch(rms_norm_kernel<kVectors>,
         LaunchShape{.grid = dim3{static_cast<unsigned>(ceil_div(arguments.tokens, rows)), 1, 1},
                     .block = dim3{static_cast<unsigned>(team), static_cast<unsigned>(rows), 1},
                     .shared_bytes = static_cast<std::size_t>(rows) * sizeof(TeamScratch),
                     .stream = stream,
                     .after_trigger = true},
         arguments);
}

}  // namespace

void launch_rms_norm(const RmsNormArguments& arguments, Stream stream) {
  CHECK(arguments.tokens >= 0);
  CHECK(arguments.hidden >= 8 && arguments.hidden <= kRmsNormHiddenMax);
  CHECK(arguments.hidden % 8 == 0);
  CHECK(arguments.out.is_sound());
  if (arguments.tokens == 0) return;
  // wide enough teams that a block has several loads a thread under way, small enough that an SM
  // holds four or more of them
  if (arguments.hidden <= 2048) return launch_rows<1>(arguments, stream);
  if (arguments.hidden <= 8192) return launch_rows<2>(arguments, stream);
  return launch_rows<4>(arguments, stream);
}

}  // namespace fleetsim::kernels
