// Embedding against a plain gather, bit by bit: whole vocabularies, parts, ids outside, repeated
// ids.

#include <string>

#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/operators/embedding.h"
#include "kernels/reference/random_inputs.h"
#include "kernels/reference/row_operators.h"

namespace fleetsim::kernels {
namespace {

struct Case {
  int tokens, hidden, vocabulary;
  int first_id, rows;  // the part that is here
};

CheckReport run_case(const Case& c, std::uint64_t seed) {
  CheckReport report;
  report.what = "tokens " + std::to_string(c.tokens) + " hidden " + std::to_string(c.hidden) +
                " ids " + std::to_string(c.first_id) + " to " +
                std::to_string(c.first_id + c.rows - 1) + " of " + std::to_string(c.vocabulary) +
                " seed " + std::to_string(seed);
  RandomInputs random(seed, "embedding " + report.what);
  const std::vector<Bf16> table =
      random.normals_bf16(static_cast<std::size_t>(c.rows) * static_cast<std::size_t>(c.hidden));
  std::vector<std::int32_t> ids;
  // the ends of the part and of the vocabulary first
  for (const int id : {c.first_id, c.first_id - 1, c.first_id + c.rows - 1, c.first_id + c.rows, 0,
                       c.vocabulary - 1, -1})
    ids.push_back(id);
  while (ids.size() < static_cast<std::size_t>(c.tokens))
    ids.push_back(static_cast<std::int32_t>(random.below(static_cast<unsigned>(c.vocabulary))));
  ids.resize(static_cast<std::size_t>(c.tokens));
  const std::vector<Bf16> expected = reference_embedding(ids, table, c.hidden, c.first_id);

  const DeviceBuffer<Bf16> device_table(table);
  const DeviceBuffer<std::int32_t> device_ids(ids);
  const DeviceBuffer<Bf16> out(expected.size());
  launch_embedding(
      {device_ids.data(), device_table.data(), out.data(), c.tokens, c.hidden, c.first_id, c.rows},
      {});
  device_synchronize();
  const std::vector<Bf16> got = out.values();
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) wrong += got[i].bits != expected[i].bits;
  if (!expected.empty())
    report.error = static_cast<double>(wrong) / static_cast<double>(expected.size());
  report.limit = 0;  // bits are copied
  if (!out.guards_intact()) report.problem = "wrote outside its output";
  return report;
}

}  // namespace

std::vector<CheckReport> check_embedding(std::uint64_t seed, Scale scale) {
  // the last small one has several pieces a thread on the emulated device
  std::vector<Case> cases = {{1, 8, 10, 0, 10},    {7, 2880, 50, 20, 11}, {33, 264, 100, 0, 100},
                             {0, 4096, 10, 0, 10}, {9, 128, 40, 39, 1},   {270, 1032, 64, 16, 16}};
  if (scale == Scale::device)
    for (const Case& c : std::vector<Case>{{64, 4096, 128256, 0, 16032},
                                           {8192, 4096, 32000, 0, 32000},
                                           {1000, 2880, 20000, 5000, 5000},
                                           {513, 7168, 16160, 0, 16160}})
      cases.push_back(c);
  std::vector<CheckReport> reports;
  for (const Case& c : cases) reports.push_back(run_case(c, seed));
  return reports;
}

}  // namespace fleetsim::kernels
