#include "kernels/reference/rope.h"

#include <cmath>

#include "hw_models/check.h"

namespace fleetsim::kernels {

std::vector<double> inverse_frequencies(const RotaryEmbedding& embedding) {
  CHECK(embedding.head_dim >= 2 && embedding.head_dim % 2 == 0);
  CHECK(embedding.high_frequency_factor > embedding.low_frequency_factor);
  std::vector<double> frequencies;
  for (int i = 0; i < embedding.head_dim / 2; ++i) {
    const double plain = std::pow(embedding.theta, -2.0 * i / embedding.head_dim);
    const double wavelength = 2.0 * 3.14159265358979323846 / plain;
    const double turns = embedding.original_positions / wavelength;  // within the first training
    const double kept = std::fmin(1.0, std::fmax(0.0, (turns - embedding.low_frequency_factor) /
                                                          (embedding.high_frequency_factor -
                                                           embedding.low_frequency_factor)));
    frequencies.push_back(plain * (kept + (1.0 - kept) / embedding.stretch));
  }
  return frequencies;
}

std::vector<float> rotary_table(const RotaryEmbedding& embedding, int positions) {
  const std::vector<double> frequencies = inverse_frequencies(embedding);
  std::vector<float> table;
  table.reserve(static_cast<std::size_t>(positions) * 2 * frequencies.size());
  for (int position = 0; position < positions; ++position) {
    for (const double frequency : frequencies)
      table.push_back(static_cast<float>(std::cos(position * frequency)));
    for (const double frequency : frequencies)
      table.push_back(static_cast<float>(std::sin(position * frequency)));
  }
  return table;
}

std::vector<double> rotated(const std::vector<double>& head, int position,
                            const std::vector<double>& inverse_frequencies) {
  const std::size_t half = inverse_frequencies.size();
  CHECK(head.size() == 2 * half);
  std::vector<double> out(head.size());
  for (std::size_t i = 0; i < half; ++i) {
    const double angle = position * inverse_frequencies[i];
    out[i] = head[i] * std::cos(angle) - head[i + half] * std::sin(angle);
    out[i + half] = head[i + half] * std::cos(angle) + head[i] * std::sin(angle);
  }
  return out;
}

}  // namespace fleetsim::kernels
