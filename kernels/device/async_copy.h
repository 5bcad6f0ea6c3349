#pragma once
// Copies from device memory to shared memory that a thread does not wait for: cp.async in groups,
// and bulk copies that complete on an mbarrier (sm_90 on).

#include "kernels/device/cuda_words.h"

namespace fleetsim::kernels {

#if defined(__CUDACC__)
FLEETSIM_DEVICE std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}
#endif

/// 16 bytes, past L1; zeros instead of reading when not `valid` (then `global` is not touched).
FLEETSIM_DEVICE void copy_async_16(void* shared, const void* global, bool valid) {
#if defined(__CUDACC__)
  const int bytes_read = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(bytes_read)
               : "memory");
#else
  emulation::copy_async(shared, global, 16, valid ? 16 : 0);
#endif
}

/// Ends a group of this thread's copies.
FLEETSIM_DEVICE void copy_async_commit() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulation::copy_async_commit();
#endif
}

/// Waits until at most `kLeft` of this thread's youngest groups are under way. Other threads see
/// the data after a barrier.
template <int kLeft>
FLEETSIM_DEVICE void copy_async_wait() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
#else
  emulation::copy_async_wait(kLeft);
#endif
}

/// An mbarrier in shared memory, 8-byte aligned.
using Mbarrier = std::uint64_t;

/// One thread; followed by fence_barrier_init() and a barrier of the block.
FLEETSIM_DEVICE void barrier_init(Mbarrier* barrier, unsigned arrivals) {
#if defined(__CUDACC__)
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
#else
  emulation::barrier_init(barrier, arrivals);
#endif
}

/// Makes initialised barriers known to the copy engine.
FLEETSIM_DEVICE void fence_barrier_init() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

/// Before the copy engine writes where threads have read or written by ordinary accesses.
FLEETSIM_DEVICE void fence_before_bulk_copy() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

/// One arrival that also announces bytes of bulk copies; called before these are issued.
FLEETSIM_DEVICE void barrier_arrive_expecting(Mbarrier* barrier, std::uint32_t bytes) {
#if defined(__CUDACC__)
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
#else
  asm volatile("trap;");
#endif
#else
  emulation::barrier_arrive(barrier, bytes);
#endif
}

FLEETSIM_DEVICE void barrier_arrive(Mbarrier* barrier) {
#if defined(__CUDACC__)
  asm volatile("{ .reg .b64 state; mbarrier.arrive.shared::cta.b64 state, [%0]; }" ::"r"(
                   shared_address(barrier))
               : "memory");
#else
  emulation::barrier_arrive(barrier, 0);
#endif
}

/// Waits until the phase of parity `parity` has ended; phases count 0, 1, 0, 1, ... from the
/// initialisation. A wait of `parity` 1 on a fresh barrier returns at once. Builds with
/// FLEETSIM_BARRIER_TIMEOUT trap after about four seconds instead of hanging for ever.
FLEETSIM_DEVICE void barrier_wait(Mbarrier* barrier, unsigned parity) {
#if defined(__CUDACC__)
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  std::uint32_t done = 0;
#if defined(FLEETSIM_BARRIER_TIMEOUT)
  const long long begin = clock64();
#endif
  while (true) {
    asm volatile(
        "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, "
        "p; }"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
    if (done != 0) return;
#if defined(FLEETSIM_BARRIER_TIMEOUT)
    if (clock64() - begin > 8'000'000'000LL) {
      printf("mbarrier time-out: block %d thread %d parity %u\n", blockIdx.x, threadIdx.x, parity);
      asm volatile("trap;");
    }
#endif
  }
#else
  asm volatile("trap;");
#endif
#else
  while (!emulation::barrier_phase_done(barrier, parity)) {
  }
#endif
}

/// One thread: `bytes` (a multiple of 16, both ends 16-byte aligned) to this block's shared memory;
/// counts down `barrier`'s expected bytes when it lands. The data is read once: first out of L2.
FLEETSIM_DEVICE void bulk_copy_to_shared(void* shared, const void* global, std::uint32_t bytes,
                                         Mbarrier* barrier) {
#if defined(__CUDACC__)
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  std::uint64_t policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
      "[%1], %2, "
      "[%3], %4;" ::"r"(shared_address(shared)),
      "l"(global), "r"(bytes), "r"(shared_address(barrier)), "l"(policy)
      : "memory");
#else
  asm volatile("trap;");
#endif
#else
  emulation::bulk_copy_to_shared(shared, global, bytes, barrier);
#endif
}

/// A place in a ring of slots with an mbarrier each: the slot whose turn it is and the parity of
/// its phase. Those who fill and those who read count the same way.
template <int kSlots>
struct Turn {
  int slot = 0;
  unsigned parity = 0;
  FLEETSIM_DEVICE void advance() {
    if (++slot == kSlots) {
      slot = 0;
      parity ^= 1;
    }
  }
};

}  // namespace fleetsim::kernels
