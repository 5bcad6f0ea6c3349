#pragma once
// Random operands by seed and purpose: the same on every machine, different for every purpose.

#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// A stream of draws; equal seed and purpose give equal draws.
class RandomInputs {
 public:
  RandomInputs(std::uint64_t seed, std::string_view purpose);

  std::uint32_t word();
  /// 0 to n - 1, n >= 1; its bias is below n / 2^32.
  std::uint32_t below(std::uint32_t n);
  /// Uniform in (0, 1).
  float unit();
  /// Mean 0, variance 1.
  float normal();

  std::vector<float> normals(std::size_t count, float scale = 1.0F);
  std::vector<Bf16> normals_bf16(std::size_t count, float scale = 1.0F);
  std::vector<E4m3> normals_e4m3(std::size_t count, float scale = 1.0F);
  /// 0 to n - 1 in random order.
  std::vector<int> shuffled(int n);

 private:
  std::uint64_t key_;
  std::uint64_t next_ = 0;
  uint4 words_{};
};

}  // namespace fleetsim::kernels
