// Points of `embedding`: one table, other random ids in every set.

#include <memory>

#include "kernels/measure/operator_points.h"
#include "kernels/measure/row_sample.h"
#include "kernels/operators/embedding.h"
#include "kernels/reference/gemm.h"
#include "kernels/reference/random_inputs.h"

namespace fleetsim::kernels {
namespace {

/// Bits are copied: the error is 0 or infinite.
double check_error(const EmbeddingArguments& set, std::uint64_t seed) {
  const std::vector<int> rows = sampled_indices(set.tokens, kSampledTokens, seed);
  device_fill(
      set.out, 0xff,
      static_cast<std::size_t>(set.tokens) * static_cast<std::size_t>(set.hidden) * sizeof(Bf16),
      {});
  launch_embedding(set, {});
  device_synchronize();
  std::vector<int> ids;
  for (const std::int32_t id : rows_of(set.ids, 1, rows)) ids.push_back(id - set.first_id);
  const std::vector<Bf16> expected = rows_of(set.table, set.hidden, ids);
  const std::vector<Bf16> got = rows_of(set.out, set.hidden, rows);
  for (std::size_t i = 0; i < got.size(); ++i)
    if (got[i].bits != expected[i].bits) return std::numeric_limits<double>::infinity();
  return 0;
}

}  // namespace

PreparedPoint prepare_embedding(const Point& point, Arena& arena, std::uint64_t seed) {
  const std::int64_t tokens = point.integer("tokens"), hidden = point.integer("hidden");
  const std::int64_t vocab = point.integer("vocab");
  if (hidden % 8 != 0 || tokens * (hidden / 8) >= std::int64_t{1} << 31)
    throw NotSupportedHere(
        "the embedding kernel takes hidden sizes that are multiples of 8, and fewer than 2^34 "
        "elements");
  const std::size_t table_elements = static_cast<std::size_t>(vocab * hidden);
  const std::size_t elements = static_cast<std::size_t>(tokens * hidden);
  Bf16* table = arena.take<Bf16>(table_elements);
  fill_normal(table, table_elements, 1.0F, seed, {});
  RandomInputs random(seed, "embedding ids");
  const auto sets = std::make_shared<std::vector<EmbeddingArguments>>();
  const int copies = rotation_copies(2 * elements * sizeof(Bf16));  // rows read, rows written
  for (int copy = 0; copy < copies; ++copy) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens));
    for (std::int32_t& id : ids)
      id = static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(vocab)));
    auto* device_ids = arena.take<std::int32_t>(ids.size());
    copy_to_device(device_ids, ids.data(), ids.size() * sizeof(std::int32_t));
    EmbeddingArguments set;
    set.ids = device_ids;
    set.table = table;
    set.out = arena.take<Bf16>(elements);
    set.tokens = static_cast<int>(tokens);
    set.hidden = static_cast<int>(hidden);
    set.rows = static_cast<int>(vocab);
    sets->push_back(set);
  }

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [sets](Stream stream, int copy) {
    launch_embedding((*sets)[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [sets, seed] { return check_error((*sets)[0], seed); };
  prepared.error_limit = 0;
  return prepared;
}

}  // namespace fleetsim::kernels
