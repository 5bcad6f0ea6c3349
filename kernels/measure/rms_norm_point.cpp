// Points of `rms_norm`.

#include <memory>

#include "kernels/measure/operator_points.h"
#include "kernels/measure/row_sample.h"
#include "kernels/operators/rms_norm.h"
#include "kernels/reference/gemm.h"
#include "kernels/reference/row_operators.h"

namespace fleetsim::kernels {
namespace {

struct Norms {
  RowFormat format;
  std::vector<RmsNormArguments> sets;
};

/// The sampled rows are read before the launch, which adds to the residual.
double check_error(const Norms& norms, std::uint64_t seed) {
  const RmsNormArguments& set = norms.sets[0];
  const std::vector<int> rows = sampled_indices(set.tokens, kSampledTokens, seed);
  const ReferenceNorm reference = reference_rms_norm(
      rows_of(set.x, set.hidden, rows),
      set.residual != nullptr ? rows_of(set.residual, set.hidden, rows) : std::vector<Bf16>{},
      rows_of(set.weight, set.hidden, {0}), double{set.epsilon});
  poison_row_output(norms.format, set.out, set.tokens, set.hidden);
  launch_rms_norm(set, {});
  device_synchronize();
  if (set.residual != nullptr) {
    const std::vector<Bf16> sums = rows_of(set.residual, set.hidden, rows);
    for (std::size_t i = 0; i < sums.size(); ++i)
      if (sums[i].bits != reference.sums[i].bits) return std::numeric_limits<double>::infinity();
  }
  return row_error(norms.format, set.out, set.hidden, rows, reference.values);
}

}  // namespace

PreparedPoint prepare_rms_norm(const Point& point, Arena& arena, std::uint64_t seed) {
  const int tokens = static_cast<int>(point.integer("tokens"));
  const int hidden = static_cast<int>(point.integer("hidden"));
  if (hidden % 8 != 0 || hidden < 8 || hidden > kRmsNormHiddenMax)
    throw NotSupportedHere("the norm kernel takes hidden sizes that are multiples of 8 up to " +
                           std::to_string(kRmsNormHiddenMax));
  const bool with_residual = point.integer("residual") == 1;
  const auto norms = std::make_shared<Norms>();
  norms->format = row_format(point);
  const std::size_t elements = static_cast<std::size_t>(tokens) * static_cast<std::size_t>(hidden);
  const std::size_t bytes = elements * sizeof(Bf16) * (with_residual ? 2 : 1) +
                            row_output_bytes(norms->format, tokens, hidden);
  Bf16* weight = arena.take<Bf16>(static_cast<std::size_t>(hidden));
  fill_normal(weight, static_cast<std::size_t>(hidden), 1.0F, seed, {});
  const int copies = rotation_copies(bytes);
  for (int copy = 0; copy < copies; ++copy) {
    RmsNormArguments set;
    Bf16* x = arena.take<Bf16>(elements);
    fill_normal(x, elements, 1.0F, seed + 1 + 2 * static_cast<std::uint64_t>(copy), {});
    set.x = x;
    if (with_residual) {
      set.residual = arena.take<Bf16>(elements);
      fill_normal(set.residual, elements, 4.0F, seed + 2 + 2 * static_cast<std::uint64_t>(copy),
                  {});
    }
    set.weight = weight;
    set.out = take_row_output(norms->format, tokens, hidden, arena);
    set.tokens = tokens;
    set.hidden = hidden;
    norms->sets.push_back(set);
  }
  device_synchronize();  // weights are read ahead of the kernel before

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [norms](Stream stream, int copy) {
    launch_rms_norm(norms->sets[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [norms, seed] { return check_error(*norms, seed); };
  prepared.error_limit = row_error_limit(norms->format);
  return prepared;
}

}  // namespace fleetsim::kernels
