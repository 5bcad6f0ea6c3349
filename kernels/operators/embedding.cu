// Pieces of eight elements are spread over all threads whatever token they are of.

#include "kernels/device/memory_access.h"
#include "kernels/operators/embedding.h"

namespace fleetsim::kernels {
namespace {

constexpr int kThreads = 256;

/// `kPieces` pieces a thread, side by side with the neighbours'.
template <int kPieces>
__global__ void __launch_bounds__(kThreads)
    embedding_kernel(const __grid_constant__ EmbeddingArguments arguments) {
  const unsigned row_pieces = static_cast<unsigned>(arguments.hidden) / 8;
  const unsigned pieces = static_cast<unsigned>(arguments.tokens) * row_pieces;
  const unsigned first = blockIdx.x * (kThreads * kPieces) + threadIdx.x;
  wait_for_kernel_before();
  uint4 values[kPieces];
  FLEETSIM_UNROLL
  for (int i = 0; i < kPieces; ++i) {
    const unsigned piece = first + i * kThreads;
    values[i] = {0, 0, 0, 0};
    if (piece >= pieces) continue;
    // unsigned: ids before the part wrap to large numbers
    const unsigned row = static_cast<unsigned>(arguments.ids[piece / row_pieces]) -
                         static_cast<unsigned>(arguments.first_id);
    if (row < static_cast<unsigned>(arguments.rows))
      values[i] = load_16(arguments.table + static_cast<std::int64_t>(row) * arguments.hidden +
                          piece % row_pieces * 8);
  }
  let_next_kernel_start();
  FLEETSIM_UNROLL
  for (int i = 0; i < kPieces; ++i) {
    const unsigned piece = first + i * kThreads;
    if (piece < pieces) store_16(arguments.out + static_cast<std::int64_t>(piece) * 8, values[i]);
  }
}

template <int kPieces>
void launch_pieces(const EmbeddingArguments& arguments, Stream stream) {
  const std::int64_t pieces = std::int64_t{arguments.tokens} * (arguments.hidden / 8);
  launch(embedding_kernel<kPieces>,
         LaunchShape{
             .grid = dim3{static_cast<unsigned>(ceil_div(pieces, std::int64_t{kThreads * kPieces})),
                          1, 1},
             .block = dim3{kThreads, 1, 1},
             .stream = stream,
             .after_trigger = true},
         arguments);
}

}  // namespace

void launch_embedding(const EmbeddingArguments& arguments, Stream stream) {
  CHECK(arguments.tokens >= 0 && arguments.rows >= 0);
  CHECK(arguments.hidden >= 8 && arguments.hidden % 8 == 0);
  const std::int64_t pieces = std::int64_t{arguments.tokens} * (arguments.hidden / 8);
  CHECK(pieces < std::int64_t{1} << 31);
  if (arguments.tokens == 0) return;
  // several pieces a thread keep more bytes under way; few pieces rather go to more SMs
  const std::int64_t plenty = std::int64_t{device_facts().sms} * 8 * kThreads * 4;
  if (pieces >= plenty) return launch_pieces<4>(arguments, stream);
  return launch_pieces<1>(arguments, stream);
}

}  // namespace fleetsim::kernels
