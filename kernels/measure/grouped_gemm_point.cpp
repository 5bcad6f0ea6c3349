// Points of `grouped_gemm`: rows stand in order, offsets on the device. Each operand set has
// weights of its own, so that those of the experts that are met come from memory.

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "kernels/checks/check.h"
#include "kernels/device/device_memory.h"
#include "kernels/measure/expert_choices.h"
#include "kernels/measure/operator_points.h"
#include "kernels/measure/row_sample.h"
#include "kernels/operators/grouped_gemm.h"
#include "kernels/reference/experts.h"
#include "kernels/reference/gemm.h"

namespace fleetsim::kernels {
namespace {

constexpr int kSampledRows = 24, kSampledColumns = 24;
/// Standard deviation of e4m3 codes, as in points of `gemm`.
constexpr float kCodeDeviation = 80.0F;

struct Products {
  std::vector<std::int32_t> offsets;
  float row_scale = 1;
  std::vector<float> weight_scales;
  std::vector<GroupedGemmArguments> sets;
};

template <class Element>
void fill_set(GroupedGemmArguments& set, std::size_t rows, std::size_t weights, float weight_scale,
              Arena& arena, std::uint64_t seed) {
  constexpr bool kFp8 = sizeof(Element) == 1;
  auto* left = arena.take<Element>(rows);
  auto* right = arena.take<Element>(weights);
  fill_normal(left, rows, kFp8 ? kCodeDeviation : 1.0F, seed, {});
  fill_normal(right, weights, kFp8 ? kCodeDeviation : weight_scale, seed + 1, {});
  set.rows = left;
  set.weights = right;
}

/// Sampled rows and columns of set 0, whose output was poisoned.
template <class Element>
double check_error(const Products& products, std::uint64_t seed) {
  const GroupedGemmArguments& a = products.sets[0];
  const int all_rows = products.offsets.back();
  device_fill(a.out, 0xFF,
              static_cast<std::size_t>(a.rows_max) * static_cast<std::size_t>(a.n) * sizeof(Bf16),
              {});
  launch_grouped_gemm(a, {});
  device_synchronize();
  if (all_rows == 0) return 0;
  std::vector<float> values;
  std::vector<double> reference;
  const std::vector<int> columns = sampled_indices(a.n, kSampledColumns, seed);
  int known = -1;  // the expert whose weights are at hand
  std::vector<Element> weights;
  const auto k = static_cast<std::size_t>(a.k);
  for (const int row : sampled_indices(all_rows, kSampledRows, seed + 1)) {
    const int expert = group_of_row(products.offsets, row);
    if (expert != known) {
      const auto* own = static_cast<const Element*>(a.weights) +
                        static_cast<std::size_t>(expert) * static_cast<std::size_t>(a.n) * k;
      weights = rows_of(own, a.k, columns);
      known = expert;
    }
    const std::vector<Element> left = rows_of(static_cast<const Element*>(a.rows), a.k, {row});
    const std::vector<Bf16> out = rows_of(a.out, a.n, {row});
    const double scale =
        a.row_scale != nullptr
            ? static_cast<double>(products.row_scale) *
                  static_cast<double>(products.weight_scales[static_cast<std::size_t>(expert)])
            : 1;
    for (std::size_t c = 0; c < columns.size(); ++c) {
      double sum = 0;
      for (std::size_t i = 0; i < k; ++i)
        sum += static_cast<double>(to_float(left[i])) *
               static_cast<double>(to_float(weights[c * k + i]));
      reference.push_back(sum * scale);
      values.push_back(to_float(out[static_cast<std::size_t>(columns[c])]));
    }
  }
  const Comparison comparison = compare(values, reference);
  return comparison.not_finite > 0 ? std::numeric_limits<double>::infinity()
                                   : comparison.relative_error;
}

}  // namespace

PreparedPoint prepare_grouped_gemm(const Point& point, Arena& arena, std::uint64_t seed) {
  if (device_facts().compute_capability != 90)
    throw NotSupportedHere("the grouped GEMM is written for sm_90 (wgmma)");
  const bool fp8 = point.word("dtype") == "fp8";
  const ExpertLayer layer = expert_layer(point);
  const LocalRows here = local_rows(layer, expert_choices(layer));
  const auto products = std::make_shared<Products>();
  GroupedGemmArguments a;
  a.format = fp8 ? GroupedFormat::e4m3 : GroupedFormat::bf16;
  a.n = static_cast<int>(point.integer("n"));
  a.k = static_cast<int>(point.integer("k"));
  if (a.n % 8 != 0 || a.k % (fp8 ? 16 : 8) != 0)
    throw NotSupportedHere(
        "the grouped GEMM takes n and k in multiples of 8, fp8 k in those of 16");
  a.experts = static_cast<int>(layer.local_experts);
  a.rows_max = static_cast<int>(here.all);
  products->offsets = {0};
  for (const std::int32_t rows : here.rows)
    products->offsets.push_back(products->offsets.back() + rows);
  auto* offsets = arena.take<std::int32_t>(products->offsets.size());
  copy_to_device(offsets, products->offsets.data(),
                 products->offsets.size() * sizeof(std::int32_t));
  a.offsets = offsets;
  const float weight_scale = 1 / std::sqrt(static_cast<float>(a.k));
  if (fp8) {
    products->row_scale = 1 / kCodeDeviation;
    products->weight_scales.assign(here.rows.size(), weight_scale / kCodeDeviation);
    auto* scales = arena.take<float>(here.rows.size() + 1);
    copy_to_device(scales, products->weight_scales.data(), here.rows.size() * sizeof(float));
    copy_to_device(scales + here.rows.size(), &products->row_scale, sizeof(float));
    a.weight_scales = scales;
    a.row_scale = scales + here.rows.size();
  }
  const std::size_t element = fp8 ? 1 : 2, n = static_cast<std::size_t>(a.n),
                    k = static_cast<std::size_t>(a.k), rows = static_cast<std::size_t>(here.all);
  const std::size_t met = static_cast<std::size_t>(here.experts_met);
  const int copies = rotation_copies(
      std::max<std::size_t>(1, element * k * (met * n + rows) + sizeof(Bf16) * rows * n));
  for (int copy = 0; copy < copies; ++copy) {
    const std::uint64_t own_seed = seed + 2 * static_cast<std::uint64_t>(copy);
    const std::size_t weights = here.rows.size() * n * k;
    if (fp8)
      fill_set<E4m3>(a, rows * k, weights, weight_scale, arena, own_seed);
    else
      fill_set<Bf16>(a, rows * k, weights, weight_scale, arena, own_seed);
    a.out = arena.take<Bf16>(rows * n);
    products->sets.push_back(a);
  }
  device_synchronize();

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [products](Stream stream, int copy) {
    launch_grouped_gemm(products->sets[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [products, fp8, seed] {
    return fp8 ? check_error<E4m3>(*products, seed) : check_error<Bf16>(*products, seed);
  };
  prepared.error_limit = fp8 ? 5e-3 : 3e-3;
  prepared.note =
      std::to_string(here.all) + " rows, " + std::to_string(here.experts_met) +
      " experts, tiles of " +
      std::to_string(grouped_gemm_tile_columns(a.rows_max, a.experts, a.n, device_facts().sms)) +
      " columns";
  return prepared;
}

}  // namespace fleetsim::kernels
