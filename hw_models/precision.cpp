// Number formats: names and stored sizes, one row each.

#include "hw_models/precision.h"

#include "hw_models/check.h"

namespace fleetsim {
namespace {

struct FormatRow {
  NumberFormat format;
  const char* name;
  double weight_bytes;   // scales included
  double element_bytes;  // activations and KV
};

// int4: group size 128 with a 16-bit scale and a 4-bit zero point (AWQ/GPTQ layout): 2.5 bytes a
// group. fp4: nvfp4, an 8-bit scale for every 16 weights. Both from kernels-and-cost-models §3, row
// GEMM.
constexpr FormatRow kFormats[] = {
    {NumberFormat::fp32, "fp32", 4, 4},
    {NumberFormat::fp16, "fp16", 2, 2},
    {NumberFormat::bf16, "bf16", 2, 2},
    {NumberFormat::fp8, "fp8", 1, 1},
    {NumberFormat::int8, "int8", 1, 1},
    {NumberFormat::int4, "int4", 0.5 + 2.5 / 128, 0.5},
    {NumberFormat::fp4, "fp4", 0.5 + 1.0 / 16, 0.5},
};

const FormatRow& row_of(NumberFormat format) {
  for (const FormatRow& row : kFormats)
    if (row.format == format) return row;
  CHECK(false, "number format without a row");
  return kFormats[0];
}

}  // namespace

const char* name_of(NumberFormat format) { return row_of(format).name; }

std::optional<NumberFormat> number_format_named(std::string_view name) {
  for (const FormatRow& row : kFormats)
    if (name == row.name) return row.format;
  return std::nullopt;
}

std::vector<std::string> number_format_names() {
  std::vector<std::string> names;
  for (const FormatRow& row : kFormats) names.emplace_back(row.name);
  return names;
}

double weight_bytes(NumberFormat format) { return row_of(format).weight_bytes; }

double element_bytes(NumberFormat format) { return row_of(format).element_bytes; }

}  // namespace fleetsim
