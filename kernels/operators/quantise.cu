// Pieces of eight elements, spread over all threads.

#include "kernels/device/memory_access.h"
#include "kernels/operators/quantise.h"
#include "kernels/operators/row_pieces.h"

namespace fleetsim::kernels {
namespace {

constexpr int kThreads = 256;

/// `kPieces` pieces a thread, side by side with the neighbours'.
template <int kPieces>
__global__ void __launch_bounds__(kThreads)
    quantise_kernel(const __grid_constant__ QuantiseArguments arguments) {
  const auto pieces = static_cast<unsigned>(arguments.count / 8);
  const unsigned first = blockIdx.x * (kThreads * kPieces) + threadIdx.x;
  wait_for_kernel_before();
  const float inverse_scale = 1.0F / *arguments.scale;
  uint4 packed[kPieces];
  FLEETSIM_UNROLL
  for (int i = 0; i < kPieces; ++i) {
    const unsigned piece = first + i * kThreads;
    if (piece < pieces) packed[i] = load_16_once(arguments.values + std::int64_t{piece} * 8);
  }
  let_next_kernel_start();
  RowOutput out;
  out.codes = arguments.codes;
  FLEETSIM_UNROLL
  for (int i = 0; i < kPieces; ++i) {
    const unsigned piece = first + i * kThreads;
    if (piece >= pieces) continue;
    float values[8];
    unpack_bf16_x8(values, packed[i]);
    write_x8(out, std::int64_t{piece} * 8, values, inverse_scale);
  }
}

template <int kPieces>
void launch_pieces(const QuantiseArguments& arguments, Stream stream) {
  launch(quantise_kernel<kPieces>,
         LaunchShape{.grid = dim3{static_cast<unsigned>(ceil_div(arguments.count / 8,
                                                                 std::int64_t{kThreads * kPieces})),
                                  1, 1},
                     .block = dim3{kThreads, 1, 1},
                     .stream = stream,
                     .after_trigger = true},
         arguments);
}

}  // namespace

void launch_quantise(const QuantiseArguments& arguments, Stream stream) {
  CHECK(arguments.count >= 0 && arguments.count % 8 == 0);
  CHECK(arguments.count / 8 < std::int64_t{1} << 31);
  if (arguments.count == 0) return;
  CHECK(arguments.values != nullptr && arguments.codes != nullptr && arguments.scale != nullptr);
  // several pieces a thread keep more bytes under way; few pieces rather go to more SMs
  const std::int64_t plenty = std::int64_t{device_facts().sms} * 8 * kThreads * 2;
  if (arguments.count / 8 >= plenty) return launch_pieces<2>(arguments, stream);
  return launch_pieces<1>(arguments, stream);
}

}  // namespace fleetsim::kernels
