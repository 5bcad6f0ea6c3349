// The driver encodes tensor maps; it is asked for its function at run time, so that nothing links
// against the driver and programs start without one.

#include "kernels/device/tensor_map.h"

#if defined(__CUDACC__)
#include <cuda.h>
#endif

namespace fleetsim::kernels {
namespace {

constexpr int kRowBytes = 128;  // of a box: the span of the swizzle
constexpr int kBoxMax = 256;    // CUDA driver API, cuTensorMapEncodeTiled
constexpr int kAlignment = 16;  // of the base and of strides, in bytes

void check_shape(const TensorShape& shape) {
  CHECK(shape.base != nullptr && reinterpret_cast<std::uintptr_t>(shape.base) % kAlignment == 0);
  CHECK(shape.rank >= 2 && shape.rank <= 5);
  CHECK(shape.element_bytes == 1 || shape.element_bytes == 2 || shape.element_bytes == 4);
  CHECK(shape.box[0] * shape.element_bytes == kRowBytes);
  for (int d = 0; d < shape.rank; ++d) {
    CHECK(shape.sizes[d] >= 1 && shape.sizes[d] <= (std::int64_t{1} << 32));
    CHECK(shape.box[d] >= 1 && shape.box[d] <= kBoxMax);
    if (d > 0) CHECK(shape.strides[d] >= 0 && shape.strides[d] % kAlignment == 0);
  }
}

}  // namespace

#if defined(__CUDACC__)

TensorMap make_tensor_map(const TensorShape& shape) {
  check_shape(shape);
  using Encode = decltype(&cuTensorMapEncodeTiled);
  static const Encode encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found{};
    constexpr unsigned kSince = 12000;  // the CUDA version that brought it
    CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kSince,
                                                cudaEnableDefault, &found));
    if (found != cudaDriverEntryPointSuccess || function == nullptr)
      throw NotSupportedHere("the driver knows no tensor maps");
    return reinterpret_cast<Encode>(function);
  }();
  static_assert(sizeof(CUtensorMap) == sizeof(TensorMap) &&
                alignof(CUtensorMap) <= alignof(TensorMap));
  cuuint64_t sizes[5], strides[4];
  cuuint32_t box[5], steps[5];
  for (int d = 0; d < shape.rank; ++d) {
    sizes[d] = static_cast<cuuint64_t>(shape.sizes[d]);
    if (d > 0) strides[d - 1] = static_cast<cuuint64_t>(shape.strides[d]);
    box[d] = static_cast<cuuint32_t>(shape.box[d]);
    steps[d] = 1;
  }
  const CUtensorMapDataType type = shape.element_bytes == 1   ? CU_TENSOR_MAP_DATA_TYPE_UINT8
                                   : shape.element_bytes == 2 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                                              : CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
  TensorMap map;
  const CUresult result =
      encode(reinterpret_cast<CUtensorMap*>(&map), type, static_cast<cuuint32_t>(shape.rank),
             const_cast<void*>(shape.base), sizes, strides, box, steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    throw CudaError("cuTensorMapEncodeTiled: error " + std::to_string(static_cast<int>(result)));
  return map;
}

#else

TensorMap make_tensor_map(const TensorShape& shape) {
  check_shape(shape);
  TensorMap map;
  map.box.base = shape.base;
  map.box.element_bytes = static_cast<std::size_t>(shape.element_bytes);
  map.box.rank = shape.rank;
  for (int d = 0; d < shape.rank; ++d) {
    map.box.sizes[d] = static_cast<std::uint64_t>(shape.sizes[d]);
    map.box.strides[d] = d == 0 ? static_cast<std::uint64_t>(shape.element_bytes)
                                : static_cast<std::uint64_t>(shape.strides[d]);
    map.box.box[d] = static_cast<std::uint32_t>(shape.box[d]);
  }
  return map;
}

#endif

}  // namespace fleetsim::kernels
