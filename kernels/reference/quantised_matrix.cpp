#include "kernels/reference/quantised_matrix.h"

#include <cmath>

#include "hw_models/check.h"

namespace fleetsim::kernels {
namespace {

std::size_t blocks_along(int length) {
  return static_cast<std::size_t>(ceil_div(length, kScaleBlock));
}

/// The stride between block rows of square blocks: cuBLASLt wants a multiple of 4.
std::size_t square_stride(int columns) {
  return ceil_div<std::size_t>(blocks_along(columns), 4) * 4;
}

}  // namespace

std::size_t scale_count(Scaling scaling, int rows, int columns) {
  switch (scaling) {
    case Scaling::tensor:
      return 1;
    case Scaling::row_blocks:
      return blocks_along(columns) * static_cast<std::size_t>(rows);
    case Scaling::square_blocks:
      return blocks_along(rows) * square_stride(columns);
  }
  CHECK(false, "a scaling that is none");
  return 0;
}

std::size_t scale_index(Scaling scaling, int row, int column, int rows, int columns) {
  const auto block_row = static_cast<std::size_t>(row / kScaleBlock);
  const auto block_column = static_cast<std::size_t>(column / kScaleBlock);
  switch (scaling) {
    case Scaling::tensor:
      return 0;
    case Scaling::row_blocks:
      return block_column * static_cast<std::size_t>(rows) + static_cast<std::size_t>(row);
    case Scaling::square_blocks:
      return block_row * square_stride(columns) + block_column;
  }
  CHECK(false, "a scaling that is none");
  return 0;
}

double QuantisedMatrix::value(int row, int column) const {
  const std::size_t i = static_cast<std::size_t>(row) * columns + column;
  return static_cast<double>(to_float(codes[i])) *
         static_cast<double>(scales[scale_index(scaling, row, column, rows, columns)]);
}

std::vector<double> QuantisedMatrix::values() const {
  std::vector<double> all;
  all.reserve(codes.size());
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < columns; ++column) all.push_back(value(row, column));
  return all;
}

QuantisedMatrix quantise_e4m3(const std::vector<float>& values, int rows, int columns,
                              Scaling scaling) {
  CHECK(values.size() == static_cast<std::size_t>(rows) * columns);
  QuantisedMatrix matrix{scaling, rows, columns, std::vector<E4m3>(values.size()), {}};
  matrix.scales.assign(scale_count(scaling, rows, columns), 0.0F);
  const auto each = [&](auto&& visit) {
    for (int row = 0; row < rows; ++row)
      for (int column = 0; column < columns; ++column)
        visit(static_cast<std::size_t>(row) * columns + column,
              scale_index(scaling, row, column, rows, columns));
  };
  std::vector<float> largest(matrix.scales.size(), 0.0F);
  each([&](std::size_t element, std::size_t block) {
    CHECK(std::isfinite(values[element]), "only finite values have a place in e4m3");
    largest[block] = std::fmax(largest[block], std::fabs(values[element]));
  });
  each([&](std::size_t element, std::size_t block) {
    // an all-zero block, or one so small that its scale would vanish, is stored as zeros
    const float scale = largest[block] / kE4m3Max;
    matrix.scales[block] = scale > 0 ? scale : 1.0F;
    matrix.codes[element] = to_e4m3(values[element] / matrix.scales[block]);
  });
  return matrix;
}

}  // namespace fleetsim::kernels
