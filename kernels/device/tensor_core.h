#pragma once
// Warp-wide matrix instructions of sm_80 and later: ldmatrix and mma.sync m16n8k16 with fp32 sums.
//
// Fragments, for lane = 4g + t (PTX ISA, "Matrix fragments for mma.m16n8k16"):
//   A (16 x 16, row): a[0] (g, 2t..2t+1), a[1] (g+8, same), a[2] (g, 2t+8..), a[3] (g+8, 2t+8..)
//   B (16 x 8, col):  b[0] (k 2t..2t+1, n g), b[1] (k 2t+8.., n g)
//   C (16 x 8):       c[0..1] (g, 2t..2t+1), c[2..3] (g+8, 2t..2t+1)

#include "kernels/device/async_copy.h"
#include "kernels/device/number_formats.h"
#include "kernels/device/warp.h"

namespace fleetsim::kernels {

#if !defined(__CUDACC__)
namespace detail {

template <int kMatrices, bool kTransposed>
void load_matrices(std::uint32_t* registers, const void* row) {
  emulation::require_aligned(row, 16, "a row of ldmatrix");
  struct Slot {
    const std::uint16_t* row;
    std::uint32_t* registers;
  } slot{static_cast<const std::uint16_t*>(row), registers};
  emulation::meet_in_warp(kWholeWarp, "ldmatrix", &slot, [](void** lanes) {
    const auto element = [&](int matrix, int r, int c) -> std::uint32_t {
      return static_cast<Slot*>(lanes[8 * matrix + r])->row[c];
    };
    for (int lane = 0; lane < kWarpLanes; ++lane)
      for (int matrix = 0; matrix < kMatrices; ++matrix) {
        const int g = lane / 4, t = lane % 4;
        const std::uint32_t low =
            kTransposed ? element(matrix, 2 * t, g) : element(matrix, g, 2 * t);
        const std::uint32_t high =
            kTransposed ? element(matrix, 2 * t + 1, g) : element(matrix, g, 2 * t + 1);
        static_cast<Slot*>(lanes[lane])->registers[matrix] = low | high << 16;
      }
  });
}

template <float2 (*kUnpack)(std::uint32_t)>
void mma(float* c, const std::uint32_t* a, const std::uint32_t* b, const char* what) {
  struct Slot {
    float* c;
    const std::uint32_t *a, *b;
  } slot{c, a, b};
  emulation::meet_in_warp(kWholeWarp, what, &slot, [](void** lanes) {
    float left[16][16], right[16][8];
    for (int lane = 0; lane < kWarpLanes; ++lane) {
      const auto* own = static_cast<Slot*>(lanes[lane]);
      const int g = lane / 4, t = lane % 4;
      for (int part = 0; part < 4; ++part) {
        const float2 pair = kUnpack(own->a[part]);
        const int r = g + 8 * (part % 2), k = 2 * t + 8 * (part / 2);
        left[r][k] = pair.x;
        left[r][k + 1] = pair.y;
      }
      for (int part = 0; part < 2; ++part) {
        const float2 pair = kUnpack(own->b[part]);
        const int k = 2 * t + 8 * part;
        right[k][g] = pair.x;
        right[k + 1][g] = pair.y;
      }
    }
    for (int lane = 0; lane < kWarpLanes; ++lane) {
      auto* own = static_cast<Slot*>(lanes[lane]);
      const int g = lane / 4, t = lane % 4;
      for (int part = 0; part < 4; ++part) {
        const int r = g + 8 * (part / 2), n = 2 * t + part % 2;
        double sum = 0;
        for (int k = 0; k < 16; ++k) sum += static_cast<double>(left[r][k]) * right[k][n];
        own->c[part] = static_cast<float>(own->c[part] + sum);
      }
    }
  });
}

}  // namespace detail
#endif

/// Four 8 x 8 matrices of 16-bit elements; lane 8j + r gives the address of row r of matrix j (16
/// bytes, 16-byte aligned, shared memory). Register j: row lane/4, columns 2(lane%4) and the next.
FLEETSIM_DEVICE void load_matrix_x4(std::uint32_t (&registers)[4], const void* row) {
#if defined(__CUDACC__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(shared_address(row))
               : "memory");
#else
  detail::load_matrices<4, false>(registers, row);
#endif
}

/// The same, each matrix transposed: register j holds rows 2(lane%4) and the next of column lane/4.
FLEETSIM_DEVICE void load_matrix_x4_transposed(std::uint32_t (&registers)[4], const void* row) {
#if defined(__CUDACC__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(shared_address(row))
               : "memory");
#else
  detail::load_matrices<4, true>(registers, row);
#endif
}

/// c += a b for bf16 operands.
FLEETSIM_DEVICE void mma_bf16(float (&c)[4], const std::uint32_t (&a)[4],
                              const std::uint32_t (&b)[2]) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  detail::mma<unpack_bf16>(c, a, b, "mma_bf16");
#endif
}

/// c += a b for fp16 operands.
FLEETSIM_DEVICE void mma_half(float (&c)[4], const std::uint32_t (&a)[4],
                              const std::uint32_t (&b)[2]) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  detail::mma<unpack_half>(c, a, b, "mma_half");
#endif
}

}  // namespace fleetsim::kernels
