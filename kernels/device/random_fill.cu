// A thread makes 16 bytes at a time and writes them at once; the elements behind the last 16 bytes
// are written one by one.

#include "kernels/device/memory_access.h"
#include "kernels/device/random_fill.h"

namespace fleetsim::kernels {
namespace {

constexpr unsigned kThreads = 256;

struct FillParameters {
  unsigned char* to;
  std::uint64_t bytes;
  std::uint64_t seed;
  float scale;
};

/// Where 16 bytes hold 4 floats, 8 bf16 or 16 e4m3: their codes from the draws of `index`.
FLEETSIM_DEVICE uint4 sixteen_bytes_of(const float*, const FillParameters& p, std::uint64_t index) {
  const float4 draws = four_normals(p.seed, index);
  return {bits_of(p.scale * draws.x), bits_of(p.scale * draws.y), bits_of(p.scale * draws.z),
          bits_of(p.scale * draws.w)};
}

FLEETSIM_DEVICE uint4 sixteen_bytes_of(const Bf16*, const FillParameters& p, std::uint64_t index) {
  const float4 low = four_normals(p.seed, 2 * index), high = four_normals(p.seed, 2 * index + 1);
  return {pack_bf16(p.scale * low.x, p.scale * low.y), pack_bf16(p.scale * low.z, p.scale * low.w),
          pack_bf16(p.scale * high.x, p.scale * high.y),
          pack_bf16(p.scale * high.z, p.scale * high.w)};
}

FLEETSIM_DEVICE std::uint32_t four_e4m3(const FillParameters& p, std::uint64_t quarter) {
  const float4 draws = four_normals(p.seed, quarter);
  return pack_e4m3(p.scale * draws.x, p.scale * draws.y, p.scale * draws.z, p.scale * draws.w);
}

FLEETSIM_DEVICE uint4 sixteen_bytes_of(const E4m3*, const FillParameters& p, std::uint64_t index) {
  return {four_e4m3(p, 4 * index), four_e4m3(p, 4 * index + 1), four_e4m3(p, 4 * index + 2),
          four_e4m3(p, 4 * index + 3)};
}

FLEETSIM_DEVICE uint4 sixteen_bytes_of(const unsigned char*, const FillParameters& p,
                                       std::uint64_t index) {
  return sixteen_bytes(p.seed, index);
}

template <class T>
__global__ void fill_kernel(FillParameters p) {
  const std::uint64_t pieces = ceil_div<std::uint64_t>(p.bytes, 16);
  const std::uint64_t step = std::uint64_t{gridDim.x} * kThreads;
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * kThreads + threadIdx.x; i < pieces;
       i += step) {
    const uint4 piece = sixteen_bytes_of(static_cast<const T*>(nullptr), p, i);
    if (16 * i + 16 <= p.bytes) {
      store_16(p.to + 16 * i, piece);
      continue;
    }
    const std::uint32_t words[4] = {piece.x, piece.y, piece.z, piece.w};
    FLEETSIM_UNROLL
    for (int byte = 0; byte < 16; ++byte)
      if (16 * i + byte < p.bytes)
        p.to[16 * i + byte] = static_cast<unsigned char>(words[byte / 4] >> (8 * (byte % 4)));
  }
}

template <class T>
void fill(void* to, std::size_t bytes, float scale, std::uint64_t seed, Stream stream) {
  if (bytes == 0) return;
  CHECK(reinterpret_cast<std::uintptr_t>(to) % 16 == 0, "random fill of unaligned memory");
  const std::size_t blocks = ceil_div<std::size_t>(ceil_div<std::size_t>(bytes, 16), kThreads);
  const std::size_t blocks_max = static_cast<std::size_t>(device_facts().sms) * 16;
  const auto grid = static_cast<unsigned>(blocks < blocks_max ? blocks : blocks_max);
  launch(fill_kernel<T>, LaunchShape{{grid, 1, 1}, {kThreads, 1, 1}, 0, stream},
         FillParameters{static_cast<unsigned char*>(to), bytes, seed, scale});
}

}  // namespace

void fill_normal(Bf16* to, std::size_t count, float scale, std::uint64_t seed, Stream stream) {
  fill<Bf16>(to, count * sizeof(Bf16), scale, seed, stream);
}
void fill_normal(E4m3* to, std::size_t count, float scale, std::uint64_t seed, Stream stream) {
  fill<E4m3>(to, count * sizeof(E4m3), scale, seed, stream);
}
void fill_normal(float* to, std::size_t count, float scale, std::uint64_t seed, Stream stream) {
  fill<float>(to, count * sizeof(float), scale, seed, stream);
}
void fill_bytes(void* to, std::size_t bytes, std::uint64_t seed, Stream stream) {
  fill<unsigned char>(to, bytes, 1.0F, seed, stream);
}

}  // namespace fleetsim::kernels
