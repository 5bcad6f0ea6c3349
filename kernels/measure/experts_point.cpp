// Points of `experts`: the routed experts of one layer as an engine runs them, without the router.
// Buffers are as large as if all that tokens choose came here, which the host of an engine must
// allow for.

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "kernels/checks/check.h"
#include "kernels/device/device_memory.h"
#include "kernels/measure/expert_rows.h"
#include "kernels/measure/operator_points.h"
#include "kernels/measure/row_sample.h"
#include "kernels/operators/grouped_gemm.h"
#include "kernels/operators/silu_mul.h"
#include "kernels/reference/gemm.h"
#include "kernels/reference/row_operators.h"

namespace fleetsim::kernels {
namespace {

constexpr int kSampledLayerTokens = 6, kSampledColumns = 16;

/// Weights and tokens of one operand set; what passes between the parts is shared by all sets.
struct Layer {
  RowGatherArguments gather;
  GroupedGemmArguments gate_up;
  SiluMulArguments activation;
  GroupedGemmArguments down;
  RowCombineArguments combine;
};
struct Layers {
  ExpertRows rows;
  std::vector<Layer> sets;
};

void run(const ExpertRows& rows, const Layer& layer, Stream stream) {
  launch_expert_order(rows.order, stream);
  launch_row_gather(layer.gather, stream);
  launch_grouped_gemm(layer.gate_up, stream);
  launch_silu_mul(layer.activation, stream);
  launch_grouped_gemm(layer.down, stream);
  launch_row_combine(layer.combine, stream);
}

/// [rows][columns] of rows times weights of one expert.
std::vector<double> product(const GroupedGemmArguments& a, const std::vector<Bf16>& rows,
                            std::int32_t expert, const std::vector<int>& columns) {
  const auto* own = static_cast<const Bf16*>(a.weights) +
                    static_cast<std::int64_t>(expert) * a.n * static_cast<std::int64_t>(a.k);
  return reference_gemm(doubles_of(rows), doubles_of(rows_of(own, a.k, columns)), a.k);
}

/// Two halves, each at sampled columns: activations from the tokens, and outputs from the
/// activations as they are on the device. Relative L2 errors, the larger.
double check_error(const Layers& layers, std::uint64_t seed) {
  const ExpertRows& rows = layers.rows;
  const Layer& layer = layers.sets[0];
  const int hidden = layer.combine.hidden, ffn = layer.activation.width;
  device_fill(layer.combine.out, 0xFF,
              static_cast<std::size_t>(rows.tokens()) * static_cast<std::size_t>(hidden) * 2, {});
  run(rows, layer, {});
  device_synchronize();
  if (const double wrong = wrong_places(rows); wrong > 0) return wrong;
  std::vector<float> activations, outputs;
  std::vector<double> activation_reference, output_reference;
  const std::vector<int> inner = sampled_indices(ffn, kSampledColumns, seed);
  const std::vector<int> outer = sampled_indices(hidden, kSampledColumns, seed + 1);
  std::vector<int> ups;
  for (const int column : inner) ups.push_back(ffn + column);
  const auto* tokens = static_cast<const Bf16*>(layer.gather.rows);
  for (const int token : sampled_indices(rows.tokens(), kSampledLayerTokens, seed + 2)) {
    const std::vector<Bf16> input = rows_of(tokens, hidden, {token});
    const std::vector<std::int32_t> places =
        rows_of(rows.order.order.row_of_slot, rows.picks(), {token});
    const std::vector<float> weights = rows_of(layer.combine.weights, rows.picks(), {token});
    std::vector<double> sums(outer.size(), 0.0);
    for (std::size_t slot = 0; slot < places.size(); ++slot) {
      if (places[slot] < 0) continue;
      const std::int32_t expert =
          rows.choices[static_cast<std::size_t>(token) * places.size() + slot];
      const std::vector<Bf16> row = rows_of(layer.activation.out.values, ffn, {places[slot]});
      std::vector<double> halves = product(layer.gate_up, input, expert, inner);
      const std::vector<double> up = product(layer.gate_up, input, expert, ups);
      for (std::size_t i = 0; i < inner.size(); ++i) {
        activation_reference.push_back(halves[i] / (1 + std::exp(-halves[i])) * up[i]);
        activations.push_back(to_float(row[static_cast<std::size_t>(inner[i])]));
      }
      const std::vector<double> own = product(layer.down, row, expert, outer);
      for (std::size_t i = 0; i < outer.size(); ++i)
        sums[i] += static_cast<double>(weights[slot]) * own[i];
    }
    const std::vector<Bf16> out = rows_of(layer.combine.out, hidden, {token});
    for (std::size_t i = 0; i < outer.size(); ++i) {
      output_reference.push_back(sums[i]);
      outputs.push_back(to_float(out[static_cast<std::size_t>(outer[i])]));
    }
  }
  const Comparison first = compare(activations, activation_reference);
  const Comparison second = compare(outputs, output_reference);
  return first.not_finite + second.not_finite > 0
             ? std::numeric_limits<double>::infinity()
             : std::max(first.relative_error, second.relative_error);
}

}  // namespace

PreparedPoint prepare_experts(const Point& point, Arena& arena, std::uint64_t seed) {
  if (device_facts().compute_capability != 90)
    throw NotSupportedHere("the grouped GEMM is written for sm_90 (wgmma)");
  const int hidden = static_cast<int>(point.integer("hidden"));
  const int ffn = static_cast<int>(point.integer("ffn"));
  if (hidden % 8 != 0 || ffn % 8 != 0 || ffn > kSiluMulWidthMax)
    throw NotSupportedHere("kernels of experts take hidden and ffn in multiples of 8, ffn up to " +
                           std::to_string(kSiluMulWidthMax));
  const auto layers = std::make_shared<Layers>();
  layers->rows = take_expert_rows(point, arena);
  const ExpertRows& rows = layers->rows;
  const auto wide = static_cast<std::size_t>(hidden), inner = static_cast<std::size_t>(ffn);
  const std::size_t slots = rows.slots(), experts = rows.here.rows.size();
  if (static_cast<std::int64_t>(slots) * (ffn / 8) >= std::int64_t{1} << 31)
    throw NotSupportedHere("the SiLU kernel takes fewer than 2^34 elements");
  Bf16* permuted = arena.take<Bf16>(slots * wide);
  Bf16* gates = arena.take<Bf16>(slots * 2 * inner);
  Bf16* activations = arena.take<Bf16>(slots * inner);
  Bf16* products = arena.take<Bf16>(slots * wide);
  float* weights = arena.take<float>(slots);
  fill_normal(weights, slots, 0.5F, seed + 1000, {});

  const std::size_t met = static_cast<std::size_t>(rows.here.experts_met);
  const std::size_t tokens = static_cast<std::size_t>(rows.tokens()) * wide;
  const int copies = rotation_copies(
      (3 * std::max<std::size_t>(met, 1) * inner * wide + 2 * tokens) * sizeof(Bf16));
  for (int copy = 0; copy < copies; ++copy) {
    const std::uint64_t own_seed = seed + 3 * static_cast<std::uint64_t>(copy);
    const std::size_t up_count = experts * 2 * inner * wide, down_count = experts * inner * wide;
    Bf16* up = arena.take<Bf16>(up_count);
    Bf16* down = arena.take<Bf16>(down_count);
    Bf16* input = arena.take<Bf16>(tokens);
    fill_normal(up, up_count, 1 / std::sqrt(static_cast<float>(hidden)), own_seed, {});
    fill_normal(down, down_count, 1 / std::sqrt(static_cast<float>(ffn)), own_seed + 1, {});
    fill_normal(input, tokens, 1.0F, own_seed + 2, {});
    Layer layer;
    layer.gather = {input,         permuted,     rows.order.order.row_of_slot,
                    rows.tokens(), rows.picks(), static_cast<std::int64_t>(wide * sizeof(Bf16))};
    GroupedGemmArguments& gate_up = layer.gate_up;
    gate_up.rows = permuted;
    gate_up.weights = up;
    gate_up.offsets = rows.order.order.offsets;
    gate_up.out = gates;
    gate_up.rows_max = static_cast<int>(slots);
    gate_up.experts = static_cast<int>(experts);
    gate_up.n = 2 * ffn;
    gate_up.k = hidden;
    // an even share: all that an engine knows
    gate_up.rows_expected = static_cast<int>(std::max<std::int64_t>(
        1, static_cast<std::int64_t>(slots) * rows.layer.local_experts / rows.layer.experts));
    layer.down = gate_up;
    layer.down.rows = activations;
    layer.down.weights = down;
    layer.down.out = products;
    layer.down.n = hidden;
    layer.down.k = ffn;
    layer.activation.gate_up = gates;
    layer.activation.out.values = activations;
    layer.activation.tokens = static_cast<int>(slots);
    layer.activation.width = ffn;
    layer.activation.tokens_there = gate_up.offsets + experts;
    layer.combine = {products,      rows.order.order.row_of_slot,
                     weights,       arena.take<Bf16>(tokens),
                     rows.tokens(), rows.picks(),
                     hidden};
    layers->sets.push_back(layer);
  }
  device_synchronize();

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [layers](Stream stream, int copy) {
    run(layers->rows, layers->sets[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [layers, seed] { return check_error(*layers, seed); };
  prepared.error_limit = 6e-3;  // gates and ups are rounded to bf16 before SiLU, rows before sums
  prepared.note = std::to_string(rows.here.all) + " rows, " +
                  std::to_string(rows.here.experts_met) + " experts";
  return prepared;
}

}  // namespace fleetsim::kernels
