#include "kernels/reference/row_operators.h"

#include <algorithm>
#include <cmath>

#include "hw_models/check.h"

namespace fleetsim::kernels {

ReferenceNorm reference_rms_norm(const std::vector<Bf16>& x, const std::vector<Bf16>& residual,
                                 const std::vector<Bf16>& weight, double epsilon) {
  const std::size_t hidden = weight.size();
  CHECK(hidden > 0 && x.size() % hidden == 0);
  CHECK(residual.empty() || residual.size() == x.size());
  ReferenceNorm norm{x, std::vector<double>(x.size())};
  for (std::size_t i = 0; i < residual.size(); ++i)
    norm.sums[i] = to_bf16(to_float(x[i]) + to_float(residual[i]));
  for (std::size_t row = 0; row < x.size(); row += hidden) {
    double squares = 0;
    for (std::size_t i = row; i < row + hidden; ++i) {
      const double value = to_float(norm.sums[i]);
      squares += value * value;
    }
    const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(hidden) + epsilon);
    for (std::size_t i = 0; i < hidden; ++i)
      norm.values[row + i] = static_cast<double>(to_float(norm.sums[row + i])) * inverse *
                             static_cast<double>(to_float(weight[i]));
  }
  return norm;
}

std::vector<double> reference_silu_mul(const std::vector<Bf16>& gate_up, int width) {
  const std::size_t columns = static_cast<std::size_t>(width);
  CHECK(width > 0 && gate_up.size() % (2 * columns) == 0);
  std::vector<double> values(gate_up.size() / 2);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t place = i / columns * 2 * columns + i % columns;
    const double gate = to_float(gate_up[place]);
    values[i] =
        gate / (1.0 + std::exp(-gate)) * static_cast<double>(to_float(gate_up[place + columns]));
  }
  return values;
}

std::vector<Bf16> reference_embedding(const std::vector<std::int32_t>& ids,
                                      const std::vector<Bf16>& table, int hidden, int first_id) {
  const std::size_t width = static_cast<std::size_t>(hidden);
  const std::int64_t rows = static_cast<std::int64_t>(table.size() / width);
  std::vector<Bf16> out(ids.size() * width, Bf16{0});
  for (std::size_t token = 0; token < ids.size(); ++token) {
    const std::int64_t row = std::int64_t{ids[token]} - first_id;
    if (row < 0 || row >= rows) continue;
    std::copy_n(table.data() + static_cast<std::size_t>(row) * width, width,
                out.data() + token * width);
  }
  return out;
}

QuantisedRows reference_quantise_rows(const std::vector<double>& values, int width,
                                      std::optional<double> tensor_scale, double scale_min) {
  const std::size_t columns = static_cast<std::size_t>(width);
  CHECK(width > 0 && values.size() % columns == 0);
  QuantisedRows rows;
  for (std::size_t row = 0; row < values.size(); row += columns) {
    double largest = 0;
    for (std::size_t i = row; i < row + columns; ++i)
      largest = std::max(largest, std::fabs(values[i]));
    const double scale =
        tensor_scale.value_or(std::max(largest / static_cast<double>(kE4m3Max), scale_min));
    rows.scales.push_back(scale);
    for (std::size_t i = row; i < row + columns; ++i) {
      rows.scaled.push_back(values[i] / scale);
      rows.codes.push_back(nearest_e4m3(rows.scaled.back()));
    }
  }
  return rows;
}

E4m3 nearest_e4m3(double value) {
  CHECK(!std::isnan(value));
  const std::uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const double magnitude = std::min(std::fabs(value), static_cast<double>(kE4m3Max));
  // three fraction bits below the leading one; below 2^-6 the step stays 2^-9
  const int exponent = magnitude < 0x1p-6 ? -6 : std::ilogb(magnitude);
  // 8 to 16 steps of a normal number; 16 carry into the next exponent by themselves
  const int steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 3 - exponent)));
  return {static_cast<std::uint8_t>(sign | ((exponent + 6) * 8 + steps))};
}

}  // namespace fleetsim::kernels
