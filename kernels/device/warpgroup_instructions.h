#pragma once
// The text of wgmma.mma_async for each width N: D (64 x N, fp32) = A B + (accumulate ? D : 0).
// warpgroup.h gives them their meaning; nothing else includes this.

#include "kernels/device/cuda_words.h"

#if defined(__CUDACC__)

namespace fleetsim::kernels::instructions {

// N = 32: 16 sums a thread.
#define FLEETSIM_D32                 \
  "%0, %1, %2, %3, %4, %5, %6, %7, " \
  "%8, %9, %10, %11, %12, %13, %14, %15"
#define FLEETSIM_SUMS32                                                                           \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
      "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),    \
      "+f"(d[15])

/// A from shared, bf16.
template <int kTransposedB>
FLEETSIM_DEVICE void mma_bf16(float (&d)[16], std::uint64_t a, std::uint64_t b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %18, 0; "
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {" FLEETSIM_D32
      "}, %16, %17, p, 1, 1, 0, %19; }"
      : FLEETSIM_SUMS32
      : "l"(a), "l"(b), "r"(accumulate), "n"(kTransposedB));
}

/// A from registers, bf16.
template <int kTransposedB>
FLEETSIM_DEVICE void mma_bf16(float (&d)[16], const std::uint32_t (&a)[4], std::uint64_t b,
                              int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %21, 0; "
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {" FLEETSIM_D32
      "}, {%16, %17, %18, %19}, %20, p, 1, 1, %22; }"
      : FLEETSIM_SUMS32
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(kTransposedB));
}

/// A from shared, e4m3.
FLEETSIM_DEVICE void mma_e4m3(float (&d)[16], std::uint64_t a, std::uint64_t b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %18, 0; "
      "wgmma.mma_async.sync.aligned.m64n32k32.f32.e4m3.e4m3 {" FLEETSIM_D32
      "}, %16, %17, p, 1, 1; }"
      : FLEETSIM_SUMS32
      : "l"(a), "l"(b), "r"(accumulate));
}

/// A from registers, e4m3.
FLEETSIM_DEVICE void mma_e4m3(float (&d)[16], const std::uint32_t (&a)[4], std::uint64_t b,
                              int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %21, 0; "
      "wgmma.mma_async.sync.aligned.m64n32k32.f32.e4m3.e4m3 {" FLEETSIM_D32
      "}, {%16, %17, %18, %19}, %20, p, 1, 1; }"
      : FLEETSIM_SUMS32
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

#undef FLEETSIM_D32
#undef FLEETSIM_SUMS32

// N = 64: 32 sums a thread.
#define FLEETSIM_D64                         \
  "%0, %1, %2, %3, %4, %5, %6, %7, "         \
  "%8, %9, %10, %11, %12, %13, %14, %15, "   \
  "%16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31"
#define FLEETSIM_SUMS64                                                                           \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
      "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),    \
      "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),  \
      "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),  \
      "+f"(d[29]), "+f"(d[30]), "+f"(d[31])

/// A from shared, bf16.
template <int kTransposedB>
FLEETSIM_DEVICE void mma_bf16(float (&d)[32], std::uint64_t a, std::uint64_t b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %34, 0; "
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" FLEETSIM_D64
      "}, %32, %33, p, 1, 1, 0, %35; }"
      : FLEETSIM_SUMS64
      : "l"(a), "l"(b), "r"(accumulate), "n"(kTransposedB));
}

/// A from registers, bf16.
template <int kTransposedB>
FLEETSIM_DEVICE void mma_bf16(float (&d)[32], const std::uint32_t (&a)[4], std::uint64_t b,
                              int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %37, 0; "
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" FLEETSIM_D64
      "}, {%32, %33, %34, %35}, %36, p, 1, 1, %38; }"
      : FLEETSIM_SUMS64
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(kTransposedB));
}

/// A from shared, e4m3.
FLEETSIM_DEVICE void mma_e4m3(float (&d)[32], std::uint64_t a, std::uint64_t b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %34, 0; "
      "wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3 {" FLEETSIM_D64
      "}, %32, %33, p, 1, 1; }"
      : FLEETSIM_SUMS64
      : "l"(a), "l"(b), "r"(accumulate));
}

/// A from registers, e4m3.
FLEETSIM_DEVICE void mma_e4m3(float (&d)[32], const std::uint32_t (&a)[4], std::uint64_t b,
                              int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %37, 0; "
      "wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3 {" FLEETSIM_D64
      "}, {%32, %33, %34, %35}, %36, p, 1, 1; }"
      : FLEETSIM_SUMS64
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

#undef FLEETSIM_D64
#undef FLEETSIM_SUMS64

// N = 128: 64 sums a thread.
#define FLEETSIM_D128                        \
  "%0, %1, %2, %3, %4, %5, %6, %7, "         \
  "%8, %9, %10, %11, %12, %13, %14, %15, "   \
  "%16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, " \
  "%40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, " \
  "%56, %57, %58, %59, %60, %61, %62, %63"
#define FLEETSIM_SUMS128                                                                          \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
      "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),    \
      "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),  \
      "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),  \
      "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),  \
      "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]),  \
      "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]),  \
      "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),  \
      "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])

/// A from shared, bf16.
template <int kTransposedB>
FLEETSIM_DEVICE void mma_bf16(float (&d)[64], std::uint64_t a, std::uint64_t b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %66, 0; "
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" FLEETSIM_D128
      "}, %64, %65, p, 1, 1, 0, %67; }"
      : FLEETSIM_SUMS128
      : "l"(a), "l"(b), "r"(accumulate), "n"(kTransposedB));
}

/// A from registers, bf16.
template <int kTransposedB>
FLEETSIM_DEVICE void mma_bf16(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b,
                              int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %69, 0; "
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" FLEETSIM_D128
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, %70; }"
      : FLEETSIM_SUMS128
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(kTransposedB));
}

/// A from shared, e4m3.
FLEETSIM_DEVICE void mma_e4m3(float (&d)[64], std::uint64_t a, std::uint64_t b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %66, 0; "
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {" FLEETSIM_D128
      "}, %64, %65, p, 1, 1; }"
      : FLEETSIM_SUMS128
      : "l"(a), "l"(b), "r"(accumulate));
}

/// A from registers, e4m3.
FLEETSIM_DEVICE void mma_e4m3(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b,
                              int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %69, 0; "
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {" FLEETSIM_D128
      "}, {%64, %65, %66, %67}, %68, p, 1, 1; }"
      : FLEETSIM_SUMS128
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

#undef FLEETSIM_D128
#undef FLEETSIM_SUMS128

// N = 192: 96 sums a thread.
#define FLEETSIM_D192                        \
  "%0, %1, %2, %3, %4, %5, %6, %7, "         \
  "%8, %9, %10, %11, %12, %13, %14, %15, "   \
  "%16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, " \
  "%40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, " \
  "%56, %57, %58, %59, %60, %61, %62, %63, " \
  "%64, %65, %66, %67, %68, %69, %70, %71, " \
  "%72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, " \
  "%88, %89, %90, %91, %92, %93, %94, %95"
#define FLEETSIM_SUMS192                                                                          \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
      "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),    \
      "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),  \
      "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),  \
      "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),  \
      "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]),  \
      "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]),  \
      "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),  \
      "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),  \
      "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]),  \
      "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]),  \
      "+f"(d[78]), "+f"(d[79]), "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]),  \
      "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]),  \
      "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95])

/// A from shared, bf16.
template <int kTransposedB>
FLEETSIM_DEVICE void mma_bf16(float (&d)[96], std::uint64_t a, std::uint64_t b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %98, 0; "
      "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {" FLEETSIM_D192
      "}, %96, %97, p, 1, 1, 0, %99; }"
      : FLEETSIM_SUMS192
      : "l"(a), "l"(b), "r"(accumulate), "n"(kTransposedB));
}

/// A from registers, bf16.
template <int kTransposedB>
FLEETSIM_DEVICE void mma_bf16(float (&d)[96], const std::uint32_t (&a)[4], std::uint64_t b,
                              int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %101, 0; "
      "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {" FLEETSIM_D192
      "}, {%96, %97, %98, %99}, %100, p, 1, 1, %102; }"
      : FLEETSIM_SUMS192
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(kTransposedB));
}

/// A from shared, e4m3.
FLEETSIM_DEVICE void mma_e4m3(float (&d)[96], std::uint64_t a, std::uint64_t b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %98, 0; "
      "wgmma.mma_async.sync.aligned.m64n192k32.f32.e4m3.e4m3 {" FLEETSIM_D192
      "}, %96, %97, p, 1, 1; }"
      : FLEETSIM_SUMS192
      : "l"(a), "l"(b), "r"(accumulate));
}

/// A from registers, e4m3.
FLEETSIM_DEVICE void mma_e4m3(float (&d)[96], const std::uint32_t (&a)[4], std::uint64_t b,
                              int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %101, 0; "
      "wgmma.mma_async.sync.aligned.m64n192k32.f32.e4m3.e4m3 {" FLEETSIM_D192
      "}, {%96, %97, %98, %99}, %100, p, 1, 1; }"
      : FLEETSIM_SUMS192
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

#undef FLEETSIM_D192
#undef FLEETSIM_SUMS192

// N = 256: 128 sums a thread.
#define FLEETSIM_D256                                \
  "%0, %1, %2, %3, %4, %5, %6, %7, "                 \
  "%8, %9, %10, %11, %12, %13, %14, %15, "           \
  "%16, %17, %18, %19, %20, %21, %22, %23, "         \
  "%24, %25, %26, %27, %28, %29, %30, %31, "         \
  "%32, %33, %34, %35, %36, %37, %38, %39, "         \
  "%40, %41, %42, %43, %44, %45, %46, %47, "         \
  "%48, %49, %50, %51, %52, %53, %54, %55, "         \
  "%56, %57, %58, %59, %60, %61, %62, %63, "         \
  "%64, %65, %66, %67, %68, %69, %70, %71, "         \
  "%72, %73, %74, %75, %76, %77, %78, %79, "         \
  "%80, %81, %82, %83, %84, %85, %86, %87, "         \
  "%88, %89, %90, %91, %92, %93, %94, %95, "         \
  "%96, %97, %98, %99, %100, %101, %102, %103, "     \
  "%104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, " \
  "%120, %121, %122, %123, %124, %125, %126, %127"
#define FLEETSIM_SUMS256                                                                          \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
      "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),    \
      "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),  \
      "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),  \
      "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),  \
      "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]),  \
      "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]),  \
      "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),  \
      "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),  \
      "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]),  \
      "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]),  \
      "+f"(d[78]), "+f"(d[79]), "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]),  \
      "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]),  \
      "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]), "+f"(d[96]), "+f"(d[97]), "+f"(d[98]),  \
      "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]), "+f"(d[104]),          \
      "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]),         \
      "+f"(d[111]), "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]),         \
      "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), "+f"(d[120]), "+f"(d[121]), "+f"(d[122]),         \
      "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])

/// A from shared, bf16.
template <int kTransposedB>
FLEETSIM_DEVICE void mma_bf16(float (&d)[128], std::uint64_t a, std::uint64_t b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %130, 0; "
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" FLEETSIM_D256
      "}, %128, %129, p, 1, 1, 0, %131; }"
      : FLEETSIM_SUMS256
      : "l"(a), "l"(b), "r"(accumulate), "n"(kTransposedB));
}

/// A from registers, bf16.
template <int kTransposedB>
FLEETSIM_DEVICE void mma_bf16(float (&d)[128], const std::uint32_t (&a)[4], std::uint64_t b,
                              int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %133, 0; "
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" FLEETSIM_D256
      "}, {%128, %129, %130, %131}, %132, p, 1, 1, %134; }"
      : FLEETSIM_SUMS256
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(kTransposedB));
}

/// A from shared, e4m3.
FLEETSIM_DEVICE void mma_e4m3(float (&d)[128], std::uint64_t a, std::uint64_t b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %130, 0; "
      "wgmma.mma_async.sync.aligned.m64n256k32.f32.e4m3.e4m3 {" FLEETSIM_D256
      "}, %128, %129, p, 1, 1; }"
      : FLEETSIM_SUMS256
      : "l"(a), "l"(b), "r"(accumulate));
}

/// A from registers, e4m3.
FLEETSIM_DEVICE void mma_e4m3(float (&d)[128], const std::uint32_t (&a)[4], std::uint64_t b,
                              int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %133, 0; "
      "wgmma.mma_async.sync.aligned.m64n256k32.f32.e4m3.e4m3 {" FLEETSIM_D256
      "}, {%128, %129, %130, %131}, %132, p, 1, 1; }"
      : FLEETSIM_SUMS256
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

#undef FLEETSIM_D256
#undef FLEETSIM_SUMS256

}  // namespace fleetsim::kernels::instructions

#endif
