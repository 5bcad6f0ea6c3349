#pragma once
// Where a row-wise operator puts its values: bf16, or fp8 e4m3 with a scale a token or a tensor.

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// The least scale of a token: rows near zero do not divide by it. Source: vLLM,
/// csrc/quantization/fp8: 1 / (448 * 512).
inline constexpr float kE4m3ScaleMin = 1.0F / (kE4m3Max * 512.0F);

/// Either `values`, or `codes` with one of the two scales; the rest is null. value = code * scale.
struct RowOutput {
  Bf16* values = nullptr;               // [tokens][width]
  E4m3* codes = nullptr;                // [tokens][width]
  float* token_scales = nullptr;        // [tokens], written: max |value| / 448, at least
                                        // kE4m3ScaleMin
  const float* tensor_scale = nullptr;  // [1], read, > 0; values beyond 448 * scale saturate

  bool is_sound() const {
    return codes == nullptr
               ? values != nullptr && token_scales == nullptr && tensor_scale == nullptr
               : values == nullptr && (token_scales == nullptr) != (tensor_scale == nullptr);
  }
};

}  // namespace fleetsim::kernels
