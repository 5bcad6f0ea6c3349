// Points of `gemm` whose weights are int4. Tiles are random bytes, which is what codes and zero
// points of a checkpoint look like; their scales are drawn.

#include <cmath>
#include <limits>
#include <memory>

#include "kernels/checks/check.h"
#include "kernels/device/device_memory.h"
#include "kernels/measure/operator_points.h"
#include "kernels/measure/row_sample.h"
#include "kernels/operators/w4a16_gemm.h"
#include "kernels/reference/gemm.h"
#include "kernels/reference/random_inputs.h"
#include "kernels/reference/w4a16.h"

namespace fleetsim::kernels {
namespace {

constexpr int kSampledRows = 16, kSampledBlocks = 4;  // of 64 columns

struct Products {
  W4a16Plan plan;
  std::vector<W4a16GemmArguments> sets;
};

/// Random tiles; codes less zero points have a standard deviation of 6.5, so that with scales
/// around 0.15 / sqrt(k) outputs of standard normal activations are about 1.
void fill_tiles(std::uint8_t* tiles, int n, int k, std::uint64_t seed) {
  fill_bytes(tiles, w4a16_tiles_bytes(n, k), seed, {});
  RandomInputs random(seed, "w4a16 scales");
  const float scale = 0.15F / std::sqrt(static_cast<float>(k));
  const std::size_t count =
      static_cast<std::size_t>(n / kW4a16TileColumns) * static_cast<std::size_t>(k / kInt4Group);
  std::vector<Bf16> scales;
  for (std::size_t i = 0; i < count * kW4a16TileColumns; ++i)
    scales.push_back(to_bf16(scale * (0.5F + random.unit())));
  device_synchronize();  // the bytes stand
  copy_rows_to_device(tiles + kW4a16CodeBytes, kW4a16TileBytes, scales.data(), kW4a16ScaleBytes,
                      count);
}

/// Runs set 0, whose output was poisoned, and compares sampled rows of sampled column blocks.
double check_error(const Products& products, std::uint64_t seed) {
  const W4a16GemmArguments& set = products.sets[0];
  device_fill(set.out, 0xff,
              static_cast<std::size_t>(set.m) * static_cast<std::size_t>(set.n) * sizeof(Bf16), {});
  launch_w4a16_gemm(set, products.plan, {});
  device_synchronize();
  const std::vector<int> rows = sampled_indices(set.m, kSampledRows, seed);
  const std::vector<Bf16> activations = rows_of(set.activations, set.k, rows);
  const std::vector<Bf16> out = rows_of(set.out, set.n, rows);
  const int block_bytes = static_cast<int>(w4a16_tiles_bytes(kW4a16TileColumns, set.k));
  std::vector<float> picked;
  std::vector<double> reference;
  for (const int block : sampled_indices(set.n / kW4a16TileColumns, kSampledBlocks, seed + 1)) {
    const Int4Weights weights =
        unpack_w4a16_tiles(rows_of(set.weights, block_bytes, {block}), kW4a16TileColumns, set.k);
    const std::vector<double> values = reference_w4a16_gemm(activations, weights);
    reference.insert(reference.end(), values.begin(), values.end());
    for (std::size_t row = 0; row < rows.size(); ++row)
      for (int column = 0; column < kW4a16TileColumns; ++column)
        picked.push_back(
            to_float(out[row * static_cast<std::size_t>(set.n) +
                         static_cast<std::size_t>(block * kW4a16TileColumns + column)]));
  }
  const Comparison comparison = compare(picked, reference);
  return comparison.not_finite > 0 ? std::numeric_limits<double>::infinity()
                                   : comparison.relative_error;
}

}  // namespace

PreparedPoint prepare_w4a16_gemm(const Point& point, Arena& arena, std::uint64_t seed) {
  const int m = static_cast<int>(point.integer("m")), n = static_cast<int>(point.integer("n"));
  const int k = static_cast<int>(point.integer("k"));
  if (n % kW4a16TileColumns != 0 || k % kInt4Group != 0)
    throw NotSupportedHere("the W4A16 kernel takes n in multiples of 64 and k in multiples of 128");
  if (point.word("algo") != "top")
    throw NotSupportedHere("the W4A16 kernel is one algorithm; only algo=top is measured");
  const auto products = std::make_shared<Products>();
  products->plan = plan_w4a16_gemm(m, n, k);
  const std::size_t activation_count = static_cast<std::size_t>(m) * static_cast<std::size_t>(k);
  const std::size_t output_count = static_cast<std::size_t>(m) * static_cast<std::size_t>(n);
  const std::size_t weight_bytes = w4a16_tiles_bytes(n, k);
  // one for all sets: launches on a stream do not overlap where they use it
  auto* workspace = arena.take<std::uint8_t>(w4a16_workspace_bytes(products->plan));
  device_fill(workspace, 0, w4a16_counter_bytes(products->plan), {});
  const int copies =
      rotation_copies(weight_bytes + (activation_count + output_count) * sizeof(Bf16));
  for (int copy = 0; copy < copies; ++copy) {
    const std::uint64_t own_seed = seed + 2 * static_cast<std::uint64_t>(copy);
    auto* activations = arena.take<Bf16>(activation_count);
    auto* weights = arena.take<std::uint8_t>(weight_bytes);
    fill_normal(activations, activation_count, 1.0F, own_seed, {});
    fill_tiles(weights, n, k, own_seed + 1);
    products->sets.push_back(
        {activations, weights, arena.take<Bf16>(output_count), m, n, k, workspace});
  }
  device_synchronize();  // weights are read ahead of the kernel before

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [products](Stream stream, int copy) {
    launch_w4a16_gemm(products->sets[static_cast<std::size_t>(copy)], products->plan, stream);
  };
  prepared.check_error = [products, seed] { return check_error(*products, seed); };
  prepared.error_limit = 3e-3;
  prepared.note = "tiles of " + std::to_string(products->plan.tile_rows) + " rows, " +
                  std::to_string(products->plan.blocks) + " blocks";
  return prepared;
}

}  // namespace fleetsim::kernels
