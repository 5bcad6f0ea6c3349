// Points of `silu_mul`.

#include <memory>

#include "kernels/measure/operator_points.h"
#include "kernels/measure/row_sample.h"
#include "kernels/operators/silu_mul.h"
#include "kernels/reference/gemm.h"
#include "kernels/reference/row_operators.h"

namespace fleetsim::kernels {
namespace {

struct Activations {
  RowFormat format;
  std::vector<SiluMulArguments> sets;
};

double check_error(const Activations& activations, std::uint64_t seed) {
  const SiluMulArguments& set = activations.sets[0];
  const std::vector<int> rows = sampled_indices(set.tokens, kSampledTokens, seed);
  poison_row_output(activations.format, set.out, set.tokens, set.width);
  launch_silu_mul(set, {});
  device_synchronize();
  return row_error(activations.format, set.out, set.width, rows,
                   reference_silu_mul(rows_of(set.gate_up, 2 * set.width, rows), set.width));
}

}  // namespace

PreparedPoint prepare_silu_mul(const Point& point, Arena& arena, std::uint64_t seed) {
  const std::int64_t tokens = point.integer("tokens"), width = point.integer("width");
  if (width % 8 != 0 || width < 8 || width > kSiluMulWidthMax)
    throw NotSupportedHere("the SiLU kernel takes widths that are multiples of 8 up to " +
                           std::to_string(kSiluMulWidthMax));
  if (tokens * (width / 8) >= std::int64_t{1} << 31)
    throw NotSupportedHere("the SiLU kernel takes fewer than 2^34 elements");
  const auto activations = std::make_shared<Activations>();
  activations->format = row_format(point);
  const std::size_t inputs = static_cast<std::size_t>(2 * tokens * width);
  const int copies = rotation_copies(
      inputs * sizeof(Bf16) +
      row_output_bytes(activations->format, static_cast<int>(tokens), static_cast<int>(width)));
  for (int copy = 0; copy < copies; ++copy) {
    Bf16* gate_up = arena.take<Bf16>(inputs);
    fill_normal(gate_up, inputs, 1.5F, seed + static_cast<std::uint64_t>(copy), {});
    SiluMulArguments set;
    set.gate_up = gate_up;
    set.tokens = static_cast<int>(tokens);
    set.width = static_cast<int>(width);
    set.out = take_row_output(activations->format, set.tokens, set.width, arena);
    activations->sets.push_back(set);
  }

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [activations](Stream stream, int copy) {
    launch_silu_mul(activations->sets[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [activations, seed] { return check_error(*activations, seed); };
  prepared.error_limit = row_error_limit(activations->format);
  return prepared;
}

}  // namespace fleetsim::kernels
