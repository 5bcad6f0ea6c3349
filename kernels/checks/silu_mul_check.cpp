// SiLU·mul against float64: both kernels (spread pieces, a block a row), all outputs, gates far
// out.

#include <algorithm>
#include <string>

#include "kernels/checks/operator_checks.h"
#include "kernels/checks/row_comparison.h"
#include "kernels/operators/silu_mul.h"
#include "kernels/reference/random_inputs.h"
#include "kernels/reference/row_operators.h"

namespace fleetsim::kernels {
namespace {

CheckReport run_case(int tokens, int width, RowFormat format, std::uint64_t seed) {
  const std::string what = "tokens " + std::to_string(tokens) + " width " + std::to_string(width) +
                           " " + name_of(format) + " seed " + std::to_string(seed);
  RandomInputs random(seed, "silu_mul " + what);
  std::vector<Bf16> gate_up = random.normals_bf16(
      static_cast<std::size_t>(tokens) * 2 * static_cast<std::size_t>(width), 2);
  // where exp overflows, and where the sigmoid is 1
  const float far[] = {-1e4F, -100.0F, -89.0F, 89.0F, 1e4F, 0.0F};
  for (std::size_t i = 0; i < 6 && i < gate_up.size() / 2; ++i)
    if (tokens > 1) gate_up[i] = to_bf16(far[i]);
  const std::vector<double> reference = reference_silu_mul(gate_up, width);

  const DeviceBuffer<Bf16> device_gate_up(gate_up);
  RowOutputBuffer out(format, tokens, width, 0.02F);  // some values saturate
  const SiluMulArguments arguments{device_gate_up.data(), out.output(), tokens, width};
  launch_silu_mul(arguments, {});
  device_synchronize();
  CheckReport report = out.compared(what, reference);
  if (!out.guards_intact()) report.problem = "wrote outside its output";

  const std::vector<std::uint8_t> first = out.bytes();
  out.poison();
  launch_silu_mul(arguments, {});
  device_synchronize();
  if (out.bytes() != first) report.problem = "a second launch gave other bytes";
  if (tokens > 1 && format == RowFormat::bf16) {  // fewer, as the device alone knows
    SiluMulArguments fewer = arguments;
    const DeviceBuffer<std::int32_t> there(std::vector<std::int32_t>{tokens - 1});
    fewer.tokens_there = there.data();
    out.poison();
    launch_silu_mul(fewer, {});
    device_synchronize();
    const std::size_t row = 2 * static_cast<std::size_t>(width);
    std::vector<std::uint8_t> expected = first;
    std::fill(expected.end() - static_cast<std::ptrdiff_t>(row), expected.end(), 0xff);
    if (out.bytes() != expected) report.problem = "took another number of tokens than there are";
  }
  return report;
}

}  // namespace

std::vector<CheckReport> check_silu_mul(std::uint64_t seed, Scale scale) {
  struct Shape {
    int tokens, width;
  };
  // the last small one is wide enough for several pieces a thread on the emulated device
  std::vector<Shape> shapes = {{1, 8},     {3, 264},   {2, 1792}, {2, 2880}, {1, 14336},
                               {2, 28672}, {1, 32768}, {0, 4096}, {40, 4104}};
  if (scale == Scale::device)
    for (const Shape& shape :
         std::vector<Shape>{{64, 14336}, {1000, 14336}, {300, 28672}, {2048, 3584}, {77, 2880}})
      shapes.push_back(shape);
  std::vector<CheckReport> reports;
  for (const Shape& shape : shapes)
    for (const RowFormat format : {RowFormat::bf16, RowFormat::token_e4m3, RowFormat::tensor_e4m3})
      reports.push_back(run_case(shape.tokens, shape.width, format, seed));
  return reports;
}

}  // namespace fleetsim::kernels
