// W4A16 GEMM against float64 on the dequantised weights: rows of every tile size, every kind of cut
// along K.

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/operators/w4a16_gemm.h"
#include "kernels/reference/random_inputs.h"
#include "kernels/reference/w4a16.h"

namespace fleetsim::kernels {
namespace {

struct Case {
  int m, n, k;
  int sharing_blocks;  // 0: the plan as it is chosen
};

/// Scales as checkpoints have them: codes of standard deviation about 4.6 give weights of about
/// 1 / sqrt(k).
Int4Weights random_weights(RandomInputs& random, int n, int k) {
  Int4Weights weights;
  weights.n = n;
  weights.k = k;
  const std::size_t elements = static_cast<std::size_t>(n) * static_cast<std::size_t>(k);
  const float scale = 0.2F / std::sqrt(static_cast<float>(k));
  for (std::size_t i = 0; i < elements; i += 8) {
    const std::uint32_t word = random.word();
    for (int j = 0; j < 8; ++j) weights.codes.push_back(word >> (4 * j) & 0xfU);
  }
  for (std::size_t i = 0; i < elements / kInt4Group; ++i) {
    weights.zeros.push_back(static_cast<std::uint8_t>(random.below(16)));
    weights.scales.push_back(to_bf16(scale * (0.5F + random.unit())));
  }
  return weights;
}

CheckReport run_case(const Case& c, std::uint64_t seed) {
  std::string what =
      "m " + std::to_string(c.m) + " n " + std::to_string(c.n) + " k " + std::to_string(c.k);
  RandomInputs random(seed, "w4a16_gemm " + what);
  const Int4Weights weights = random_weights(random, c.n, c.k);
  const std::vector<Bf16> activations =
      random.normals_bf16(static_cast<std::size_t>(c.m) * static_cast<std::size_t>(c.k));

  W4a16Plan plan = plan_w4a16_gemm(c.m, c.n, c.k);
  if (c.sharing_blocks > 0 && plan.shared_tiles > 0)
    plan = with_sharing_blocks(
        plan,
        std::clamp(c.sharing_blocks, plan.shared_tiles,
                   plan.whole_tiles > 0 ? std::min(plan.blocks, plan.shared_tiles * plan.groups)
                                        : plan.shared_tiles * plan.groups));
  what += " tile rows " + std::to_string(plan.tile_rows) + " blocks " +
          std::to_string(plan.blocks) + " whole " + std::to_string(plan.whole_tiles) + " shared " +
          std::to_string(plan.shared_tiles) + " by " + std::to_string(plan.sharing_blocks) +
          " seed " + std::to_string(seed);

  const DeviceBuffer<Bf16> device_activations(activations);
  const DeviceBuffer<std::uint8_t> device_weights(pack_w4a16_tiles(weights));
  const DeviceBuffer<std::uint8_t> workspace(w4a16_workspace_bytes(plan));
  const DeviceBuffer<Bf16> out(static_cast<std::size_t>(c.m) * static_cast<std::size_t>(c.n));
  device_fill(workspace.data(), 0, w4a16_counter_bytes(plan), {});
  const W4a16GemmArguments arguments{
      device_activations.data(), device_weights.data(), out.data(), c.m, c.n, c.k,
      workspace.data()};
  launch_w4a16_gemm(arguments, plan, {});
  device_synchronize();
  const std::vector<Bf16> first = out.values();
  device_fill(out.data(), 0xff, out.size() * sizeof(Bf16), {});
  launch_w4a16_gemm(arguments, plan, {});  // finds its counters as the first launch left them
  device_synchronize();
  const std::vector<Bf16> second = out.values();

  std::vector<float> values;
  for (const Bf16 value : first) values.push_back(to_float(value));
  CheckReport report =
      report_of(what, compare(values, reference_w4a16_gemm(activations, weights)), 3e-3);
  if (!std::equal(first.begin(), first.end(), second.begin(),
                  [](Bf16 a, Bf16 b) { return a.bits == b.bits; }))
    report.problem = "a second launch gave other bytes";
  if (!out.guards_intact() || !workspace.guards_intact())
    report.problem = "wrote outside its output";
  return report;
}

std::vector<Case> cases_at(Scale scale) {
  std::vector<Case> cases = {
      {1, 64, 128, 0},     // one group, three of four column blocks missing
      {1, 320, 512, 7},    // a tile's parts in uneven ranges
      {5, 256, 384, 3},    // one group a part
      {16, 576, 256, 0},   // a last tile of one column block
      {17, 64, 256, 2},    // 32 rows
      {32, 256, 128, 1},   // nothing is cut
      {33, 128, 384, 2},   // 64 rows
      {65, 64, 256, 3},    // 128 rows, most of them empty
      {150, 320, 256, 0},  // two row tiles
      {16, 2304, 128, 0},  // whole tiles in a wave, then the rest
  };
  if (scale == Scale::device)
    for (const Case& c : std::vector<Case>{{1, 6144, 4096, 0},
                                           {1, 4096, 14336, 0},
                                           {16, 1280, 8192, 0},
                                           {16, 28672, 1024, 0},
                                           {24, 10240, 2048, 0},
                                           {48, 4096, 4096, 0},
                                           {64, 5120, 5120, 16},
                                           {96, 4096, 2048, 0},
                                           {192, 2048, 4096, 0},
                                           {513, 1024, 2048, 0},
                                           {1024, 2880, 1024, 0},
                                           {64, 1024, 4096, 1},
                                           {64, 1024, 4096, 2},
                                           {64, 1024, 4096, 5},
                                           {64, 1024, 4096, 64}})
      cases.push_back(c);
  return cases;
}

}  // namespace

std::vector<CheckReport> check_w4a16_gemm(std::uint64_t seed, Scale scale) {
  std::vector<CheckReport> reports;
  for (const Case& c : cases_at(scale)) reports.push_back(run_case(c, seed));
  return reports;
}

}  // namespace fleetsim::kernels
