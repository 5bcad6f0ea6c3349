#include "kernels/reference/random_inputs.h"

#include <cmath>
#include <numeric>

#include "hw_models/check.h"
#include "kernels/device/philox.h"

namespace fleetsim::kernels {

RandomInputs::RandomInputs(std::uint64_t seed, std::string_view purpose) : key_(seed) {
  for (const char c : purpose)  // FNV-1a, 64 bits
    key_ = (key_ ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
}

std::uint32_t RandomInputs::word() {
  const std::uint64_t part = next_ % 4, counter = next_ / 4;
  if (part == 0)
    words_ = philox(
        {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0},
        key_);
  ++next_;
  return part == 0 ? words_.x : part == 1 ? words_.y : part == 2 ? words_.z : words_.w;
}

std::uint32_t RandomInputs::below(std::uint32_t n) {
  CHECK(n >= 1);
  return static_cast<std::uint32_t>(std::uint64_t{word()} * n >> 32);
}

float RandomInputs::unit() { return open_unit(word()); }

float RandomInputs::normal() {  // Box and Muller 1958
  const double radius = std::sqrt(-2.0 * std::log(static_cast<double>(unit())));
  return static_cast<float>(radius * std::cos(6.283185307179586 * static_cast<double>(unit())));
}

std::vector<float> RandomInputs::normals(std::size_t count, float scale) {
  std::vector<float> values(count);
  for (float& value : values) value = scale * normal();
  return values;
}

std::vector<Bf16> RandomInputs::normals_bf16(std::size_t count, float scale) {
  std::vector<Bf16> values(count);
  for (Bf16& value : values) value = to_bf16(scale * normal());
  return values;
}

std::vector<E4m3> RandomInputs::normals_e4m3(std::size_t count, float scale) {
  std::vector<E4m3> values(count);
  for (E4m3& value : values) value = to_e4m3(scale * normal());
  return values;
}

std::vector<int> RandomInputs::shuffled(int n) {
  std::vector<int> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[below(static_cast<std::uint32_t>(i))]);
  return order;
}

}  // namespace fleetsim::kernels
