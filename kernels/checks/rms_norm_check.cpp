// RMSNorm against float64: hidden sizes of the catalogue and odd ones, with and without residual,
// all outputs.

#include <algorithm>
#include <string>

#include "kernels/checks/operator_checks.h"
#include "kernels/checks/row_comparison.h"
#include "kernels/operators/rms_norm.h"
#include "kernels/reference/random_inputs.h"
#include "kernels/reference/row_operators.h"

namespace fleetsim::kernels {
namespace {

constexpr float kEpsilon = 1e-5F;

bool same_bits(const std::vector<Bf16>& a, const std::vector<Bf16>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](Bf16 left, Bf16 right) { return left.bits == right.bits; });
}

/// Magnitudes of rows differ a thousandfold; the last row is all zero.
std::vector<Bf16> random_rows(RandomInputs& random, int tokens, int hidden) {
  std::vector<Bf16> rows;
  for (int token = 0; token < tokens; ++token) {
    const float scale =
        token > 0 && token == tokens - 1 ? 0.0F : std::exp2(10.0F * random.unit() - 7.0F);
    for (const Bf16 value : random.normals_bf16(static_cast<std::size_t>(hidden), scale))
      rows.push_back(value);
  }
  return rows;
}

CheckReport run_case(int tokens, int hidden, bool with_residual, RowFormat format,
                     std::uint64_t seed) {
  const std::string what = "tokens " + std::to_string(tokens) + " hidden " +
                           std::to_string(hidden) + (with_residual ? " residual " : " ") +
                           name_of(format) + " seed " + std::to_string(seed);
  RandomInputs random(seed, "rms_norm " + what);
  const std::vector<Bf16> x = random_rows(random, tokens, hidden);
  const std::vector<Bf16> residual =
      with_residual ? random_rows(random, tokens, hidden) : std::vector<Bf16>{};
  std::vector<Bf16> weight;
  for (int i = 0; i < hidden; ++i) weight.push_back(to_bf16(1.0F + 0.3F * random.normal()));
  const ReferenceNorm reference = reference_rms_norm(x, residual, weight, double{kEpsilon});

  const DeviceBuffer<Bf16> device_x(x), device_weight(weight), device_residual(residual);
  RowOutputBuffer out(format, tokens, hidden, 0.011F);  // some values saturate
  const RmsNormArguments arguments{device_x.data(),
                                   with_residual ? device_residual.data() : nullptr,
                                   device_weight.data(),
                                   out.output(),
                                   tokens,
                                   hidden,
                                   kEpsilon};
  launch_rms_norm(arguments, {});
  device_synchronize();
  CheckReport report = out.compared(what, reference.values);
  if (!same_bits(device_residual.values(), with_residual ? reference.sums : std::vector<Bf16>{}))
    report.problem = "the residual written back is not x + residual";
  if (!out.guards_intact() || !device_residual.guards_intact())
    report.problem = "wrote outside its output";

  const std::vector<std::uint8_t> first = out.bytes();
  copy_to_device(device_residual.data(), residual.data(), residual.size() * sizeof(Bf16));
  out.poison();
  launch_rms_norm(arguments, {});
  device_synchronize();
  if (out.bytes() != first) report.problem = "a second launch gave other bytes";
  return report;
}

}  // namespace

std::vector<CheckReport> check_rms_norm(std::uint64_t seed, Scale scale) {
  struct Shape {
    int tokens, hidden;
  };
  std::vector<Shape> shapes = {{1, 8},    {3, 128},  {17, 128}, {2, 264},   {5, 2880},
                               {2, 4096}, {3, 5120}, {2, 7168}, {2, 16384}, {0, 4096}};
  if (scale == Scale::device)
    for (const Shape& shape : std::vector<Shape>{
             {64, 4096}, {2048, 4096}, {1000, 2880}, {513, 8192}, {300, 7168}, {4099, 128}})
      shapes.push_back(shape);
  std::vector<CheckReport> reports;
  for (const Shape& shape : shapes)
    for (const RowFormat format : {RowFormat::bf16, RowFormat::token_e4m3, RowFormat::tensor_e4m3})
      for (const bool residual : {false, true})
        reports.push_back(run_case(shape.tokens, shape.hidden, residual, format, seed));
  return reports;
}

}  // namespace fleetsim::kernels
