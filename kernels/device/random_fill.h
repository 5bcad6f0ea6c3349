#pragma once
// Operands made on the device: normal draws and random bytes by Philox, a function of seed and
// index alone.

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"
#include "kernels/device/philox.h"

namespace fleetsim::kernels {

/// Four independent normal draws (mean 0, variance 1): elements 4 `quarter` to 4 `quarter` + 3 of
/// the sequence of `seed`. Box and Muller 1958 in fp32; |draw| < 5.8.
FLEETSIM_BOTH float4 four_normals(std::uint64_t seed, std::uint64_t quarter) {
  const uint4 words = philox({static_cast<std::uint32_t>(quarter),
                              static_cast<std::uint32_t>(quarter >> 32), 0x6e6f726dU, 0},
                             seed);
  const float first = sqrtf(-2.0F * logf(open_unit(words.x)));
  const float second = sqrtf(-2.0F * logf(open_unit(words.z)));
  float sines[2], cosines[2];
#if defined(__CUDA_ARCH__)
  sincospif(2.0F * open_unit(words.y), &sines[0], &cosines[0]);
  sincospif(2.0F * open_unit(words.w), &sines[1], &cosines[1]);
#else
  const float turn = 6.2831853071795865F;
  sines[0] = sinf(turn * open_unit(words.y)), cosines[0] = cosf(turn * open_unit(words.y));
  sines[1] = sinf(turn * open_unit(words.w)), cosines[1] = cosf(turn * open_unit(words.w));
#endif
  return {first * cosines[0], first * sines[0], second * cosines[1], second * sines[1]};
}

/// Bytes 16 `index` to 16 `index` + 15 of the byte sequence of `seed`.
FLEETSIM_BOTH uint4 sixteen_bytes(std::uint64_t seed, std::uint64_t index) {
  return philox(
      {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), 0x62797465U, 0},
      seed);
}

/// Element i becomes `scale` times draw i of `seed`, rounded to its format. `to` is 16-byte
/// aligned; any count. Errors: CudaError. On a GPU the draws may differ from a host's in the last
/// bits of fp32 (sine and logarithm); a check reads operands back, it does not draw them again.
void fill_normal(Bf16* to, std::size_t count, float scale, std::uint64_t seed, Stream stream);
void fill_normal(E4m3* to, std::size_t count, float scale, std::uint64_t seed, Stream stream);
void fill_normal(float* to, std::size_t count, float scale, std::uint64_t seed, Stream stream);
/// Uniform random bytes, the same on every device. `to` is 16-byte aligned; any count.
void fill_bytes(void* to, std::size_t bytes, std::uint64_t seed, Stream stream);

}  // namespace fleetsim::kernels
