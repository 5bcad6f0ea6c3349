// Where no row needs its maximum, pieces of eight elements are spread over all threads whatever row
// they are of; a scale a token asks for a block a row, which holds its values in registers.

#include "kernels/device/memory_access.h"
#include "kernels/device/warp.h"
#include "kernels/operators/row_pieces.h"
#include "kernels/operators/silu_mul.h"

namespace fleetsim::kernels {
namespace {

constexpr int kPieceThreads = 256;  // of a block without rows
constexpr int kRowThreadsMax = 512;

/// Eight elements; `gates` points at the first gate.
FLEETSIM_DEVICE void activate(float (&out)[8], uint4 gates, uint4 ups) {
  constexpr float kLog2E = 1.44269504F;
  float up[8];
  unpack_bf16_x8(out, gates);
  unpack_bf16_x8(up, ups);
  FLEETSIM_UNROLL
  for (int i = 0; i < 8; ++i) {
    // exp overflows to infinity for very negative gates: its reciprocal is 0, as it should be
    const float sigmoid = reciprocal_fast(1.0F + exp2_fast(-out[i] * kLog2E));
    out[i] *= sigmoid * up[i];
  }
}

FLEETSIM_DEVICE int tokens_of(const SiluMulArguments& arguments) {
  return arguments.tokens_there != nullptr ? *arguments.tokens_there : arguments.tokens;
}

/// `kPieces` pieces a thread, side by side with the neighbours'.
template <int kPieces>
__global__ void __launch_bounds__(kPieceThreads)
    silu_mul_pieces_kernel(const __grid_constant__ SiluMulArguments arguments) {
  const unsigned row_pieces = static_cast<unsigned>(arguments.width) / 8;
  const unsigned first = blockIdx.x * (kPieceThreads * kPieces) + threadIdx.x;
  wait_for_kernel_before();
  const unsigned pieces = static_cast<unsigned>(tokens_of(arguments)) * row_pieces;
  const float inverse_scale =
      arguments.out.tensor_scale != nullptr ? 1.0F / *arguments.out.tensor_scale : 1.0F;
  uint4 gates[kPieces], ups[kPieces];
  FLEETSIM_UNROLL
  for (int i = 0; i < kPieces; ++i) {
    const unsigned piece = first + i * kPieceThreads;
    if (piece >= pieces) continue;
    const Bf16* row =
        arguments.gate_up + static_cast<std::int64_t>(piece / row_pieces) * 2 * arguments.width;
    const unsigned column = piece % row_pieces * 8;
    gates[i] = load_16_once(row + column);
    ups[i] = load_16_once(row + arguments.width + column);
  }
  let_next_kernel_start();
  FLEETSIM_UNROLL
  for (int i = 0; i < kPieces; ++i) {
    const unsigned piece = first + i * kPieceThreads;
    if (piece >= pieces) continue;
    float values[8];
    activate(values, gates[i], ups[i]);
    write_x8(arguments.out, static_cast<std::int64_t>(piece) * 8, values, inverse_scale);
  }
}

/// One row a block, `kVectors` pieces a thread.
template <int kVectors>
__global__ void __launch_bounds__(kRowThreadsMax)
    silu_mul_rows_kernel(const __grid_constant__ SiluMulArguments arguments) {
  const int threads = static_cast<int>(blockDim.x), own = static_cast<int>(threadIdx.x);
  const int pieces = arguments.width / 8;
  const std::int64_t token = blockIdx.x;
  const Bf16* row = arguments.gate_up + token * 2 * arguments.width;
  auto* largest_of_warps = reinterpret_cast<float*>(dynamic_shared_memory());
  wait_for_kernel_before();
  if (token >= tokens_of(arguments)) return;

  uint4 gates[kVectors], ups[kVectors];
  FLEETSIM_UNROLL
  for (int i = 0; i < kVectors; ++i) {
    const int piece = own + i * threads;
    const bool exists = piece < pieces;
    gates[i] = exists ? load_16_once(row + piece * 8) : uint4{0, 0, 0, 0};
    ups[i] = exists ? load_16_once(row + arguments.width + piece * 8) : uint4{0, 0, 0, 0};
  }
  let_next_kernel_start();
  float values[kVectors][8];
  float largest = 0;
  FLEETSIM_UNROLL
  for (int i = 0; i < kVectors; ++i) {
    activate(values[i], gates[i], ups[i]);
    largest = largest_magnitude(values[i], largest);
  }
  largest = warp_max(largest);
  if (own % kWarpLanes == 0) largest_of_warps[own / kWarpLanes] = largest;
  sync_block();
  for (int i = 0; i < threads / kWarpLanes; ++i) largest = fmaxf(largest, largest_of_warps[i]);
  const float scale = token_scale(largest);
  if (own == 0) arguments.out.token_scales[token] = scale;
  FLEETSIM_UNROLL
  for (int i = 0; i < kVectors; ++i) {
    const int piece = own + i * threads;
    if (piece < pieces)
      write_x8(arguments.out, token * arguments.width + piece * 8, values[i], 1.0F / scale);
  }
}

template <int kPieces>
void launch_pieces(const SiluMulArguments& arguments, Stream stream) {
  const std::int64_t pieces = std::int64_t{arguments.tokens} * (arguments.width / 8);
  launch(silu_mul_pieces_kernel<kPieces>,
         LaunchShape{.grid = dim3{static_cast<unsigned>(
                                      ceil_div(pieces, std::int64_t{kPieceThreads * kPieces})),
                                  1, 1},
                     .block = dim3{kPieceThreads, 1, 1},
                     .stream = stream,
                     .after_trigger = true},
         arguments);
}

template <int kVectors>
void launch_rows(const SiluMulArguments& arguments, Stream stream) {
  const int threads = ceil_div(ceil_div(arguments.width / 8, kVectors), kWarpLanes) * kWarpLanes;
  CHECK(threads <= kRowThreadsMax);
  launch(silu_mul_rows_kernel<kVectors>,
         LaunchShape{.grid = dim3{static_cast<unsigned>(arguments.tokens), 1, 1},
                     .block = dim3{static_cast<unsigned>(threads), 1, 1},
                     .shared_bytes = kRowThreadsMax / kWarpLanes * sizeof(float),
                     .stream = stream,
                     .after_trigger = true},
         arguments);
}

}  // namespace

void launch_silu_mul(const SiluMulArguments& arguments, Stream stream) {
  CHECK(arguments.tokens >= 0);
  CHECK(arguments.width >= 8 && arguments.width <= kSiluMulWidthMax && arguments.width % 8 == 0);
  const std::int64_t pieces = std::int64_t{arguments.tokens} * (arguments.width / 8);
  CHECK(pieces < std::int64_t{1} << 31);
  CHECK(arguments.out.is_sound());
  if (arguments.tokens == 0) return;
  if (arguments.out.token_scales != nullptr) {
    if (arguments.width <= 8192) return launch_rows<2>(arguments, stream);
    if (arguments.width <= 16384) return launch_rows<4>(arguments, stream);
    return launch_rows<8>(arguments, stream);
  }
  // several pieces a thread keep more bytes under way; few pieces rather go to more SMs
  const std::int64_t plenty = std::int64_t{device_facts().sms} * 8 * kPieceThreads * 2;
  if (pieces >= plenty) return launch_pieces<2>(arguments, stream);
  return launch_pieces<1>(arguments, stream);
}

}  // namespace fleetsim::kernels
