#include "kernels/checks/row_comparison.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "kernels/reference/row_operators.h"

namespace fleetsim::kernels {
namespace {

/// Codes in the order of their values, so that neighbours differ by one; both zeros are 0.
int rank(E4m3 code) {
  const int magnitude = code.bits & 0x7f;
  return (code.bits & 0x80) != 0 ? -magnitude : magnitude;
}

std::size_t count(RowFormat format, RowFormat wanted, std::size_t elements) {
  return format == wanted ? elements : 0;
}

}  // namespace

const char* name_of(RowFormat format) {
  switch (format) {
    case RowFormat::bf16:
      return "bf16";
    case RowFormat::token_e4m3:
      return "e4m3 by token";
    case RowFormat::tensor_e4m3:
      return "e4m3 by tensor";
  }
  CHECK(false);
  return "";
}

RowOutputBuffer::RowOutputBuffer(RowFormat format, int tokens, int width, float tensor_scale)
    : format_(format),
      width_(width),
      tensor_scale_(tensor_scale),
      values_(count(format, RowFormat::bf16, static_cast<std::size_t>(tokens) * width)),
      codes_(format == RowFormat::bf16 ? 0 : static_cast<std::size_t>(tokens) * width),
      scales_(format == RowFormat::tensor_e4m3
                  ? 1
                  : count(format, RowFormat::token_e4m3, static_cast<std::size_t>(tokens))) {
  poison();
}

RowOutput RowOutputBuffer::output() const {
  switch (format_) {
    case RowFormat::bf16:
      return {.values = values_.data()};
    case RowFormat::token_e4m3:
      return {.codes = codes_.data(), .token_scales = scales_.data()};
    case RowFormat::tensor_e4m3:
      return {.codes = codes_.data(), .tensor_scale = scales_.data()};
  }
  CHECK(false);
  return {};
}

void RowOutputBuffer::poison() {
  device_fill(values_.data(), 0xff, values_.size() * sizeof(Bf16), {});
  device_fill(codes_.data(), 0xff, codes_.size() * sizeof(E4m3), {});
  if (format_ == RowFormat::tensor_e4m3)
    copy_to_device(scales_.data(), &tensor_scale_, sizeof tensor_scale_);
  else
    device_fill(scales_.data(), 0xff, scales_.size() * sizeof(float), {});
}

std::vector<std::uint8_t> RowOutputBuffer::bytes() const {
  const std::size_t value_bytes = values_.size() * sizeof(Bf16);
  const std::size_t scale_bytes = scales_.size() * sizeof(float);
  std::vector<std::uint8_t> all(value_bytes + codes_.size() + scale_bytes);
  copy_to_host(all.data(), values_.data(), value_bytes);
  copy_to_host(all.data() + value_bytes, codes_.data(), codes_.size());
  copy_to_host(all.data() + value_bytes + codes_.size(), scales_.data(), scale_bytes);
  return all;
}

bool RowOutputBuffer::guards_intact() const {
  return values_.guards_intact() && codes_.guards_intact() && scales_.guards_intact();
}

CheckReport RowOutputBuffer::compared(std::string what,
                                      const std::vector<double>& reference) const {
  const RowValues rows{
      format_,         width_,
      tensor_scale_,   values_.values(),
      codes_.values(), format_ == RowFormat::token_e4m3 ? scales_.values() : std::vector<float>{}};
  return compare_rows(std::move(what), rows, reference);
}

CheckReport compare_rows(std::string what, const RowValues& rows,
                         const std::vector<double>& reference) {
  if (rows.format == RowFormat::bf16) {
    std::vector<float> values;
    for (const Bf16 value : rows.values) values.push_back(to_float(value));
    return report_of(std::move(what), compare(values, reference), 4e-3);
  }
  std::optional<double> tensor_scale;
  if (rows.format == RowFormat::tensor_e4m3) tensor_scale = static_cast<double>(rows.tensor_scale);
  const QuantisedRows expected = reference_quantise_rows(reference, rows.width, tensor_scale,
                                                         static_cast<double>(kE4m3ScaleMin));
  CheckReport report{std::move(what), 0, 1e-4, ""};
  report.error = share_of_other_codes(rows.codes, expected.scaled, report.problem);
  if (rows.format != RowFormat::token_e4m3) return report;
  CHECK(rows.scales.size() == expected.scales.size());
  for (std::size_t token = 0; token < rows.scales.size(); ++token)
    // written so that a NaN fails
    if (!(std::fabs(static_cast<double>(rows.scales[token]) / expected.scales[token] - 1) <= 1e-6))
      report.problem = "the scale of token " + std::to_string(token) + " is " +
                       std::to_string(rows.scales[token]) + " instead of " +
                       std::to_string(expected.scales[token]);
  return report;
}

double share_of_other_codes(const std::vector<E4m3>& codes, const std::vector<double>& scaled,
                            std::string& problem) {
  CHECK(codes.size() == scaled.size());
  constexpr double kBorder = 1e-6;
  std::size_t others = 0;
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const int own = rank(codes[i]);
    const int nearest = rank(nearest_e4m3(scaled[i]));
    if (std::abs(own - nearest) > 1 || (codes[i].bits & 0x7f) == 0x7f)
      problem = "code " + std::to_string(i) + " is " + std::to_string(codes[i].bits) + " for " +
                std::to_string(scaled[i]);
    if (own != nearest && own != rank(nearest_e4m3(scaled[i] * (1 + kBorder))) &&
        own != rank(nearest_e4m3(scaled[i] * (1 - kBorder))))
      ++others;
  }
  return static_cast<double>(others) /
         static_cast<double>(std::max<std::size_t>(codes.size(), 10'000));
}

}  // namespace fleetsim::kernels
