#include "kernels/checks/expert_permutation_check.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/operators/expert_permutation.h"
#include "kernels/reference/experts.h"
#include "kernels/reference/random_inputs.h"

namespace fleetsim::kernels {
namespace {

constexpr double kSumLimit = 4e-3;  // kernels-and-cost-models §4.7, bf16

std::vector<std::int32_t> random_choices(const PermutationCase& c, RandomInputs& random) {
  std::vector<std::int32_t> ids;
  for (int token = 0; token < c.tokens; ++token) {
    const std::vector<int> order = random.shuffled(c.experts);
    std::vector<std::int32_t> own(order.begin(), order.begin() + c.experts_per_token);
    const std::int32_t favourite = c.first_expert;
    if (c.skewed && random.below(2) == 0 &&
        std::find(own.begin(), own.end(), favourite) == own.end())
      own[random.below(static_cast<std::uint32_t>(c.experts_per_token))] = favourite;
    ids.insert(ids.end(), own.begin(), own.end());
  }
  return ids;
}

/// What is expected, with the fault in it.
ReferenceExpertOrder expected_order(const std::vector<std::int32_t>& ids, const PermutationCase& c,
                                    PermutationFault fault) {
  const int first = c.first_expert + (fault == PermutationFault::wrong_expert ? 1 : 0);
  ReferenceExpertOrder order = reference_expert_order(ids, first, c.local_experts);
  if (fault == PermutationFault::offset_by_one && c.local_experts > 1) ++order.offsets[1];
  if (fault == PermutationFault::unstable_order && order.offsets[1] >= 2) {
    std::swap(order.slot_of_row[0], order.slot_of_row[1]);
    std::swap(order.row_of_slot[static_cast<std::size_t>(order.slot_of_row[0])],
              order.row_of_slot[static_cast<std::size_t>(order.slot_of_row[1])]);
  }
  if (fault == PermutationFault::row_twice && order.slot_of_row.size() >= 2)
    order.slot_of_row[1] = order.slot_of_row[0];
  return order;
}

template <class T>
double differences(const std::vector<T>& a, const std::vector<T>& b, std::size_t count) {
  double wrong = 0;
  for (std::size_t i = 0; i < count; ++i) wrong += a[i] != b[i] ? 1 : 0;
  return wrong;
}

}  // namespace

std::vector<CheckReport> check_permutation_case(const PermutationCase& c, std::uint64_t seed,
                                                PermutationFault fault) {
  const std::string what =
      std::to_string(c.tokens) + " tokens of " + std::to_string(c.hidden) + ", " +
      std::to_string(c.experts_per_token) + " of " + std::to_string(c.experts) + " experts, here " +
      std::to_string(c.local_experts) + " from " + std::to_string(c.first_expert) +
      (c.skewed ? ", skewed" : "") + ", seed " + std::to_string(seed);
  RandomInputs random(seed, "expert_permutation " + what);
  const std::vector<std::int32_t> ids = random_choices(c, random);
  const auto hidden = static_cast<std::size_t>(c.hidden);
  const auto picks = static_cast<std::size_t>(c.experts_per_token);
  const ReferenceExpertOrder expected = expected_order(ids, c, fault);
  const std::size_t rows = expected.slot_of_row.size();

  CheckReport order{"order: " + what, 0, 0, ""}, gather{"gather: " + what, 0, 0, ""};
  const DeviceBuffer<std::int32_t> device_ids(ids), row_of_slot(ids.size()),
      slot_of_row(ids.size()), offsets(static_cast<std::size_t>(c.local_experts) + 1);
  ExpertOrderArguments a;
  a.ids = device_ids.data();
  a.tokens = c.tokens;
  a.experts_per_token = c.experts_per_token;
  a.first_expert = c.first_expert;
  a.local_experts = c.local_experts;
  a.order = {offsets.data(), row_of_slot.data(), slot_of_row.data()};
  const DeviceBuffer<std::int32_t> workspace(expert_order_workspace(a));
  a.workspace = workspace.data();
  for (int time = 0; time < 2; ++time) {
    device_fill(row_of_slot.data(), 0x7f, ids.size() * sizeof(std::int32_t), {});
    device_fill(slot_of_row.data(), 0x7f, ids.size() * sizeof(std::int32_t), {});
    launch_expert_order(a, {});
    device_synchronize();
    order.error += differences(offsets.values(), expected.offsets, expected.offsets.size()) +
                   differences(row_of_slot.values(), expected.row_of_slot, ids.size()) +
                   differences(slot_of_row.values(), expected.slot_of_row, rows);
    for (const std::int32_t behind : slot_of_row.values())
      if (behind != 0x7f7f7f7f && (behind < 0 || static_cast<std::size_t>(behind) >= ids.size()))
        order.problem = "a row of nobody";
  }
  for (const auto* buffer : {&row_of_slot, &slot_of_row, &offsets, &workspace})
    if (!buffer->guards_intact()) order.problem = "wrote outside its output";

  const std::vector<Bf16> tokens = random.normals_bf16(static_cast<std::size_t>(c.tokens) * hidden);
  const DeviceBuffer<Bf16> device_tokens(tokens), permuted(ids.size() * hidden);
  launch_row_gather({device_tokens.data(), permuted.data(), row_of_slot.data(), c.tokens,
                     c.experts_per_token, static_cast<std::int64_t>(hidden * sizeof(Bf16))},
                    {});
  device_synchronize();
  std::vector<Bf16> gathered = permuted.values();
  const std::vector<Bf16> poison(hidden, Bf16{0xffff});
  for (std::size_t row = 0; row < ids.size(); ++row) {
    const Bf16* from =
        row < rows
            ? tokens.data() + static_cast<std::size_t>(expected.slot_of_row[row]) / picks * hidden
            : poison.data();
    if (std::memcmp(gathered.data() + row * hidden, from, hidden * sizeof(Bf16)) != 0)
      gather.error += 1;
  }
  if (!permuted.guards_intact()) gather.problem = "wrote outside its output";

  std::vector<float> weights;
  for (std::size_t slot = 0; slot < ids.size(); ++slot) weights.push_back(random.unit());
  const DeviceBuffer<float> device_weights(weights);
  const DeviceBuffer<Bf16> sums(static_cast<std::size_t>(c.tokens) * hidden);
  launch_row_combine({permuted.data(), row_of_slot.data(), device_weights.data(), sums.data(),
                      c.tokens, c.experts_per_token, c.hidden},
                     {});
  device_synchronize();
  std::vector<float> values;
  for (const Bf16 value : sums.values()) values.push_back(to_float(value));
  CheckReport combine =
      report_of("combine: " + what,
                compare(values, reference_row_combine(gathered, expected.row_of_slot, weights,
                                                      c.experts_per_token, c.hidden)),
                kSumLimit);
  if (!sums.guards_intact()) combine.problem = "wrote outside its output";
  return {order, gather, combine};
}

std::vector<CheckReport> check_expert_permutation(std::uint64_t seed, Scale scale) {
  // the fourth has more (token, slot) than a piece of the sort; the sixth has tokens without a row
  std::vector<PermutationCase> cases = {
      {5, 8, 2, 0, 8, 64, false},      {1, 8, 2, 0, 8, 8, false},
      {37, 16, 4, 0, 16, 1032, true},  {300, 32, 8, 0, 32, 16, true},
      {64, 64, 8, 16, 16, 24, false},  {40, 256, 4, 32, 32, 40, true},
      {9, 512, 10, 0, 512, 16, false}, {3, 4, 4, 0, 4, 2880, false},
      {12, 4, 1, 1, 1, 8, false},      {0, 8, 2, 0, 8, 64, false},
  };
  if (scale == Scale::device)
    for (const PermutationCase& c :
         std::vector<PermutationCase>{{4096, 8, 2, 0, 8, 4096, false},
                                      {2000, 128, 8, 0, 128, 2048, true},
                                      {16384, 256, 8, 32, 32, 1024, false},
                                      {777, 128, 4, 0, 128, 2880, true}})
      cases.push_back(c);
  std::vector<CheckReport> reports;
  for (const PermutationCase& c : cases)
    for (CheckReport& report : check_permutation_case(c, seed))
      reports.push_back(std::move(report));
  return reports;
}

}  // namespace fleetsim::kernels
