#pragma once
// Shapes of operators as rows of tables: which kinds there are, their columns, and cells both ways.

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hw_models/operator_shapes.h"

namespace fleetsim {

inline constexpr std::size_t kMostShapeColumns = 12;

/// A kind of operator is an alternative of OperatorShape and a table of its own.
struct ShapeKind {
  std::string name;                  // "decode_attention"; its file is this with .csv
  std::vector<std::string> columns;  // in order, at most kMostShapeColumns
};
/// By OperatorShape::index().
const std::vector<ShapeKind>& shape_kinds();
const ShapeKind& kind_of(const OperatorShape& shape);

/// The fields in the order of the columns, words and truths as numbers; unused ones are 0. Equal
/// exactly when the shapes are.
std::array<double, kMostShapeColumns> numbers_of(const OperatorShape& shape);

/// Appends the cells of a row, separated by commas. Numbers are the shortest that read back alike.
void append_cells(const OperatorShape& shape, fmt::memory_buffer& into);

/// A shape out of cells. Errors: nullopt, with `column` the first bad cell's place and `wanted`
/// what it should be. Numbers must be positive and finite (skew, decodes and their context: 0 or
/// more). CHECK on the number of cells.
struct CellFault {
  std::size_t column = 0;
  std::string wanted;  // "a number above 0", "one of bf16, fp8"
};
std::optional<OperatorShape> shape_of(std::size_t kind, const std::vector<std::string_view>& cells,
                                      CellFault& fault);

/// "gemm format=bf16 m=1 n=4096 k=4096", for people.
std::string text_of(const OperatorShape& shape);

}  // namespace fleetsim
