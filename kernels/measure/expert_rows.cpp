#include "kernels/measure/expert_rows.h"

#include "kernels/device/device_memory.h"
#include "kernels/measure/row_sample.h"
#include "kernels/reference/experts.h"

namespace fleetsim::kernels {

ExpertRows take_expert_rows(const Point& point, Arena& arena) {
  ExpertRows rows;
  rows.layer = expert_layer(point);
  if (rows.layer.tokens * rows.layer.experts_per_token >= (std::int64_t{1} << 31) - (1 << 16))
    throw NotSupportedHere("the order of experts takes fewer than 2^31 choices");
  rows.choices = expert_choices(rows.layer);
  rows.here = local_rows(rows.layer, rows.choices);
  auto* ids = arena.take<std::int32_t>(rows.slots());
  copy_to_device(ids, rows.choices.data(), rows.slots() * sizeof(std::int32_t));
  rows.order.ids = ids;
  rows.order.tokens = rows.tokens();
  rows.order.experts_per_token = rows.picks();
  rows.order.local_experts = static_cast<int>(rows.layer.local_experts);
  rows.order.order.offsets =
      arena.take<std::int32_t>(static_cast<std::size_t>(rows.layer.local_experts) + 1);
  rows.order.order.row_of_slot = arena.take<std::int32_t>(rows.slots());
  rows.order.order.slot_of_row = arena.take<std::int32_t>(rows.slots());
  rows.order.workspace = arena.take<std::int32_t>(expert_order_workspace(rows.order));
  return rows;
}

double wrong_places(const ExpertRows& rows) {
  const ReferenceExpertOrder expected =
      reference_expert_order(rows.choices, 0, static_cast<int>(rows.layer.local_experts));
  const auto differences = [](const std::int32_t* device,
                              const std::vector<std::int32_t>& expected_values) {
    if (expected_values.empty()) return 0.0;
    const std::vector<std::int32_t> values =
        rows_of(device, static_cast<int>(expected_values.size()), {0});
    double wrong = 0;
    for (std::size_t i = 0; i < values.size(); ++i) wrong += values[i] != expected_values[i];
    return wrong;
  };
  return differences(rows.order.order.offsets, expected.offsets) +
         differences(rows.order.order.row_of_slot, expected.row_of_slot) +
         differences(rows.order.order.slot_of_row, expected.slot_of_row);
}

}  // namespace fleetsim::kernels
