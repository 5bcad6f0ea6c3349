#include "kernels/reference/int4_weights.h"

#include <stdexcept>
#include <string>

namespace fleetsim::kernels {
namespace {

/// Column within eight of the nibble i of an AWQ word.
constexpr int kAwqOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};

std::uint8_t nibble(std::int32_t word, int i) {
  return static_cast<std::uint8_t>(static_cast<std::uint32_t>(word) >> (4 * i) & 0xfU);
}

void require_length(const char* tensor, std::size_t length, std::size_t expected) {
  if (length != expected)
    throw std::invalid_argument(std::string(tensor) + " has " + std::to_string(length) +
                                " elements; its layer's shape asks for " +
                                std::to_string(expected));
}

/// Checks the shapes; fills in sizes and scales.
Int4Weights begin_unpacking(const Int4Checkpoint& checkpoint, bool zeros_needed) {
  const int k = checkpoint.k, n = checkpoint.n;
  if (k <= 0 || k % kInt4Group != 0)
    throw std::invalid_argument("int4 weights with " + std::to_string(k) +
                                " inputs: groups of 128 ask for a multiple of 128");
  if (n <= 0 || n % 8 != 0)
    throw std::invalid_argument("int4 weights with " + std::to_string(n) +
                                " outputs: words of eight codes ask for a multiple of 8");
  const std::size_t groups = static_cast<std::size_t>(k / kInt4Group);
  const std::size_t columns = static_cast<std::size_t>(n);
  require_length("qweight", checkpoint.qweight.size(), static_cast<std::size_t>(k) * columns / 8);
  require_length("scales", checkpoint.scales.size(), groups * columns);
  if (zeros_needed || !checkpoint.qzeros.empty())
    require_length("qzeros", checkpoint.qzeros.size(), groups * columns / 8);

  Int4Weights weights;
  weights.k = k;
  weights.n = n;
  weights.codes.resize(static_cast<std::size_t>(k) * columns);
  weights.zeros.assign(groups * columns, 8);
  for (const std::uint16_t bits : checkpoint.scales)
    weights.scales.push_back(
        checkpoint.scale_format == ScaleFormat::bf16 ? Bf16{bits} : to_bf16(to_float(Half{bits})));
  return weights;
}

}  // namespace

Int4Weights unpack_gptq(const Int4Checkpoint& checkpoint, GptqZeros zeros) {
  Int4Weights weights = begin_unpacking(checkpoint, false);
  const std::size_t columns = static_cast<std::size_t>(weights.n);
  for (std::size_t word = 0; word < checkpoint.qweight.size(); ++word)
    for (int i = 0; i < 8; ++i)
      weights.codes[(word / columns * 8 + i) * columns + word % columns] =
          nibble(checkpoint.qweight[word], i);
  const int added = zeros == GptqZeros::less_one ? 1 : 0;
  for (std::size_t word = 0; word < checkpoint.qzeros.size(); ++word)
    for (int i = 0; i < 8; ++i) {
      const int zero = nibble(checkpoint.qzeros[word], i) + added;
      if (zero > 15)
        throw std::invalid_argument("qzeros word " + std::to_string(word) +
                                    " holds a zero point of 16: codes are 0 to 15; is the file of "
                                    "the format that stores zero points as they are?");
      weights.zeros[word * 8 + i] = static_cast<std::uint8_t>(zero);
    }
  return weights;
}

Int4Weights unpack_awq(const Int4Checkpoint& checkpoint) {
  Int4Weights weights = begin_unpacking(checkpoint, true);
  // a row is n / 8 words, so word * 8 is the place of the word's first column
  for (std::size_t word = 0; word < checkpoint.qweight.size(); ++word)
    for (int i = 0; i < 8; ++i)
      weights.codes[word * 8 + kAwqOrder[i]] = nibble(checkpoint.qweight[word], i);
  for (std::size_t word = 0; word < checkpoint.qzeros.size(); ++word)
    for (int i = 0; i < 8; ++i)
      weights.zeros[word * 8 + kAwqOrder[i]] = nibble(checkpoint.qzeros[word], i);
  return weights;
}

}  // namespace fleetsim::kernels
