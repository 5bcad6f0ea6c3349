#pragma once
// Tensors in device memory as the copy engine of sm_90 and later sees them (TMA): boxes of them are
// copied to shared memory in one instruction, swizzled as warpgroup.h wants its operands.

#include "kernels/device/async_copy.h"
#include "kernels/device/launch.h"

namespace fleetsim::kernels {

/// Sizes, strides and boxes are innermost first. A row of the box is 128 bytes: box[0] elements.
struct TensorShape {
  const void* base = nullptr;  // 16-byte aligned
  int element_bytes = 2;       // 1, 2 or 4
  int rank = 0;                // 2 to 5
  std::int64_t sizes[5] = {};
  std::int64_t strides[5] = {};  // bytes, multiples of 16; strides[0] is not looked at
  int box[5] = {};               // at most 256 each
};

/// A kernel takes it as `const __grid_constant__ TensorMap`. It stays valid while the memory does.
struct alignas(128) TensorMap {
#if defined(__CUDACC__) || defined(FLEETSIM_CUDA_RUNTIME)
  unsigned char words[128];  // CUtensorMap
#else
  emulation::TensorBox box;
#endif
};

/// CHECKs what the hardware asks for. Errors: NotSupportedHere where the driver has no tensor maps;
/// CudaError.
TensorMap make_tensor_map(const TensorShape& shape);

#if !defined(FLEETSIM_CUDA_RUNTIME) || defined(__CUDACC__)

/// Fetches the map itself ahead of its first use. One thread.
FLEETSIM_DEVICE void prefetch_tensor_map(const TensorMap& map) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
#else
  static_cast<void>(map);
#endif
}

/// What L2 should think of the bytes that a copy reads.
enum class L2Keep { normal, first_out, last_out };

/// One thread: the box at `coordinates` (innermost first; elements beyond the tensor are zeros) to
/// `shared`, which is 128-byte aligned, 1024 for boxes of 8 rows and more. All bytes of the box,
/// zeros too, count down `barrier`'s expected bytes.
template <int kRank>
FLEETSIM_DEVICE void copy_tensor_to_shared(void* shared, const TensorMap& map,
                                           const int (&coordinates)[kRank], Mbarrier* barrier,
                                           L2Keep keep = L2Keep::normal) {
  static_assert(kRank >= 2 && kRank <= 4);
#if defined(__CUDACC__)
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  std::uint64_t policy;
  if (keep == L2Keep::first_out)
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  else if (keep == L2Keep::last_out)
    asm volatile("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
  else
    asm volatile("createpolicy.fractional.L2::evict_normal.b64 %0, 1.0;" : "=l"(policy));
  const std::uint32_t to = shared_address(shared), done = shared_address(barrier);
  const auto* from = &map;
  if constexpr (kRank == 2)
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_"
        "hint [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(to),
        "l"(from), "r"(done), "r"(coordinates[0]), "r"(coordinates[1]), "l"(policy)
        : "memory");
  else if constexpr (kRank == 3)
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_"
        "hint [%0], [%1, {%3, %4, %5}], [%2], %6;" ::"r"(to),
        "l"(from), "r"(done), "r"(coordinates[0]), "r"(coordinates[1]), "r"(coordinates[2]),
        "l"(policy)
        : "memory");
  else
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_"
        "hint [%0], [%1, {%3, %4, %5, %6}], [%2], %7;" ::"r"(to),
        "l"(from), "r"(done), "r"(coordinates[0]), "r"(coordinates[1]), "r"(coordinates[2]),
        "r"(coordinates[3]), "l"(policy)
        : "memory");
#else
  asm volatile("trap;");
#endif
#else
  static_cast<void>(keep);
  if (map.box.rank != kRank) emulation::fault("a tensor copy of another rank than its map");
  emulation::tensor_copy_to_shared(shared, map.box, coordinates, barrier);
#endif
}

#endif

}  // namespace fleetsim::kernels
