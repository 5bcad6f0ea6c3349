#pragma once
// Philox4x32-10: four random words from a counter and a key, the same on every machine.
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC11), with
// its reference implementation's known answers in tests/kernels. Keyed by request, draws do not
// depend on who shares the batch.

#include "kernels/device/cuda_words.h"

namespace fleetsim::kernels {

/// counter: {x, y, z, w}; key: 64 bits.
FLEETSIM_BOTH uint4 philox(uint4 counter, std::uint64_t key) {
  std::uint32_t key_low = static_cast<std::uint32_t>(key);
  std::uint32_t key_high = static_cast<std::uint32_t>(key >> 32);
  FLEETSIM_UNROLL
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t first = std::uint64_t{0xD2511F53U} * counter.x;
    const std::uint64_t second = std::uint64_t{0xCD9E8D57U} * counter.z;
    counter = {static_cast<std::uint32_t>(second >> 32) ^ counter.y ^ key_low,
               static_cast<std::uint32_t>(second),
               static_cast<std::uint32_t>(first >> 32) ^ counter.w ^ key_high,
               static_cast<std::uint32_t>(first)};
    key_low += 0x9E3779B9U;
    key_high += 0xBB67AE85U;
  }
  return counter;
}

/// A word as a float in (0, 1), never an end: 23 bits and a half, exact in fp32.
FLEETSIM_BOTH float open_unit(std::uint32_t word) {
  return (static_cast<float>(word >> 9) + 0.5F) * 1.1920928955078125e-7F;  // 2^-23
}

}  // namespace fleetsim::kernels
