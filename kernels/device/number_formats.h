#pragma once
// bf16, fp16, fp8 e4m3 and int4 as bits, and their conversions: rounding to nearest even on both
// sides.
//
// Sources: IEEE 754 binary16; bfloat16 = upper half of binary32; e4m3 of "FP8 Formats for Deep
// Learning" (Micikevicius et al. 2022): bias 7, no infinities, 0x7F is NaN, largest 448, smallest
// 2^-9.

#include <cmath>
#include <cstring>

#include "kernels/device/cuda_words.h"

namespace fleetsim::kernels {

struct Bf16 {
  std::uint16_t bits;
};
struct Half {
  std::uint16_t bits;
};
/// fp8 e4m3; values beyond ±448 saturate when converted to it.
struct E4m3 {
  std::uint8_t bits;
};
inline constexpr float kE4m3Max = 448.0F;

FLEETSIM_BOTH std::uint32_t bits_of(float value) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(value);
#else
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
#endif
}

FLEETSIM_BOTH float float_of_bits(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

FLEETSIM_BOTH float to_float(Bf16 value) {
  return float_of_bits(static_cast<std::uint32_t>(value.bits) << 16);
}

FLEETSIM_BOTH Bf16 to_bf16(float value) {
  const std::uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return {0x7fff};  // NaN, as the device's cvt makes it
  return {static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16)};
}

/// Two in a register, `low` in the lower half, as tensor cores take them.
FLEETSIM_BOTH std::uint32_t pack_bf16(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#else
  return to_bf16(low).bits | static_cast<std::uint32_t>(to_bf16(high).bits) << 16;
#endif
}

FLEETSIM_BOTH float2 unpack_bf16(std::uint32_t packed) {
  return {float_of_bits(packed << 16), float_of_bits(packed & 0xffff0000U)};
}

/// a b + c on two packed bf16 each, rounded once. (The host rounds twice where a b + c is not exact
/// in fp32; products alone, and sums of integers below 2^24, are.)
FLEETSIM_BOTH std::uint32_t fma_bf16x2(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t out;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
  return out;
#else
  const float2 left = unpack_bf16(a), right = unpack_bf16(b), added = unpack_bf16(c);
  return pack_bf16(left.x * right.x + added.x, left.y * right.y + added.y);
#endif
}

FLEETSIM_BOTH float to_float(Half value) {
#if defined(__CUDA_ARCH__)
  float out;
  asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(value.bits));
  return out;
#else
  const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000U) << 16;
  const std::uint32_t exponent = (value.bits >> 10) & 0x1fU, fraction = value.bits & 0x3ffU;
  if (exponent == 31) return float_of_bits(sign | 0x7f800000U | fraction << 13);
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 5.9604644775390625e-8F;
    return sign != 0 ? -magnitude : magnitude;
  }
  return float_of_bits(sign | (exponent + 112U) << 23 | fraction << 13);
#endif
}

FLEETSIM_BOTH Half to_half(float value) {
#if defined(__CUDA_ARCH__)
  Half out;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
  return out;
#else
  const std::uint32_t bits = bits_of(value);
  const std::uint16_t sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return {0x7fff};
  if (magnitude >= 0x477ff000U) return {static_cast<std::uint16_t>(sign | 0x7c00U)};  // >= 65520
  if (magnitude < 0x38800000U) {  // below 2^-14: a multiple of 2^-24
    const float scaled = float_of_bits(magnitude) * 16777216.0F;
    return {static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(std::nearbyint(scaled)))};
  }
  const std::uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13) & 1U);
  return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13))};
#endif
}

FLEETSIM_BOTH std::uint32_t pack_half(float low, float high) {
#if defined(__CUDA_ARCH__)
  std::uint32_t packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#else
  return to_half(low).bits | static_cast<std::uint32_t>(to_half(high).bits) << 16;
#endif
}

FLEETSIM_BOTH float2 unpack_half(std::uint32_t packed) {
  return {to_float(Half{static_cast<std::uint16_t>(packed & 0xffffU)}),
          to_float(Half{static_cast<std::uint16_t>(packed >> 16)})};
}

FLEETSIM_BOTH float to_float(E4m3 value) {
  const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x80U) << 24;
  const std::uint32_t magnitude = value.bits & 0x7fU;
  if (magnitude == 0x7fU) return float_of_bits(sign | 0x7fc00000U);
  if (magnitude < 8) {  // zero or subnormal: a multiple of 2^-9
    const float small = static_cast<float>(magnitude) * 0.001953125F;
    return sign != 0 ? -small : small;
  }
  return float_of_bits(sign | ((magnitude << 20) + (120U << 23)));  // bias 127 - 7
}

FLEETSIM_BOTH E4m3 to_e4m3(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  std::uint16_t packed;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(packed) : "f"(0.0F), "f"(value));
  return {static_cast<std::uint8_t>(packed & 0xffU)};
#else
  const std::uint32_t bits = bits_of(value);
  const std::uint8_t sign = static_cast<std::uint8_t>((bits >> 24) & 0x80U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return {0x7f};  // cvt keeps no sign of a NaN
  if (magnitude >= 0x43e00000U) return {static_cast<std::uint8_t>(sign | 0x7eU)};  // >= 448
  if (magnitude < 0x3c800000U) {  // below 2^-6: a multiple of 2^-9
    const float scaled = float_of_bits(magnitude) * 512.0F;
    return {static_cast<std::uint8_t>(sign | static_cast<std::uint32_t>(nearbyintf(scaled)))};
  }
  const std::uint32_t rounded = magnitude + 0x7ffffU + ((magnitude >> 20) & 1U);
  const std::uint32_t code = (rounded - 0x3c000000U) >> 20;
  return {static_cast<std::uint8_t>(sign | (code > 0x7eU ? 0x7eU : code))};
#endif
}

/// Four codes, the first in the lowest byte.
FLEETSIM_BOTH std::uint32_t pack_e4m3(float a, float b, float c, float d) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  std::uint16_t low, high;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(b), "f"(a));
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(d), "f"(c));
  return low | static_cast<std::uint32_t>(high) << 16;
#else
  return to_e4m3(a).bits | static_cast<std::uint32_t>(to_e4m3(b).bits) << 8 |
         static_cast<std::uint32_t>(to_e4m3(c).bits) << 16 |
         static_cast<std::uint32_t>(to_e4m3(d).bits) << 24;
#endif
}

/// Two e4m3 codes (the lower byte first) as two packed halves; every e4m3 value is a half.
FLEETSIM_BOTH std::uint32_t e4m3_pair_to_half(std::uint16_t codes) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  std::uint32_t packed;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(packed) : "h"(codes));
  return packed;
#else
  return pack_half(to_float(E4m3{static_cast<std::uint8_t>(codes & 0xffU)}),
                   to_float(E4m3{static_cast<std::uint8_t>(codes >> 8)}));
#endif
}

/// Bytes 0, 2, 1, 3 of a word: two pairs become the pair of first and the pair of second bytes.
FLEETSIM_BOTH std::uint32_t swap_inner_bytes(std::uint32_t word) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(word, 0, 0x3120);
#else
  return (word & 0xff0000ffU) | (word & 0xff00U) << 8 | (word >> 8 & 0xff00U);
#endif
}

}  // namespace fleetsim::kernels
