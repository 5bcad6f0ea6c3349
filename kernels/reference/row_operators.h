#pragma once
// RMSNorm, SiLU·mul, embedding and the quantisation of rows in float64.

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

struct ReferenceNorm {
  std::vector<Bf16> sums;      // [tokens][hidden]: x, or x + residual in fp32 rounded to bf16
  std::vector<double> values;  // [tokens][hidden]: normalised sums, not rounded
};
/// x and residual (may be empty: none) [tokens][hidden], weight [hidden].
ReferenceNorm reference_rms_norm(const std::vector<Bf16>& x, const std::vector<Bf16>& residual,
                                 const std::vector<Bf16>& weight, double epsilon);

/// gate_up [tokens][2 * width] → [tokens][width], not rounded.
std::vector<double> reference_silu_mul(const std::vector<Bf16>& gate_up, int width);

/// table [rows][hidden], the part of a vocabulary from first_id on → [ids.size()][hidden]; zeros
/// for ids outside.
std::vector<Bf16> reference_embedding(const std::vector<std::int32_t>& ids,
                                      const std::vector<Bf16>& table, int hidden, int first_id);

struct QuantisedRows {
  std::vector<double> scaled;  // [tokens][width]: value / scale
  std::vector<E4m3> codes;     // [tokens][width]: their nearest
  std::vector<double> scales;  // [tokens]
};
/// Codes nearest to value / scale, of two the even one, beyond ±448 saturated. Without a
/// `tensor_scale`, a token's scale is its largest magnitude / 448, at least `scale_min`.
QuantisedRows reference_quantise_rows(const std::vector<double>& values, int width,
                                      std::optional<double> tensor_scale, double scale_min);

/// The e4m3 code nearest to `value`, which is no NaN.
E4m3 nearest_e4m3(double value);

}  // namespace fleetsim::kernels
