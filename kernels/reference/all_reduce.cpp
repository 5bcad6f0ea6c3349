#include "kernels/reference/all_reduce.h"

#include "hw_models/check.h"

namespace fleetsim::kernels {

std::vector<double> reference_all_reduce(const std::vector<std::vector<Bf16>>& inputs) {
  CHECK(!inputs.empty());
  std::vector<double> sums(inputs[0].size(), 0.0);
  for (const std::vector<Bf16>& input : inputs) {
    CHECK(input.size() == sums.size());
    for (std::size_t i = 0; i < sums.size(); ++i)
      sums[i] += static_cast<double>(to_float(input[i]));
  }
  return sums;
}

}  // namespace fleetsim::kernels
