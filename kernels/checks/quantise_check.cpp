// Quantisation with one scale against float64: every code, saturation, both kernels (one and two
// pieces a thread).

#include <string>

#include "kernels/checks/operator_checks.h"
#include "kernels/checks/row_comparison.h"
#include "kernels/operators/quantise.h"
#include "kernels/reference/random_inputs.h"

namespace fleetsim::kernels {
namespace {

CheckReport run_case(int tokens, int width, float scale, std::uint64_t seed) {
  const std::string what = "tokens " + std::to_string(tokens) + " width " + std::to_string(width) +
                           " scale " + std::to_string(scale) + " seed " + std::to_string(seed);
  RandomInputs random(seed, "quantise " + what);
  const std::size_t count = static_cast<std::size_t>(tokens) * static_cast<std::size_t>(width);
  std::vector<Bf16> values = random.normals_bf16(count, 2);
  // beyond the largest code, and where codes lose their leading one
  const float far[] = {1e4F, -1e4F, 0.0F, -0.0F, 1e-4F, -3e-3F};
  for (std::size_t i = 0; i < 6 && i < count; ++i) values[i] = to_bf16(far[i]);
  std::vector<double> reference;
  for (const Bf16 value : values) reference.push_back(static_cast<double>(to_float(value)));

  const DeviceBuffer<Bf16> device_values(values);
  RowOutputBuffer out(RowFormat::tensor_e4m3, tokens, width, scale);
  const RowOutput row = out.output();
  const QuantiseArguments arguments{device_values.data(), row.codes, row.tensor_scale,
                                    static_cast<std::int64_t>(count)};
  launch_quantise(arguments, {});
  device_synchronize();
  CheckReport report = out.compared(what, reference);
  if (!out.guards_intact()) report.problem = "wrote outside its output";
  return report;
}

}  // namespace

std::vector<CheckReport> check_quantise(std::uint64_t seed, Scale scale) {
  struct Shape {
    int tokens, width;
  };
  std::vector<Shape> shapes = {{1, 8}, {3, 264}, {0, 4096}, {33, 4096}};
  if (scale == Scale::device)
    for (const Shape& shape : std::vector<Shape>{{64, 4096}, {2048, 4096}, {1001, 1024}})
      shapes.push_back(shape);
  std::vector<CheckReport> reports;
  for (const Shape& shape : shapes)
    for (const float factor : {0.01F, 1 / 80.0F, 1.0F})  // with the first some values saturate
      reports.push_back(run_case(shape.tokens, shape.width, factor, seed));
  return reports;
}

}  // namespace fleetsim::kernels
