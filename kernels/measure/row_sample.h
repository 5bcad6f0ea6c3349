#pragma once
// Points of row-wise operators: their outputs in the arena, and the rows of them that are checked.

#include <limits>
#include <vector>

#include "kernels/checks/row_comparison.h"
#include "kernels/measure/arena.h"
#include "kernels/measure/point.h"

namespace fleetsim::kernels {

/// Rows of a point that its check computes again.
inline constexpr int kSampledTokens = 32;

/// The format of the axis `output`: e4m3 is with a scale a token.
RowFormat row_format(const Point& point);
/// Bytes of an output of [tokens][width].
std::size_t row_output_bytes(RowFormat format, int tokens, int width);
RowOutput take_row_output(RowFormat format, int tokens, int width, Arena& arena);
/// Every byte 0xFF: NaN in all formats.
void poison_row_output(RowFormat format, const RowOutput& out, int tokens, int width);

/// Rows `rows` of a [..][width] array on the device.
template <class T>
std::vector<T> rows_of(const T* device, int width, const std::vector<int>& rows) {
  const std::size_t columns = static_cast<std::size_t>(width);
  std::vector<T> values(rows.size() * columns);
  for (std::size_t i = 0; i < rows.size(); ++i)
    copy_to_host(values.data() + i * columns, device + static_cast<std::size_t>(rows[i]) * columns,
                 columns * sizeof(T));
  return values;
}

/// The error of these rows by compare_rows: relative L2 error, or the share of other codes.
/// Infinite when something else is wrong.
double row_error(RowFormat format, const RowOutput& out, int width, const std::vector<int>& rows,
                 const std::vector<double>& reference);
/// What it may be at most.
double row_error_limit(RowFormat format);

}  // namespace fleetsim::kernels
