#pragma once
// Rotary position embedding: a model's frequencies, the table that kernels read, the rotation in
// float64.

#include <vector>

namespace fleetsim::kernels {

/// How a model turns positions into angles. Pairs are (i, i + head_dim / 2), as Llama and GPT-NeoX
/// lay them out. Sources: Su et al. 2021 (RoFormer); the rope_scaling of type "llama3" of Llama
/// 3.1's config.json: wavelengths above original_positions / low_frequency_factor are stretched by
/// `stretch`, those below original_positions / high_frequency_factor are kept, in between
/// frequencies are mixed linearly in original_positions / wavelength.
struct RotaryEmbedding {
  int head_dim = 128;
  double theta = 500'000;  // base; Llama 3
  double stretch = 1;      // 1: none; Llama 3.1: 8
  double low_frequency_factor = 1;
  double high_frequency_factor = 4;
  double original_positions = 8192;
};

/// Radians a position of each pair: [head_dim / 2].
std::vector<double> inverse_frequencies(const RotaryEmbedding& embedding);

/// [positions][head_dim]: cosines of all pairs, then sines; computed in float64, rounded once.
std::vector<float> rotary_table(const RotaryEmbedding& embedding, int positions);

/// One head [head_dim] at `position`, rotated in float64.
std::vector<double> rotated(const std::vector<double>& head, int position,
                            const std::vector<double>& inverse_frequencies);

}  // namespace fleetsim::kernels
