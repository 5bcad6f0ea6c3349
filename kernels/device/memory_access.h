#pragma once
// Reads and writes of device memory: 16 bytes a thread, streaming hints, atomics, flags between
// blocks.

#include "kernels/device/cuda_words.h"

namespace fleetsim::kernels {

/// 16 bytes through the read-only path; `from` is 16-byte aligned and not written meanwhile.
FLEETSIM_DEVICE uint4 load_16(const void* from) {
#if defined(__CUDACC__)
  return __ldg(static_cast<const uint4*>(from));
#else
  emulation::require_aligned(from, 16, "a 16-byte read");
  return *static_cast<const uint4*>(from);
#endif
}

/// The same for data that is read once: leaves no room in L1 and goes first in L2.
FLEETSIM_DEVICE uint4 load_16_once(const void* from) {
#if defined(__CUDACC__)
  // the short form ld.L2::evict_first exists for 32 bytes only; a policy says the same for 16
  std::uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  uint4 value;
  asm volatile("ld.global.L1::no_allocate.L2::cache_hint.v4.u32 {%0,%1,%2,%3}, [%4], %5;"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from), "l"(policy)
               : "memory");
  return value;
#else
  return load_16(from);
#endif
}

/// The same of memory that this launch also writes: what another block wrote before a flag that was
/// waited for, or what this thread will overwrite.
FLEETSIM_DEVICE uint4 load_16_coherent(const void* from) {
#if !defined(__CUDACC__)
  emulation::require_aligned(from, 16, "a 16-byte read");
#endif
  return *static_cast<const uint4*>(from);
}

FLEETSIM_DEVICE void store_16(void* to, uint4 value) {
#if !defined(__CUDACC__)
  emulation::require_aligned(to, 16, "a 16-byte write");
#endif
  *static_cast<uint4*>(to) = value;
}

/// The same for data that is not read again soon.
FLEETSIM_DEVICE void store_16_once(void* to, uint4 value) {
#if defined(__CUDACC__)
  __stcs(static_cast<uint4*>(to), value);
#else
  store_16(to, value);
#endif
}

/// Adds; returns the value before. T is int, unsigned, unsigned long long or float.
template <class T>
FLEETSIM_DEVICE T atomic_add(T* to, T value) {
#if defined(__CUDACC__)
  return atomicAdd(to, value);
#else
  const T before = *to;
  *to = before + value;
  return before;
#endif
}

template <class T>
FLEETSIM_DEVICE T atomic_max(T* to, T value) {
#if defined(__CUDACC__)
  return atomicMax(to, value);
#else
  const T before = *to;
  *to = before > value ? before : value;
  return before;
#endif
}

/// Adds to a counter that other blocks poll: what this thread wrote before is seen by who reads the
/// sum with load_acquire (device scope). Returns the value before.
FLEETSIM_DEVICE unsigned add_release(unsigned* to, unsigned value) {
#if defined(__CUDACC__)
  unsigned before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(to), "r"(value)
               : "memory");
  return before;
#else
  return atomic_add(to, value);
#endif
}

/// Reads a flag that another block or GPU of this machine sets (system scope).
FLEETSIM_DEVICE unsigned load_acquire_system(const unsigned* from) {
#if defined(__CUDACC__)
  unsigned value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
#else
  emulation::poll();
  return *from;
#endif
}

FLEETSIM_DEVICE void store_release_system(unsigned* to, unsigned value) {
#if defined(__CUDACC__)
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
#else
  *to = value;
#endif
}

/// The same without order: says that the other has come so far, nothing about what it wrote
/// meanwhile.
FLEETSIM_DEVICE unsigned load_relaxed_system(const unsigned* from) {
#if defined(__CUDACC__)
  unsigned value;
  asm volatile("ld.relaxed.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
#else
  return load_acquire_system(from);
#endif
}

FLEETSIM_DEVICE void store_relaxed_system(unsigned* to, unsigned value) {
#if defined(__CUDACC__)
  asm volatile("st.relaxed.sys.global.u32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
#else
  *to = value;
#endif
}

/// What this thread wrote so far is seen by the device before what it writes next.
FLEETSIM_DEVICE void fence_device() {
#if defined(__CUDACC__)
  __threadfence();
#endif
}

/// Programmatic dependent launch: waits until the kernel before has ended and its writes are seen.
/// Without the launch attribute, and below sm_90, it does nothing.
FLEETSIM_DEVICE void wait_for_kernel_before() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Lets the next kernel's blocks start while this one ends; they wait before they read its results.
FLEETSIM_DEVICE void let_next_kernel_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// What no score is below.
FLEETSIM_DEVICE constexpr float minus_infinity() { return -__builtin_inff(); }

/// 2^x, about 2 ulp; 0 for minus infinity.
FLEETSIM_DEVICE float exp2_fast(float x) {
#if defined(__CUDACC__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return __builtin_exp2f(x);
#endif
}

/// log2(x), off by 2^-22 absolutely near x = 1 and relatively elsewhere; minus infinity at 0.
FLEETSIM_DEVICE float log2_fast(float x) {
#if defined(__CUDACC__)
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return __builtin_log2f(x);
#endif
}

/// 1 / x, about 1 ulp; 0 for infinity.
FLEETSIM_DEVICE float reciprocal_fast(float x) {
#if defined(__CUDACC__)
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return 1.0F / x;
#endif
}

}  // namespace fleetsim::kernels
