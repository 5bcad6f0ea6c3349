// Host code alone; a .cu so that it is built wherever the kernel is.

#include <stdexcept>
#include <string>

#include "hw_models/check.h"
#include "kernels/operators/w4a16_tiles.h"

namespace fleetsim::kernels {
namespace {

/// Where the parts of an element stand in its tile.
struct TilePlace {
  std::size_t code_byte;
  int code_shift;  // 0 or 4
  std::size_t scale_byte;
  std::size_t zero_byte;
  int zero_shift;
};

TilePlace place_of(int row, int column) {
  const int step = row / 16, pair = row % 16 / 2, t = pair % 4;
  const int g = column % 8, block = column / 8;  // block: of the eight mma
  const int lane = 4 * g + t, word = block / 2;
  const int bit = 4 * (block % 2 * 2 + pair / 4) + 16 * (row % 2);
  TilePlace place{};
  place.code_byte = static_cast<std::size_t>((step * 32 + lane) * 16 + word * 4 + bit / 8);
  place.code_shift = bit % 8;
  place.scale_byte = static_cast<std::size_t>(kW4a16CodeBytes + (g * 8 + block) * 2);
  place.zero_byte =
      static_cast<std::size_t>(kW4a16CodeBytes + kW4a16ScaleBytes + g * 4 + block / 2);
  place.zero_shift = block % 2 * 4;
  return place;
}

/// Calls visit(place, byte offset of its tile, row, column) for every element.
template <class Visit>
void for_each_element(int n, int k, Visit&& visit) {
  std::size_t tile = 0;
  for (int first_column = 0; first_column < n; first_column += kW4a16TileColumns)
    for (int first_row = 0; first_row < k; first_row += kInt4Group, tile += kW4a16TileBytes)
      for (int row = 0; row < kInt4Group; ++row)
        for (int column = 0; column < kW4a16TileColumns; ++column)
          visit(place_of(row, column), tile, first_row + row, first_column + column);
}

}  // namespace

std::size_t w4a16_tiles_bytes(int n, int k) {
  return static_cast<std::size_t>(n / kW4a16TileColumns) *
         static_cast<std::size_t>(k / kInt4Group) * kW4a16TileBytes;
}

std::vector<std::uint8_t> pack_w4a16_tiles(const Int4Weights& weights) {
  if (weights.n % kW4a16TileColumns != 0 || weights.k % kInt4Group != 0)
    throw std::invalid_argument("W4A16 tiles are 128 inputs x 64 outputs; a layer of " +
                                std::to_string(weights.k) + " x " + std::to_string(weights.n) +
                                " does not divide into them");
  std::vector<std::uint8_t> tiles(w4a16_tiles_bytes(weights.n, weights.k), 0);
  for_each_element(
      weights.n, weights.k, [&](const TilePlace& place, std::size_t tile, int row, int column) {
        const std::size_t element = static_cast<std::size_t>(row) * weights.n + column;
        std::uint8_t* bytes = tiles.data() + tile;
        bytes[place.code_byte] |=
            static_cast<std::uint8_t>(weights.codes[element] << place.code_shift);
        if (row % kInt4Group != 0) return;
        const std::size_t group = static_cast<std::size_t>(row / kInt4Group) * weights.n + column;
        const std::uint16_t scale = weights.scales[group].bits;
        bytes[place.scale_byte] = static_cast<std::uint8_t>(scale & 0xffU);
        bytes[place.scale_byte + 1] = static_cast<std::uint8_t>(scale >> 8);
        bytes[place.zero_byte] |=
            static_cast<std::uint8_t>(weights.zeros[group] << place.zero_shift);
      });
  return tiles;
}

Int4Weights unpack_w4a16_tiles(const std::vector<std::uint8_t>& tiles, int n, int k) {
  CHECK(n % kW4a16TileColumns == 0 && k % kInt4Group == 0);
  CHECK(tiles.size() == w4a16_tiles_bytes(n, k));
  Int4Weights weights;
  weights.n = n;
  weights.k = k;
  weights.codes.resize(static_cast<std::size_t>(n) * static_cast<std::size_t>(k));
  weights.zeros.resize(weights.codes.size() / kInt4Group);
  weights.scales.resize(weights.zeros.size());
  for_each_element(n, k, [&](const TilePlace& place, std::size_t tile, int row, int column) {
    const std::uint8_t* bytes = tiles.data() + tile;
    weights.codes[static_cast<std::size_t>(row) * n + column] =
        bytes[place.code_byte] >> place.code_shift & 0xf;
    const std::size_t group = static_cast<std::size_t>(row / kInt4Group) * n + column;
    weights.zeros[group] = bytes[place.zero_byte] >> place.zero_shift & 0xf;
    weights.scales[group].bits =
        static_cast<std::uint16_t>(bytes[place.scale_byte] | bytes[place.scale_byte + 1] << 8);
  });
  return weights;
}

}  // namespace fleetsim::kernels
