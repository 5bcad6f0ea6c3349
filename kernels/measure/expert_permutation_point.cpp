// Points of `expert_permute` and `expert_unpermute`: tokens of one layer, all sets chosen alike.

#include <cstring>
#include <limits>
#include <memory>

#include "kernels/checks/check.h"
#include "kernels/device/device_memory.h"
#include "kernels/measure/expert_rows.h"
#include "kernels/measure/operator_points.h"
#include "kernels/measure/row_sample.h"
#include "kernels/reference/experts.h"
#include "kernels/reference/gemm.h"

namespace fleetsim::kernels {
namespace {

struct Permutations {
  ExpertRows rows;
  std::vector<RowGatherArguments> gathers;
  std::vector<RowCombineArguments> combines;
};

std::shared_ptr<Permutations> take(const Point& point, Arena& arena) {
  if (point.integer("hidden") % 8 != 0)
    throw NotSupportedHere("rows of experts are multiples of 8 elements");
  auto permutations = std::make_shared<Permutations>();
  permutations->rows = take_expert_rows(point, arena);
  return permutations;
}

/// Wrong places, and rows that are not copies of their tokens.
double permute_error(const Permutations& permutations, std::uint64_t seed) {
  const ExpertRows& rows = permutations.rows;
  const RowGatherArguments& a = permutations.gathers[0];
  const auto hidden = static_cast<std::size_t>(a.row_bytes) / sizeof(Bf16);
  device_fill(a.out, 0xFF, rows.slots() * hidden * sizeof(Bf16), {});
  launch_expert_order(rows.order, {});
  launch_row_gather(a, {});
  device_synchronize();
  double wrong = wrong_places(rows);
  if (wrong > 0 || rows.here.all == 0) return wrong;
  for (const int row : sampled_indices(static_cast<int>(rows.here.all), kSampledTokens, seed)) {
    const int slot = rows_of(rows.order.order.slot_of_row, 1, {row})[0];
    const int width = static_cast<int>(hidden);
    const std::vector<Bf16> copy = rows_of(static_cast<const Bf16*>(a.out), width, {row});
    const std::vector<Bf16> token =
        rows_of(static_cast<const Bf16*>(a.rows), width, {slot / rows.picks()});
    wrong += std::memcmp(copy.data(), token.data(), hidden * sizeof(Bf16)) != 0 ? 1 : 0;
  }
  return wrong;
}

double unpermute_error(const Permutations& permutations, std::uint64_t seed) {
  const RowCombineArguments& a = permutations.combines[0];
  const auto hidden = static_cast<std::size_t>(a.hidden);
  device_fill(a.out, 0xFF, static_cast<std::size_t>(a.tokens) * hidden * sizeof(Bf16), {});
  launch_row_combine(a, {});
  device_synchronize();
  std::vector<float> values;
  std::vector<double> reference;
  for (const int token : sampled_indices(a.tokens, kSampledTokens, seed)) {
    for (const Bf16 value : rows_of(a.out, a.hidden, {token})) values.push_back(to_float(value));
    std::vector<std::int32_t> places = rows_of(a.row_of_slot, a.experts_per_token, {token});
    std::vector<Bf16> rows;  // those of this token alone
    for (std::int32_t& place : places) {
      if (place < 0) continue;
      const std::vector<Bf16> row = rows_of(a.rows, a.hidden, {place});
      place = static_cast<std::int32_t>(rows.size() / hidden);
      rows.insert(rows.end(), row.begin(), row.end());
    }
    const std::vector<double> sums =
        reference_row_combine(rows, places, rows_of(a.weights, a.experts_per_token, {token}),
                              a.experts_per_token, a.hidden);
    reference.insert(reference.end(), sums.begin(), sums.end());
  }
  const Comparison comparison = compare(values, reference);
  return comparison.not_finite > 0 ? std::numeric_limits<double>::infinity()
                                   : comparison.relative_error;
}

}  // namespace

PreparedPoint prepare_expert_permute(const Point& point, Arena& arena, std::uint64_t seed) {
  const auto permutations = take(point, arena);
  const ExpertRows& rows = permutations->rows;
  const auto hidden = static_cast<std::size_t>(point.integer("hidden"));
  const std::size_t tokens = static_cast<std::size_t>(rows.tokens()) * hidden;
  const std::size_t rows_here = static_cast<std::size_t>(rows.here.all) * hidden;
  const int copies = rotation_copies((tokens + rows_here) * sizeof(Bf16));
  for (int copy = 0; copy < copies; ++copy) {
    Bf16* values = arena.take<Bf16>(tokens);
    fill_normal(values, tokens, 1.0F, seed + static_cast<std::uint64_t>(copy), {});
    permutations->gathers.push_back({values, arena.take<Bf16>(rows.slots() * hidden),
                                     rows.order.order.row_of_slot, rows.tokens(), rows.picks(),
                                     static_cast<std::int64_t>(hidden * sizeof(Bf16))});
  }
  device_synchronize();

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [permutations](Stream stream, int copy) {
    launch_expert_order(permutations->rows.order, stream);
    launch_row_gather(permutations->gathers[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [permutations, seed] { return permute_error(*permutations, seed); };
  prepared.error_limit = 0;
  prepared.note = std::to_string(rows.here.all) + " rows here";
  return prepared;
}

PreparedPoint prepare_expert_unpermute(const Point& point, Arena& arena, std::uint64_t seed) {
  const auto permutations = take(point, arena);
  const ExpertRows& rows = permutations->rows;
  const auto hidden = static_cast<std::size_t>(point.integer("hidden"));
  const std::size_t tokens = static_cast<std::size_t>(rows.tokens()) * hidden;
  const std::size_t rows_here = static_cast<std::size_t>(rows.here.all) * hidden;
  float* weights = arena.take<float>(rows.slots());
  fill_normal(weights, rows.slots(), 0.5F, seed + 1000, {});
  launch_expert_order(rows.order, {});
  const int copies = rotation_copies((tokens + rows_here) * sizeof(Bf16));
  for (int copy = 0; copy < copies; ++copy) {
    Bf16* values = arena.take<Bf16>(rows_here);
    fill_normal(values, rows_here, 1.0F, seed + static_cast<std::uint64_t>(copy), {});
    permutations->combines.push_back({values, rows.order.order.row_of_slot, weights,
                                      arena.take<Bf16>(tokens), rows.tokens(), rows.picks(),
                                      static_cast<int>(hidden)});
  }
  device_synchronize();

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [permutations](Stream stream, int copy) {
    launch_row_combine(permutations->combines[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [permutations, seed] { return unpermute_error(*permutations, seed); };
  prepared.error_limit = 4e-3;
  prepared.note = std::to_string(rows.here.all) + " rows here";
  return prepared;
}

}  // namespace fleetsim::kernels
