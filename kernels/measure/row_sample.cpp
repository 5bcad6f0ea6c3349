#include "kernels/measure/row_sample.h"

namespace fleetsim::kernels {
namespace {

std::size_t elements(int tokens, int width) {
  return static_cast<std::size_t>(tokens) * static_cast<std::size_t>(width);
}

}  // namespace

RowFormat row_format(const Point& point) {
  return point.word("output") == "e4m3" ? RowFormat::token_e4m3 : RowFormat::bf16;
}

std::size_t row_output_bytes(RowFormat format, int tokens, int width) {
  CHECK(format != RowFormat::tensor_e4m3);  // no point has it
  if (format == RowFormat::bf16) return elements(tokens, width) * sizeof(Bf16);
  return elements(tokens, width) + static_cast<std::size_t>(tokens) * sizeof(float);
}

RowOutput take_row_output(RowFormat format, int tokens, int width, Arena& arena) {
  if (format == RowFormat::bf16) return {.values = arena.take<Bf16>(elements(tokens, width))};
  CHECK(format == RowFormat::token_e4m3);
  RowOutput out;
  out.codes = arena.take<E4m3>(elements(tokens, width));
  out.token_scales = arena.take<float>(static_cast<std::size_t>(tokens));
  return out;
}

void poison_row_output(RowFormat format, const RowOutput& out, int tokens, int width) {
  if (format == RowFormat::bf16) {
    device_fill(out.values, 0xff, elements(tokens, width) * sizeof(Bf16), {});
    return;
  }
  device_fill(out.codes, 0xff, elements(tokens, width), {});
  device_fill(out.token_scales, 0xff, static_cast<std::size_t>(tokens) * sizeof(float), {});
}

double row_error(RowFormat format, const RowOutput& out, int width, const std::vector<int>& rows,
                 const std::vector<double>& reference) {
  RowValues values;
  values.format = format;
  values.width = width;
  if (format == RowFormat::bf16) {
    values.values = rows_of(out.values, width, rows);
  } else {
    values.codes = rows_of(out.codes, width, rows);
    values.scales = rows_of(out.token_scales, 1, rows);
  }
  const CheckReport report = compare_rows("", values, reference);
  return report.problem.empty() ? report.error : std::numeric_limits<double>::infinity();
}

double row_error_limit(RowFormat format) { return format == RowFormat::bf16 ? 4e-3 : 1e-4; }

}  // namespace fleetsim::kernels
