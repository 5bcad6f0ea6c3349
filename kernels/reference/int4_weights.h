#pragma once
// int4 weights as AWQ and GPTQ checkpoints publish them, and what they mean.
//
// Both quantise along K in groups of 128: weight(k, n) = (code(k, n) - zero(k / 128, n)) *
// scale(k / 128, n), codes 0 to 15. Sources: Frantar et al., "GPTQ" (ICLR 2023) with AutoGPTQ's
// file layout; Lin et al., "AWQ" (MLSys 2024) with AutoAWQ's `gemm` layout.

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// Weights along K that share a scale and a zero point.
inline constexpr int kInt4Group = 128;

/// One linear layer, unpacked: what the layouts below agree on.
struct Int4Weights {
  int k = 0, n = 0;                 // inputs, outputs
  std::vector<std::uint8_t> codes;  // [k][n], 0 to 15
  std::vector<std::uint8_t> zeros;  // [k/128][n], 0 to 15
  std::vector<Bf16> scales;         // [k/128][n]

  /// (code - zero) * scale, exactly.
  double weight(int row, int column) const {
    const std::size_t group = static_cast<std::size_t>(row / kInt4Group) * n + column;
    return (codes[static_cast<std::size_t>(row) * n + column] - zeros[group]) *
           static_cast<double>(to_float(scales[group]));
  }
};

enum class ScaleFormat { half, bf16 };

/// The tensors of one layer as they stand in a checkpoint.
struct Int4Checkpoint {
  int k = 0, n = 0;  // multiples of 128 and of 8
  std::span<const std::int32_t> qweight;
  std::span<const std::int32_t> qzeros;   // may be empty in GPTQ: symmetric, every zero point is 8
  std::span<const std::uint16_t> scales;  // [k/128][n]
  ScaleFormat scale_format = ScaleFormat::half;
};

/// How GPTQ files hold zero points: AutoGPTQ's first format stores them less one.
enum class GptqZeros { less_one, plain };

/// qweight [k/8][n]: bits 4i of word (r, c) are code (8r + i, c). qzeros [k/128][n/8]: bits 4i of
/// word (g, c) are zero point (g, 8c + i). Rows in their order (`desc_act` false). fp16 scales are
/// rounded to bf16, as engines do that run the model in bf16.
/// Errors: std::invalid_argument for shapes that do not fit, and for a zero point of 16.
Int4Weights unpack_gptq(const Int4Checkpoint& checkpoint, GptqZeros zeros);

/// qweight [k][n/8] and qzeros [k/128][n/8]: bits 4i of word (r, c) belong to column
/// 8c + {0, 2, 4, 6, 1, 3, 5, 7}[i]. Otherwise as unpack_gptq; qzeros must be there.
Int4Weights unpack_awq(const Int4Checkpoint& checkpoint);

}  // namespace fleetsim::kernels
