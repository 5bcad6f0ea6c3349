#pragma once
// Matrix instructions of a warpgroup (128 threads, sm_90a): wgmma with operands in shared memory.
//
// Operands lie in panels of rows of 128 bytes with the 128-byte swizzle: the 16-byte piece c of row
// r stands at byte r * 128 + (c ^ r % 8) * 16. A panel begins at a multiple of 1024 bytes; this is
// what copies of a TensorMap write (tensor_map.h). A matrix wider than a panel is several panels.
//   rows along M or N ("k-major"):   a row holds 64 (bf16) or 128 (e4m3) values of K
//   rows along K ("n-major", bf16):  a row holds 64 values of N; panels of 64 columns each
//
// Sums D (64 x N) of thread 32 w + 4 g + t: d[4j], d[4j + 1] are row 16 w + g, columns 8 j + 2 t
// and the next; d[4j + 2], d[4j + 3] the same of row 16 w + g + 8. A from registers, for K = 16
// (bf16): a[0] row g, k 2t and the next; a[1] row g + 8; a[2], a[3] the same at k + 8. For K = 32
// (e4m3): a[0] row g, k 4t to 4t + 3; a[1] row g + 8; a[2], a[3] the same at k + 16. Sources: PTX
// ISA 8.x, "Asynchronous warpgroup level matrix instructions"; the strides of the canonical layouts
// as CUTLASS 3 (cute/arch/mma_sm90_desc.hpp) has them.
//
// Order of use: warpgroup_fence(); multiplications; warpgroup_commit(); ... warpgroup_wait<n>().
// Between commit and wait nobody touches the sums, the registers of A or the operands in shared
// memory. What threads themselves wrote to shared memory needs fence_before_matrix_reads() and a
// barrier first.

#include "kernels/device/async_copy.h"
#include "kernels/device/number_formats.h"
#include "kernels/device/warp.h"
#include "kernels/device/warpgroup_instructions.h"

namespace fleetsim::kernels {

inline constexpr int kWarpgroupThreads = 128;
inline constexpr int kPanelRowBytes = 128;
/// Panels, and whatever is copied with the swizzle, begin at multiples of this.
inline constexpr int kPanelAlignment = 1024;

/// How an operand in shared memory runs.
enum class Major { k, n };

/// Where the piece `piece` (16 bytes, 0 to 7) of row `row` of a panel stands.
FLEETSIM_BOTH constexpr int panel_offset(int row, int piece) {
  return row * kPanelRowBytes + ((piece ^ (row & 7)) * 16);
}

/// An operand of a warpgroup's multiplication.
struct SharedOperand {
#if defined(__CUDACC__)
  std::uint64_t descriptor;
#else
  const unsigned char* at;
  std::uint32_t panel_bytes;
#endif
  /// The same operand `bytes` (a multiple of 16) further: 32 a step along K when k-major, 16 rows
  /// of 128 a step when n-major.
  FLEETSIM_BOTH SharedOperand operator+(int bytes) const {
#if defined(__CUDACC__)
    return {descriptor + static_cast<std::uint64_t>(bytes >> 4)};
#else
    return {at + bytes, panel_bytes};
#endif
  }
};

#if !defined(FLEETSIM_CUDA_RUNTIME) || defined(__CUDACC__)

/// The operand whose rows begin at `panel`. `panel_bytes`: from one panel of 64 columns to the
/// next, for n-major ones wider than 64.
FLEETSIM_DEVICE SharedOperand shared_operand(const void* panel, std::uint32_t panel_bytes = 0) {
#if defined(__CUDACC__)
  constexpr std::uint64_t kSwizzle128 = 1, kEightRows = 1024;
  return {(shared_address(panel) & 0x3ffffU) >> 4 |
          static_cast<std::uint64_t>(panel_bytes >> 4 & 0x3fffU) << 16 | (kEightRows >> 4) << 32 |
          kSwizzle128 << 62};
#else
  emulation::require_aligned(panel, 16, "an operand of a warpgroup");
  return {static_cast<const unsigned char*>(panel), panel_bytes};
#endif
}

#if !defined(__CUDACC__)
namespace detail {

/// Byte of (row, byte of the row) below the operand's beginning, through the swizzle.
inline const unsigned char* swizzled(const unsigned char* at, std::uint32_t row,
                                     std::uint32_t byte) {
  const auto address = reinterpret_cast<std::uintptr_t>(at) + row * kPanelRowBytes + byte;
  return reinterpret_cast<const unsigned char*>(address ^ ((address >> 7 & 7) << 4));
}

struct WarpgroupSlot {
  float* d;
  const std::uint32_t* a;  // nullptr: from shared memory
  SharedOperand shared_a, shared_b;
  bool accumulate;
};

template <class Element>
float element_at(const unsigned char* at) {
  Element element;
  __builtin_memcpy(&element, at, sizeof element);
  return to_float(element);
}

/// Runs later than it was issued, so it holds copies of registers and the addresses of sums.
template <class Element, int kN, Major kMajorB>
struct WarpgroupProduct {
  static constexpr int kK = 32 / static_cast<int>(sizeof(Element));
  static constexpr int kEach = 4 / static_cast<int>(sizeof(Element));  // elements of a register
  float* d[kWarpgroupThreads];
  std::uint32_t a[kWarpgroupThreads][4];
  bool from_registers, accumulate;
  SharedOperand shared_a, shared_b;

  void operator()() const {
    float left[64][kK], right[kN][kK];
    for (int row = 0; row < 64; ++row)
      for (int k = 0; k < kK; ++k) left[row][k] = from_registers ? 0 : a_at(row, k);
    if (from_registers)
      for (int thread = 0; thread < kWarpgroupThreads; ++thread)
        for (int part = 0; part < 4; ++part)
          for (int i = 0; i < kEach; ++i) {
            const int row = thread / 32 * 16 + thread % 32 / 4 + part % 2 * 8;
            const int k = thread % 4 * kEach + i + part / 2 * (kK / 2);
            left[row][k] = element_at<Element>(
                reinterpret_cast<const unsigned char*>(&a[thread][part]) + i * sizeof(Element));
          }
    for (int n = 0; n < kN; ++n)
      for (int k = 0; k < kK; ++k) right[n][k] = b_at(n, k);
    for (int thread = 0; thread < kWarpgroupThreads; ++thread)
      for (int i = 0; i < kN / 2; ++i) {
        const int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
        const int n = i / 4 * 8 + thread % 4 * 2 + i % 2;
        double sum = accumulate ? d[thread][i] : 0;
        for (int k = 0; k < kK; ++k) sum += static_cast<double>(left[row][k]) * right[n][k];
        d[thread][i] = static_cast<float>(sum);
      }
  }
  float a_at(int row, int k) const {
    return element_at<Element>(swizzled(shared_a.at, static_cast<std::uint32_t>(row),
                                        static_cast<std::uint32_t>(k * sizeof(Element))));
  }
  float b_at(int n, int k) const {
    if (kMajorB == Major::k)
      return element_at<Element>(swizzled(shared_b.at, static_cast<std::uint32_t>(n),
                                          static_cast<std::uint32_t>(k * sizeof(Element))));
    return element_at<Element>(swizzled(shared_b.at + n / 64 * shared_b.panel_bytes,
                                        static_cast<std::uint32_t>(k),
                                        static_cast<std::uint32_t>(n % 64 * sizeof(Element))));
  }
};

template <class Element, int kN, Major kMajorB>
void warpgroup_multiply(WarpgroupSlot slot) {
  emulation::meet_in_warpgroup("warpgroup multiplication", &slot, [](void** threads) {
    const auto& first = *static_cast<WarpgroupSlot*>(threads[0]);
    WarpgroupProduct<Element, kN, kMajorB> product;
    product.from_registers = first.a != nullptr;
    product.accumulate = first.accumulate;
    product.shared_a = first.shared_a;
    product.shared_b = first.shared_b;
    for (int thread = 0; thread < kWarpgroupThreads; ++thread) {
      const auto& own = *static_cast<WarpgroupSlot*>(threads[thread]);
      if (own.shared_b.at != first.shared_b.at || own.accumulate != first.accumulate ||
          own.shared_a.at != first.shared_a.at)
        emulation::fault("threads of a warpgroup multiply different operands");
      product.d[thread] = own.d;
      for (int i = 0; i < 4; ++i) product.a[thread][i] = own.a == nullptr ? 0 : own.a[i];
    }
    emulation::issue_in_warpgroup(product);
  });
}

}  // namespace detail
#endif

/// Before the first multiplication of a group, and after any other access to its sums.
FLEETSIM_DEVICE void warpgroup_fence() {
#if defined(__CUDACC__)
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#else
  asm volatile("trap;");
#endif
#else
  emulation::fence_in_warpgroup();
#endif
}

FLEETSIM_DEVICE void warpgroup_commit() {
#if defined(__CUDACC__)
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
  asm volatile("trap;");
#endif
#else
  emulation::commit_in_warpgroup();
#endif
}

/// Waits until at most `kLeft` of the youngest groups are under way.
template <int kLeft>
FLEETSIM_DEVICE void warpgroup_wait() {
#if defined(__CUDACC__)
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
#else
  asm volatile("trap;");
#endif
#else
  emulation::wait_in_warpgroup(kLeft);
#endif
}

/// Tells the compiler that sums change at a wait: reads of them stay behind it.
template <int kSums>
FLEETSIM_DEVICE void keep_behind(float (&sums)[kSums]) {
#if defined(__CUDACC__)
  FLEETSIM_UNROLL
  for (int i = 0; i < kSums; ++i) asm volatile("" : "+f"(sums[i])::"memory");
#else
  static_cast<void>(sums);
#endif
}

/// What this thread wrote to shared memory may be read by matrix instructions (and the copy engine)
/// behind the next barrier.
FLEETSIM_DEVICE void fence_before_matrix_reads() { fence_before_bulk_copy(); }

/// d (+)= A B, 64 x kN sums; K is 16 for bf16, 32 for e4m3. `a` in shared memory (k-major) or four
/// registers. All 128 threads, same operands. kN: 32, 64, 128, 192, 256.
template <class Element, int kN, Major kMajorB = Major::k>
FLEETSIM_DEVICE void warpgroup_multiply(float (&d)[kN / 2], SharedOperand a, SharedOperand b,
                                        bool accumulate) {
  static_assert(kMajorB == Major::k || sizeof(Element) == 2, "wgmma turns 16-bit operands only");
#if defined(__CUDACC__)
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  if constexpr (sizeof(Element) == 2)
    instructions::mma_bf16<kMajorB == Major::n ? 1 : 0>(d, a.descriptor, b.descriptor, accumulate);
  else
    instructions::mma_e4m3(d, a.descriptor, b.descriptor, accumulate);
#else
  asm volatile("trap;");
#endif
#else
  detail::warpgroup_multiply<Element, kN, kMajorB>({d, nullptr, a, b, accumulate});
#endif
}

template <class Element, int kN, Major kMajorB = Major::k>
FLEETSIM_DEVICE void warpgroup_multiply(float (&d)[kN / 2], const std::uint32_t (&a)[4],
                                        SharedOperand b, bool accumulate) {
  static_assert(kMajorB == Major::k || sizeof(Element) == 2, "wgmma turns 16-bit operands only");
#if defined(__CUDACC__)
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  if constexpr (sizeof(Element) == 2)
    instructions::mma_bf16<kMajorB == Major::n ? 1 : 0>(d, a, b.descriptor, accumulate);
  else
    instructions::mma_e4m3(d, a, b.descriptor, accumulate);
#else
  asm volatile("trap;");
#endif
#else
  detail::warpgroup_multiply<Element, kN, kMajorB>({d, a, {nullptr, 0}, b, accumulate});
#endif
}

/// Registers a thread of this warpgroup may use from here on (a multiple of 8, 24 to 256): those
/// that only copy give theirs to those that compute. All threads of the warpgroup.
template <int kRegisters>
FLEETSIM_DEVICE void take_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}
template <int kRegisters>
FLEETSIM_DEVICE void give_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}

#endif

}  // namespace fleetsim::kernels
