#pragma once
// Starting a kernel on a stream, and what a launch needs to know of the device.

#include <stdexcept>
#include <string>
#include <utility>

#include "hw_models/check.h"
#include "kernels/device/cuda_words.h"

namespace fleetsim::kernels {

#if defined(__CUDACC__) || defined(FLEETSIM_CUDA_RUNTIME)
using Stream = cudaStream_t;
#else
/// The emulator runs a launch at once; streams are in order by nature.
struct EmulatedStream;
using Stream = EmulatedStream*;
#endif

/// A CUDA call failed: which, where, and CUDA's own words.
class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// This GPU, or this machine, cannot do what was asked (too old, too few GPUs, a library that is
/// missing): a point is skipped, and the text says why.
class NotSupportedHere : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct DeviceFacts {
  std::string name;
  int compute_capability = 0;  // 90: sm_90
  int sms = 0;
  std::size_t l2_bytes = 0;
  std::size_t memory_bytes = 0;
  std::size_t shared_bytes_max = 0;  // per block, after opting in
};
/// The current device (read once). Errors: CudaError without one.
const DeviceFacts& device_facts();

/// How a kernel is started.
struct LaunchShape {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  Stream stream = {};
  bool after_trigger = false;  // programmatic dependent launch: may start while the one before ends
  bool all_blocks_together = false;  // blocks wait for each other: all must be resident
};

#if defined(__CUDACC__) || defined(FLEETSIM_CUDA_RUNTIME)

[[noreturn]] inline void fail_cuda(cudaError_t error, const char* call, const char* file,
                                   int line) {
  throw CudaError(std::string(file) + ":" + std::to_string(line) + ": " + call + ": " +
                  cudaGetErrorString(error));
}

#define CUDA_CHECK(call)                                                           \
  do {                                                                             \
    const cudaError_t cuda_check_error = (call);                                   \
    if (cuda_check_error != cudaSuccess)                                           \
      ::fleetsim::kernels::fail_cuda(cuda_check_error, #call, __FILE__, __LINE__); \
  } while (false)

#endif

#if defined(__CUDACC__)

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, Arguments&&... arguments) {
  if (shape.shared_bytes > 48 * 1024)
    CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                    cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shape.shared_bytes)));
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = shape.stream;
  cudaLaunchAttribute attributes[2];
  unsigned count = 0;
  if (shape.after_trigger && device_facts().compute_capability >= 90) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.all_blocks_together) {
    attributes[count].id = cudaLaunchAttributeCooperative;
    attributes[count++].val.cooperative = 1;
  }
  config.attrs = attributes;
  config.numAttrs = count;
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

#elif !defined(FLEETSIM_CUDA_RUNTIME)

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, Arguments&&... arguments) {
  emulation::launch(shape.grid, shape.block, shape.shared_bytes, shape.all_blocks_together,
                    [&] { kernel(arguments...); });
}

#endif

}  // namespace fleetsim::kernels
