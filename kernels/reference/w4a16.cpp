#include "kernels/reference/w4a16.h"

#include "hw_models/check.h"

namespace fleetsim::kernels {

std::vector<double> reference_w4a16_gemm(const std::vector<Bf16>& activations,
                                         const Int4Weights& weights) {
  const std::size_t k = static_cast<std::size_t>(weights.k);
  const std::size_t n = static_cast<std::size_t>(weights.n);
  CHECK(k > 0 && activations.size() % k == 0);
  const std::size_t rows = activations.size() / k;
  std::vector<double> out(rows * n, 0.0);
  std::vector<double> weight_row(n);
  for (std::size_t depth = 0; depth < k; ++depth) {
    for (std::size_t column = 0; column < n; ++column)
      weight_row[column] = static_cast<double>(to_float(to_bf16(static_cast<float>(
          weights.weight(static_cast<int>(depth), static_cast<int>(column))))));  // exact in fp32
    for (std::size_t row = 0; row < rows; ++row) {
      const double activation = to_float(activations[row * k + depth]);
      double* sums = out.data() + row * n;
      for (std::size_t column = 0; column < n; ++column)
        sums[column] += activation * weight_row[column];
    }
  }
  return out;
}

}  // namespace fleetsim::kernels
