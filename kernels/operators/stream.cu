// A block streams one tile of 32 KiB: 256 threads with eight accesses of 16 bytes each, all issued
// before the first is used. With six blocks on an SM that is up to 192 KiB under way, several
// times what latency x bandwidth asks for (kernels-and-cost-models §5.2: 29 KB an SM on an H200).

#include "kernels/device/memory_access.h"
#include "kernels/device/warp.h"
#include "kernels/operators/stream.h"

namespace fleetsim::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kAccesses = 8;  // of 16 bytes, a thread
constexpr std::uint64_t kTilePieces = std::uint64_t{kThreads} * kAccesses;
constexpr std::size_t kBytesMax = std::size_t{1} << 40;  // the grid is counted in 32 bits

struct StreamParameters {
  const unsigned char* from;
  unsigned char* to;
  std::uint64_t pieces;  // of 16 bytes
  std::uint32_t* sum;
  StreamPattern pattern;
};

/// Piece of this thread's access `access`; threads side by side touch bytes side by side.
FLEETSIM_DEVICE std::uint64_t piece_of(int access) {
  return std::uint64_t{blockIdx.x} * kTilePieces + static_cast<unsigned>(access * kThreads) +
         threadIdx.x;
}

/// True when the whole tile lies within the stream: no access needs a test of its own.
FLEETSIM_DEVICE bool tile_is_whole(const StreamParameters& p) {
  return (std::uint64_t{blockIdx.x} + 1) * kTilePieces <= p.pieces;
}

/// This thread's pieces of the tile; zeros behind the end of the stream.
FLEETSIM_DEVICE void load_tile(const StreamParameters& p, uint4 (&pieces)[kAccesses]) {
  if (tile_is_whole(p)) {
    FLEETSIM_UNROLL
    for (int i = 0; i < kAccesses; ++i) pieces[i] = load_16_once(p.from + 16 * piece_of(i));
    return;
  }
  FLEETSIM_UNROLL
  for (int i = 0; i < kAccesses; ++i)
    pieces[i] =
        piece_of(i) < p.pieces ? load_16_once(p.from + 16 * piece_of(i)) : uint4{0, 0, 0, 0};
}

FLEETSIM_DEVICE void store_tile(const StreamParameters& p, const uint4 (&pieces)[kAccesses]) {
  const bool whole = tile_is_whole(p);
  FLEETSIM_UNROLL
  for (int i = 0; i < kAccesses; ++i)
    if (whole || piece_of(i) < p.pieces) store_16_once(p.to + 16 * piece_of(i), pieces[i]);
}

__global__ void __launch_bounds__(kThreads) stream_write_kernel(StreamParameters p) {
  uint4 pieces[kAccesses];
  FLEETSIM_UNROLL
  for (int i = 0; i < kAccesses; ++i) {
    const std::uint64_t word = 4 * piece_of(i);
    pieces[i] = {pattern_word(p.pattern, word), pattern_word(p.pattern, word + 1),
                 pattern_word(p.pattern, word + 2), pattern_word(p.pattern, word + 3)};
  }
  store_tile(p, pieces);
}

__global__ void __launch_bounds__(kThreads) stream_read_kernel(StreamParameters p) {
  uint4 pieces[kAccesses];
  load_tile(p, pieces);
  std::uint32_t sum = 0;
  FLEETSIM_UNROLL
  for (int i = 0; i < kAccesses; ++i) sum += pieces[i].x + pieces[i].y + pieces[i].z + pieces[i].w;
  FLEETSIM_UNROLL
  for (int distance = kWarpLanes / 2; distance > 0; distance /= 2)
    sum += shuffle_xor(sum, distance);

  auto* sums = reinterpret_cast<std::uint32_t*>(dynamic_shared_memory());
  if (threadIdx.x % kWarpLanes == 0) sums[threadIdx.x / kWarpLanes] = sum;
  sync_block();
  if (threadIdx.x != 0) return;
  std::uint32_t tile_sum = 0;
  for (int warp = 0; warp < kThreads / kWarpLanes; ++warp) tile_sum += sums[warp];
  atomic_add(p.sum, tile_sum);
}

__global__ void __launch_bounds__(kThreads) stream_copy_kernel(StreamParameters p) {
  uint4 pieces[kAccesses];
  load_tile(p, pieces);
  store_tile(p, pieces);
}

void launch_stream(void (*kernel)(StreamParameters), const StreamParameters& parameters,
                   std::size_t bytes, std::size_t shared_bytes, Stream stream) {
  CHECK(bytes % 16 == 0 && bytes <= kBytesMax, std::to_string(bytes) + " bytes");
  CHECK((reinterpret_cast<std::uintptr_t>(parameters.from) |
         reinterpret_cast<std::uintptr_t>(parameters.to)) %
                16 ==
            0,
        "a stream of unaligned memory");
  if (bytes == 0) return;
  const auto tiles = static_cast<unsigned>(ceil_div(parameters.pieces, kTilePieces));
  launch(kernel, LaunchShape{{tiles, 1, 1}, {kThreads, 1, 1}, shared_bytes, stream}, parameters);
}

}  // namespace

std::uint32_t pattern_sum(StreamPattern pattern, std::uint64_t words) {
  // words (words - 1) / 2 modulo 2^32: halve the even factor first, then wrap
  const std::uint64_t even = words % 2 == 0 ? words / 2 : words;
  const std::uint64_t odd = words % 2 == 0 ? words - 1 : (words - 1) / 2;
  const auto steps = static_cast<std::uint32_t>(even * odd);
  return static_cast<std::uint32_t>(words) * pattern.first + steps * pattern.step;
}

void launch_stream_write(void* to, std::size_t bytes, StreamPattern pattern, Stream stream) {
  launch_stream(stream_write_kernel,
                {nullptr, static_cast<unsigned char*>(to), bytes / 16, nullptr, pattern}, bytes, 0,
                stream);
}

void launch_stream_read(const void* from, std::size_t bytes, std::uint32_t* sum, Stream stream) {
  launch_stream(stream_read_kernel,
                {static_cast<const unsigned char*>(from), nullptr, bytes / 16, sum, {}}, bytes,
                kThreads / kWarpLanes * sizeof(std::uint32_t), stream);
}

void launch_stream_copy(void* to, const void* from, std::size_t bytes, Stream stream) {
  launch_stream(stream_copy_kernel,
                {static_cast<const unsigned char*>(from),
                 static_cast<unsigned char*>(to),
                 bytes / 16,
                 nullptr,
                 {}},
                bytes, 0, stream);
}

}  // namespace fleetsim::kernels
