#include "kernels/reference/gemm.h"

#include <algorithm>
#include <set>

#include "hw_models/check.h"
#include "kernels/reference/random_inputs.h"

namespace fleetsim::kernels {

std::vector<double> reference_gemm(const std::vector<double>& activations,
                                   const std::vector<double>& weights, int k) {
  const auto inputs = static_cast<std::size_t>(k);
  CHECK(k >= 1 && activations.size() % inputs == 0 && weights.size() % inputs == 0);
  const std::size_t m = activations.size() / inputs, n = weights.size() / inputs;
  std::vector<double> out(m * n);
  for (std::size_t row = 0; row < m; ++row)
    for (std::size_t column = 0; column < n; ++column) {
      const double* a = activations.data() + row * inputs;
      const double* b = weights.data() + column * inputs;
      double sum = 0;
      for (std::size_t i = 0; i < inputs; ++i) sum += a[i] * b[i];
      out[row * n + column] = sum;
    }
  return out;
}

std::vector<int> sampled_indices(int count, int wanted, std::uint64_t seed) {
  CHECK(count >= 1 && wanted >= 1);
  std::set<int> chosen;
  const auto take = [&](int index) {
    if (index >= 0 && index < count && static_cast<int>(chosen.size()) < std::min(wanted, count))
      chosen.insert(index);
  };
  take(0);
  take(count - 1);
  RandomInputs draws(seed, "sampled indices");
  if (count > 128) {  // one inner edge, both sides
    const int edge =
        128 * (1 + static_cast<int>(draws.below(static_cast<std::uint32_t>((count - 1) / 128))));
    take(edge - 1);
    take(edge);
  }
  if (count <= wanted)
    for (int index = 0; index < count; ++index) take(index);
  while (static_cast<int>(chosen.size()) < std::min(wanted, count))
    take(static_cast<int>(draws.below(static_cast<std::uint32_t>(count))));
  return {chosen.begin(), chosen.end()};
}

std::vector<double> doubles_of(const std::vector<Bf16>& values) {
  std::vector<double> wide(values.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    wide[i] = static_cast<double>(to_float(values[i]));
  return wide;
}

std::vector<double> doubles_of(const std::vector<std::int8_t>& values) {
  return {values.begin(), values.end()};
}

}  // namespace fleetsim::kernels
