// The float64 GEMM, its samples, and quantisation to e4m3 with the scale layouts of cuBLASLt.

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/reference/gemm.h"
#include "kernels/reference/quantised_matrix.h"
#include "kernels/reference/random_inputs.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

/// Largest magnitude of a [rows][columns] matrix within [row, row_end) x [column, column_end).
float largest_in(const std::vector<float>& values, int columns, int row, int row_end, int column,
                 int column_end) {
  float largest = 0;
  for (int r = row; r < row_end; ++r)
    for (int c = column; c < column_end; ++c)
      largest = std::fmax(largest, std::fabs(values[static_cast<std::size_t>(r) * columns + c]));
  return largest;
}

/// A matrix whose 128 x 128 blocks have very different magnitudes, so that a scale taken from the
/// wrong block shows.
std::vector<float> uneven_matrix(int rows, int columns) {
  RandomInputs draws(3, "uneven");
  std::vector<float> values = draws.normals(static_cast<std::size_t>(rows) * columns);
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c)
      values[static_cast<std::size_t>(r) * columns + c] *=
          std::ldexp(1.0F, (r / 128 * 5 + c / 128 * 3 + r % 4) % 17);
  return values;
}

}  // namespace

TEST_CASE("the reference GEMM multiplies rows of activations with rows of weights", "[gemm]") {
  // [[1 2 3], [4 5 6]] x [[1 0 -1], [2 1 0]]^T by hand
  const std::vector<double> out = reference_gemm({1, 2, 3, 4, 5, 6}, {1, 0, -1, 2, 1, 0}, 3);
  CHECK(out == std::vector<double>{-2, 4, -2, 13});
  CHECK(reference_gemm({2}, {3}, 1) == std::vector<double>{6});
  CHECK_THROWS(reference_gemm({1, 2, 3}, {1, 2}, 2));
}

TEST_CASE("operands become doubles exactly", "[gemm]") {
  CHECK(doubles_of(std::vector<Bf16>{to_bf16(-1.5F), to_bf16(0.0078125F)}) ==
        std::vector<double>{-1.5, 0.0078125});
  CHECK(doubles_of(std::vector<std::int8_t>{-128, 127}) == std::vector<double>{-128, 127});
}

TEST_CASE("samples hold both ends and both sides of a tile's edge, and no index twice", "[gemm]") {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const std::vector<int> sample = sampled_indices(5000, 16, seed);
    REQUIRE(sample.size() == 16);
    REQUIRE(std::set<int>(sample.begin(), sample.end()).size() == 16);
    REQUIRE(std::is_sorted(sample.begin(), sample.end()));
    REQUIRE(sample.front() == 0);
    REQUIRE(sample.back() == 4999);
    const bool edge = std::adjacent_find(sample.begin(), sample.end(), [](int a, int b) {
                        return b == a + 1 && b % 128 == 0;
                      }) != sample.end();
    REQUIRE(edge);
  }
  CHECK(sampled_indices(5000, 16, 1) != sampled_indices(5000, 16, 2));
  CHECK(sampled_indices(3, 100, 9) == std::vector<int>{0, 1, 2});
  CHECK(sampled_indices(1, 4, 9) == std::vector<int>{0});
  CHECK(sampled_indices(129, 1, 9) == std::vector<int>{0});
}

TEST_CASE("scales stand where cuBLASLt reads them", "[gemm]") {
  // 1x128 scales of [8][384]: rows contiguous, one column of blocks after the other
  CHECK(scale_count(Scaling::row_blocks, 8, 384) == 24);
  CHECK(scale_index(Scaling::row_blocks, 5, 127, 8, 384) == 5);
  CHECK(scale_index(Scaling::row_blocks, 5, 128, 8, 384) == 13);
  CHECK(scale_index(Scaling::row_blocks, 7, 383, 8, 384) == 23);
  // 128x128 scales of [256][640]: five blocks along K, padded to eight
  CHECK(scale_count(Scaling::square_blocks, 256, 640) == 16);
  CHECK(scale_index(Scaling::square_blocks, 127, 639, 256, 640) == 4);
  CHECK(scale_index(Scaling::square_blocks, 128, 0, 256, 640) == 8);
  CHECK(scale_count(Scaling::tensor, 256, 640) == 1);
  CHECK(scale_index(Scaling::tensor, 255, 639, 256, 640) == 0);
}

TEST_CASE("every scale is the largest magnitude of its block over 448", "[gemm]") {
  constexpr int kRows = 260, kColumns = 300;  // neither a multiple of 128
  const std::vector<float> values = uneven_matrix(kRows, kColumns);
  struct Extent {
    Scaling scaling;
    int rows, columns;
  };
  for (const Extent extent :
       {Extent{Scaling::tensor, kRows, kColumns}, Extent{Scaling::row_blocks, 1, 128},
        Extent{Scaling::square_blocks, 128, 128}}) {
    const QuantisedMatrix matrix = quantise_e4m3(values, kRows, kColumns, extent.scaling);
    REQUIRE(matrix.scales.size() == scale_count(extent.scaling, kRows, kColumns));
    for (int row = 0; row < kRows; row += extent.rows)
      for (int column = 0; column < kColumns; column += extent.columns) {
        const int row_end = std::min(row + extent.rows, kRows);
        const int column_end = std::min(column + extent.columns, kColumns);
        const float largest = largest_in(values, kColumns, row, row_end, column, column_end);
        // of all elements of the block alike
        for (const int r : {row, row_end - 1})
          for (const int c : {column, column_end - 1})
            REQUIRE(matrix.scales[scale_index(extent.scaling, r, c, kRows, kColumns)] ==
                    largest / 448.0F);
      }
  }
}

TEST_CASE("quantised values are within half a step of e4m3 of what they were", "[gemm]") {
  constexpr int kRows = 132, kColumns = 260;
  const std::vector<float> values = uneven_matrix(kRows, kColumns);
  for (const Scaling scaling : {Scaling::row_blocks, Scaling::square_blocks}) {
    const QuantisedMatrix matrix = quantise_e4m3(values, kRows, kColumns, scaling);
    const std::vector<double> back = matrix.values();
    for (int row = 0; row < kRows; ++row)
      for (int column = 0; column < kColumns; ++column) {
        const std::size_t i = static_cast<std::size_t>(row) * kColumns + column;
        const double scale =
            static_cast<double>(matrix.scales[scale_index(scaling, row, column, kRows, kColumns)]);
        // 3 fraction bits: half a step is 1/16 of the value at most, 2^-10 of the scale near zero
        const double bound =
            std::fmax(std::fabs(static_cast<double>(values[i])) / 16, scale / 1024);
        REQUIRE(std::fabs(back[i] - static_cast<double>(values[i])) <= bound * (1 + 1e-6));
        REQUIRE(back[i] == matrix.value(row, column));
      }
  }
}

TEST_CASE("blocks keep small values that a scale for the whole matrix loses", "[gemm]") {
  // one row of ones, one of 10^6: a single scale rounds the ones to zero
  std::vector<float> values(2 * 128, 1.0F);
  std::fill(values.begin() + 128, values.end(), 1e6F);
  CHECK(quantise_e4m3(values, 2, 128, Scaling::tensor).value(0, 0) == 0.0);
  CHECK(quantise_e4m3(values, 2, 128, Scaling::row_blocks).value(0, 0) ==
        Approx(1.0).epsilon(1e-6));
}

TEST_CASE("zeros stay zeros, and what is not finite is refused", "[gemm]") {
  const QuantisedMatrix zeros =
      quantise_e4m3(std::vector<float>(256, 0.0F), 2, 128, Scaling::row_blocks);
  CHECK(zeros.values() == std::vector<double>(256, 0.0));
  CHECK(zeros.scales == std::vector<float>{1.0F, 1.0F});
  CHECK_THROWS(quantise_e4m3({1.0F, NAN}, 1, 2, Scaling::tensor));
  CHECK_THROWS(quantise_e4m3({1.0F, INFINITY}, 1, 2, Scaling::tensor));
  CHECK_THROWS(quantise_e4m3({1.0F}, 1, 2, Scaling::tensor));
}
