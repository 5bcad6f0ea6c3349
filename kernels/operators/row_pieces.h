#pragma once
// Pieces of eight elements, 16 bytes of bf16: how row-wise kernels read, weigh and write them.

#include "kernels/device/memory_access.h"
#include "kernels/operators/row_output.h"

namespace fleetsim::kernels {

/// Eight packed bf16 as numbers.
FLEETSIM_DEVICE void unpack_bf16_x8(float (&out)[8], uint4 packed) {
  const std::uint32_t words[4] = {packed.x, packed.y, packed.z, packed.w};
  FLEETSIM_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float2 pair = unpack_bf16(words[i]);
    out[2 * i] = pair.x;
    out[2 * i + 1] = pair.y;
  }
}

FLEETSIM_DEVICE uint4 pack_bf16_x8(const float (&values)[8]) {
  return {pack_bf16(values[0], values[1]), pack_bf16(values[2], values[3]),
          pack_bf16(values[4], values[5]), pack_bf16(values[6], values[7])};
}

/// Writes eight elements from `first` on (a multiple of 8), counted over all rows, as bf16 or, when
/// there are codes, as e4m3 of value * inverse_scale.
FLEETSIM_DEVICE void write_x8(const RowOutput& out, std::int64_t first, const float (&values)[8],
                              float inverse_scale) {
  if (out.codes == nullptr) {
    store_16(out.values + first, pack_bf16_x8(values));
    return;
  }
  float scaled[8];
  FLEETSIM_UNROLL
  for (int i = 0; i < 8; ++i) scaled[i] = values[i] * inverse_scale;
  *reinterpret_cast<uint2*>(out.codes + first) = {
      pack_e4m3(scaled[0], scaled[1], scaled[2], scaled[3]),
      pack_e4m3(scaled[4], scaled[5], scaled[6], scaled[7])};
}

/// Largest magnitude of eight values and `largest`.
FLEETSIM_DEVICE float largest_magnitude(const float (&values)[8], float largest) {
  FLEETSIM_UNROLL
  for (int i = 0; i < 8; ++i) largest = fmaxf(largest, fabsf(values[i]));
  return largest;
}

/// Scale of a token whose largest magnitude is `largest`.
FLEETSIM_DEVICE float token_scale(float largest) {
  return fmaxf(largest / kE4m3Max, kE4m3ScaleMin);
}

}  // namespace fleetsim::kernels
