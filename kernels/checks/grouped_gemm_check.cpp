#include "kernels/checks/grouped_gemm_check.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/device/random_fill.h"
#include "kernels/reference/experts.h"
#include "kernels/reference/gemm.h"
#include "kernels/reference/random_inputs.h"

namespace fleetsim::kernels {
namespace {

constexpr int kSampledRows = 48, kSampledColumns = 96;
constexpr std::size_t kWholeProducts = 4'000'000;  // multiplications of a product compared whole

/// e4m3: as where the largest of many becomes 448.
constexpr float kCodeDeviation = 80.0F;

/// The first `count` elements of `to` become normal draws; returns them as they are there.
template <class Element>
std::vector<float> draw(const DeviceBuffer<Element>& to, std::size_t count, float scale,
                        std::uint64_t seed) {
  fill_normal(to.data(), count, sizeof(Element) == 1 ? kCodeDeviation : scale, seed, {});
  device_synchronize();
  std::vector<Element> codes(count);
  copy_to_host(codes.data(), to.data(), count * sizeof(Element));
  std::vector<float> values;
  values.reserve(count);
  for (const Element code : codes) values.push_back(to_float(code));
  return values;
}

template <class Element>
CheckReport run_case(const GroupedCase& c, std::uint64_t seed, GroupedFault fault) {
  constexpr bool kFp8 = sizeof(Element) == 1;
  const auto experts = c.rows.size();
  std::vector<std::int32_t> offsets = {0};
  for (const int rows : c.rows) offsets.push_back(offsets.back() + rows);
  const int rows = offsets.back();
  std::string what = std::string(kFp8 ? "e4m3" : "bf16") + ", " + std::to_string(rows) +
                     " rows of " + std::to_string(experts) + " experts, n " + std::to_string(c.n) +
                     " k " + std::to_string(c.k) + ", expected " + std::to_string(c.rows_expected) +
                     ", seed " + std::to_string(seed);
  RandomInputs random(seed, "grouped_gemm " + what);
  const auto n = static_cast<std::size_t>(c.n), k = static_cast<std::size_t>(c.k);
  const std::size_t all_rows = static_cast<std::size_t>(rows + c.spare);
  const DeviceBuffer<Element> device_left(all_rows * k), device_right(experts * n * k);
  const std::vector<float> left = draw(device_left, static_cast<std::size_t>(rows) * k, 1.0F, seed);
  const std::vector<float> right =
      draw(device_right, experts * n * k, 1 / std::sqrt(static_cast<float>(k)), seed + 1);
  std::vector<float> weight_scales;
  for (std::size_t i = 0; i < experts; ++i) weight_scales.push_back(0.001F * (1 + random.unit()));

  const DeviceBuffer<std::int32_t> device_offsets(offsets);
  const DeviceBuffer<float> row_scale(std::vector<float>{0.013F}), scales(weight_scales);
  const DeviceBuffer<Bf16> out(all_rows * n);
  GroupedGemmArguments a;
  a.format = c.format;
  a.rows = device_left.data();
  a.weights = device_right.data();
  a.offsets = device_offsets.data();
  if (kFp8) a.row_scale = row_scale.data(), a.weight_scales = scales.data();
  a.out = out.data();
  a.rows_max = rows + c.spare;
  a.experts = static_cast<int>(experts);
  a.n = c.n;
  a.k = c.k;
  a.rows_expected = c.rows_expected;
  std::vector<std::vector<Bf16>> results;
  for (int time = 0; time < 2; ++time) {
    device_fill(out.data(), 0xff, out.size() * sizeof(Bf16), {});
    launch_grouped_gemm(a, {});
    device_synchronize();
    results.push_back(out.values());
  }

  // where groups meet, and a sample of the rest
  const bool whole = static_cast<std::size_t>(rows) * n * k <= kWholeProducts;
  std::vector<int> columns = sampled_indices(c.n, whole ? c.n : kSampledColumns, seed);
  std::set<int> rows_looked_at;
  if (rows > 0)
    for (const int row : sampled_indices(rows, whole ? rows : kSampledRows, seed + 1))
      rows_looked_at.insert(row);
  for (std::size_t e = 0; e < experts; ++e)
    if (c.rows[e] > 0 && rows_looked_at.size() < 4 * kSampledRows)
      for (const int row : {offsets[e], offsets[e + 1] - 1}) rows_looked_at.insert(row);

  std::vector<std::int32_t> expected_offsets = offsets;
  if (fault == GroupedFault::offset_by_one) ++expected_offsets[1];
  const std::size_t depth = k - (fault == GroupedFault::short_k ? 8 : 0);
  std::vector<float> values;
  std::vector<double> reference;
  for (const int row : rows_looked_at) {
    auto expert = static_cast<std::size_t>(group_of_row(expected_offsets, row));
    if (fault == GroupedFault::wrong_expert && expert == 0) ++expert;
    const double scale = kFp8 ? static_cast<double>(0.013F * weight_scales[expert]) : 1;
    for (const int column : columns) {
      const std::size_t from_left = static_cast<std::size_t>(row) * k;
      const std::size_t from_right = (expert * n + static_cast<std::size_t>(column)) * k;
      double sum = 0;
      for (std::size_t i = 0; i < depth; ++i)
        sum +=
            static_cast<double>(left[from_left + i]) * static_cast<double>(right[from_right + i]);
      reference.push_back(sum * scale);
      values.push_back(to_float(
          results[0][static_cast<std::size_t>(row) * n + static_cast<std::size_t>(column)]));
    }
  }
  CheckReport report = report_of(what, compare(values, reference), kFp8 ? 5e-3 : 3e-3);
  const auto equal_bits = [](Bf16 x, Bf16 y) { return x.bits == y.bits; };
  if (!std::equal(results[0].begin(), results[0].end(), results[1].begin(), equal_bits))
    report.problem = "a second launch gave other bytes";
  for (std::size_t i = static_cast<std::size_t>(rows) * n; i < all_rows * n; ++i)
    if (results[0][i].bits != 0xffff) report.problem = "wrote rows that are nobody's";
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows) * n; ++i)
    if (results[0][i].bits == 0xffff) report.problem = "left a row unwritten";
  if (!out.guards_intact()) report.problem = "wrote outside its output";
  return report;
}

}  // namespace

CheckReport check_grouped_case(const GroupedCase& c, std::uint64_t seed, GroupedFault fault) {
  return c.format == GroupedFormat::bf16 ? run_case<Bf16>(c, seed, fault)
                                         : run_case<E4m3>(c, seed, fault);
}

std::vector<CheckReport> check_grouped_gemm(std::uint64_t seed, Scale scale) {
  // tiles whole, half, cut short and empty; K that ends within a stage; columns that end within a
  // tile; more rows expected than come, so that every width of tile runs
  const auto bf16 = GroupedFormat::bf16, e4m3 = GroupedFormat::e4m3;
  std::vector<GroupedCase> cases = {
      {bf16, {3, 0, 70, 1}, 5, 64, 64, 0},       {bf16, {130, 0, 0, 65}, 0, 264, 136, 0},
      {bf16, {0, 0, 40}, 100, 72, 456, 5000},    {bf16, {1}, 0, 8, 8, 0},
      {bf16, {20, 140, 64}, 3, 320, 192, 20000}, {bf16, {0, 0}, 4, 64, 64, 0},
      {e4m3, {3, 0, 70, 1}, 5, 64, 128, 0},      {e4m3, {129, 30}, 9, 136, 272, 20000},
  };
  if (scale == Scale::device) {
    std::vector<int> ragged, few(128, 0);
    RandomInputs random(seed, "grouped_gemm rows");
    for (int i = 0; i < 16; ++i) ragged.push_back(static_cast<int>(random.below(700)));
    for (int i = 0; i < 128; i += 3) few[static_cast<std::size_t>(i)] = 1 + i % 5;
    for (const GroupedFormat format : {bf16, e4m3}) {
      cases.push_back({format, ragged, 1000, 768, 2048, 0});
      cases.push_back({format, {3000, 5, 0, 129, 64, 700, 1, 2500}, 50, 2048, 1024, 6000});
      cases.push_back({format, few, 300, 768, 1024, 80});
      cases.push_back({format, {2, 0, 0, 1}, 0, 2880, 2880, 3});
    }
  }
  std::vector<CheckReport> reports;
  for (const GroupedCase& c : cases) reports.push_back(check_grouped_case(c, seed));
  return reports;
}

}  // namespace fleetsim::kernels
