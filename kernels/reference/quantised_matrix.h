#pragma once
// Matrices in fp8 e4m3 with scales, in the layouts that cuBLASLt reads and engines hold.

#include <cstdint>
#include <vector>

#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// Elements along K that share a scale, and rows of a square block.
inline constexpr int kScaleBlock = 128;

/// Which elements of a [rows][columns] matrix share a scale.
enum class Scaling {
  tensor,        // all
  row_blocks,    // 128 of a row: activations (1x128)
  square_blocks  // 128 rows x 128 columns: weights (128x128)
};

/// Scales of a [rows][columns] matrix, padding included.
std::size_t scale_count(Scaling scaling, int rows, int columns);

/// Where the scale of element (row, column) stands.
/// row_blocks: [ceil(columns/128)][rows], so that rows are contiguous (rows: a multiple of 4).
/// square_blocks: [ceil(rows/128)][ceil(columns/128) rounded up to 4], blocks of a row contiguous.
/// Source: NVIDIA, cuBLAS 13 documentation, §3.1.4.5.1 "Scaling factors layouts" (M-major and
/// K-major there; its matrices are these, transposed).
std::size_t scale_index(Scaling scaling, int row, int column, int rows, int columns);

/// A matrix as it stands in memory, and what it means: value = code * scale.
struct QuantisedMatrix {
  Scaling scaling = Scaling::tensor;
  int rows = 0, columns = 0;
  std::vector<E4m3> codes;    // [rows][columns]
  std::vector<float> scales;  // by scale_index; padding is 0

  double value(int row, int column) const;
  /// All values, row by row.
  std::vector<double> values() const;
};

/// Scales so that the largest magnitude of a block becomes 448 (1 where a block is all zero),
/// rounds to nearest even. CHECK: values.size() == rows * columns; all are finite.
QuantisedMatrix quantise_e4m3(const std::vector<float>& values, int rows, int columns,
                              Scaling scaling);

}  // namespace fleetsim::kernels
