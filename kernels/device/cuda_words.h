#pragma once
// The words kernels are written in: CUDA's own under nvcc, the emulator's under a host compiler.
//
// Kernel sources include this and the other headers of kernels/device only, so that one source is
// machine code on a GPU and a test on a CPU. What differs between the two stands in these headers.
//
// Not available in kernels: static __shared__ variables (use dynamic_shared_memory()), inline PTX
// outside kernels/device, and <<<>>> (use launch() of launch.h).

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)

#include <cuda_runtime.h>

/// Code of the device alone, inlined.
#define FLEETSIM_DEVICE __device__ __forceinline__
/// Code of both sides, inlined.
#define FLEETSIM_BOTH __host__ __device__ __forceinline__
#define FLEETSIM_UNROLL _Pragma("unroll")
#define FLEETSIM_NO_UNROLL _Pragma("unroll 1")

#elif defined(FLEETSIM_CUDA_RUNTIME)

// Host sources of the program for GPUs: CUDA's types and calls, none of the device's words.
#include <cuda_runtime.h>

#define FLEETSIM_BOTH inline
#define FLEETSIM_UNROLL

#else

#include "kernels/emulation/emulated_device.h"

#define FLEETSIM_DEVICE inline
#define FLEETSIM_BOTH inline
#define FLEETSIM_UNROLL
#define FLEETSIM_NO_UNROLL
#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __grid_constant__

// CUDA's built-in variables and vector types, as far as kernels here use them.
#define threadIdx (::fleetsim::kernels::emulation::lane().thread)
#define blockIdx (::fleetsim::kernels::emulation::lane().block)
#define blockDim (::fleetsim::kernels::emulation::lane().block_size)
#define gridDim (::fleetsim::kernels::emulation::lane().grid_size)

using dim3 = ::fleetsim::kernels::emulation::Index3;
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

#endif

namespace fleetsim::kernels {

#if !defined(FLEETSIM_CUDA_RUNTIME) || defined(__CUDACC__)
/// This block's dynamic shared memory, 1 KiB aligned; its size was given at launch.
FLEETSIM_DEVICE unsigned char* dynamic_shared_memory() {
#if defined(__CUDACC__)
  extern __shared__ __align__(1024) unsigned char fleetsim_shared_bytes[];
  return fleetsim_shared_bytes;
#else
  return emulation::shared_memory();
#endif
}
#endif

/// Smallest whole number of parts of size `part` that hold `n`.
template <class T>
FLEETSIM_BOTH constexpr T ceil_div(T n, T part) {
  return (n + part - 1) / part;
}

}  // namespace fleetsim::kernels
