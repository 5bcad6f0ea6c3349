// All-reduce against float64, and every rank, both algorithms and every launch against each other
// byte by byte. Ranks share one launch on the emulated device and on a single GPU; where there are
// more GPUs, they are real.

#include <functional>
#include <memory>

#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/device/peer_devices.h"
#include "kernels/operators/all_reduce.h"
#include "kernels/reference/all_reduce.h"
#include "kernels/reference/random_inputs.h"

namespace fleetsim::kernels {
namespace {

/// One rounding to bf16 of 8 significant bits: at most 2^-8 of each element.
constexpr double kLimit = 0.00390625;
/// Launches with other inputs on the same flags: each barrier parity is used again.
constexpr int kLaunches = 3;

struct Case {
  int ranks;
  std::int64_t count;
  AllReduceGrid grid;  // of the emulated device; a GPU takes all_reduce_grid()
};

/// Buffers of one rank, on the device that is current when it is made.
struct Rank {
  explicit Rank(std::int64_t count, int ranks)
      : input(static_cast<std::size_t>(count)),
        part(static_cast<std::size_t>(all_reduce_part_count(count, ranks))),
        out(static_cast<std::size_t>(count)),
        flags(1) {
    device_fill(flags.data(), 0, sizeof(AllReduceFlags), {});
    device_synchronize();
  }
  bool guards_intact() const {
    return input.guards_intact() && part.guards_intact() && out.guards_intact() &&
           flags.guards_intact();
  }
  DeviceBuffer<Bf16> input, part, out;
  DeviceBuffer<AllReduceFlags> flags;
};

bool same_bytes(const std::vector<Bf16>& a, const std::vector<Bf16>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(Bf16)) == 0);
}

/// What all_reduce.h promises to the bit: sums in fp32 in the order of ranks, rounded once.
std::vector<Bf16> promised(const std::vector<std::vector<Bf16>>& inputs) {
  std::vector<Bf16> sums(inputs[0].size());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    float sum = to_float(inputs[0][i]);
    for (std::size_t rank = 1; rank < inputs.size(); ++rank) sum += to_float(inputs[rank][i]);
    sums[i] = to_bf16(sum);
  }
  return sums;
}

/// Where the ranks live and how they are launched.
struct Setting {
  std::string name;
  std::vector<std::unique_ptr<Rank>> ranks;
  std::function<void(const AllReduceArguments&)> launch;  // returns when all have ended
};

AllReduceArguments arguments_of(const Setting& setting, AllReduceAlgorithm algorithm,
                                std::int64_t count) {
  AllReduceArguments arguments;
  arguments.algorithm = algorithm;
  arguments.ranks = static_cast<int>(setting.ranks.size());
  arguments.count = count;
  for (std::size_t rank = 0; rank < setting.ranks.size(); ++rank) {
    arguments.inputs[rank] = setting.ranks[rank]->input.data();
    arguments.parts[rank] = setting.ranks[rank]->part.data();
    arguments.outs[rank] = setting.ranks[rank]->out.data();
    arguments.flags[rank] = setting.ranks[rank]->flags.data();
  }
  return arguments;
}

Setting ranks_in_one_launch(const Case& c, Scale scale) {
  Setting setting;
  setting.name = "one device";
  for (int rank = 0; rank < c.ranks; ++rank)
    setting.ranks.push_back(std::make_unique<Rank>(c.count, c.ranks));
  setting.launch = [grid = c.grid, scale](AllReduceArguments arguments) {
    arguments.ranks_here = arguments.ranks;
    launch_all_reduce(arguments, scale == Scale::emulated ? grid : all_reduce_grid(arguments), {});
    device_synchronize();
  };
  return setting;
}

#if defined(FLEETSIM_CUDA_RUNTIME)
Setting ranks_on_gpus(const Case& c) {
  const auto devices = std::make_shared<PeerDevices>(c.ranks);
  Setting setting;
  setting.name = "a GPU each";
  devices->on_each([&](int) { setting.ranks.push_back(std::make_unique<Rank>(c.count, c.ranks)); });
  setting.launch = [devices](AllReduceArguments arguments) {
    const AllReduceGrid grid = all_reduce_grid(arguments);
    devices->on_each([&](int device) {
      arguments.first_rank = device;
      launch_all_reduce(arguments, grid, devices->stream(device));
    });
    devices->synchronize();
  };
  return setting;
}
#endif

/// The first fault of what the ranks hold.
std::string fault_of(const Setting& setting, const std::vector<Bf16>& expected) {
  for (std::size_t rank = 0; rank < setting.ranks.size(); ++rank) {
    if (!same_bytes(setting.ranks[rank]->out.values(), expected))
      return "rank " + std::to_string(rank) +
             " has other bytes than fp32 sums in the order of ranks";
    if (!setting.ranks[rank]->guards_intact())
      return "rank " + std::to_string(rank) + " has bytes written beyond a buffer";
  }
  return "";
}

void run_case(const Case& c, const Setting& setting, std::uint64_t seed,
              std::vector<CheckReport>& reports) {
  const std::string what = setting.name + ", " + std::to_string(c.ranks) + " ranks, " +
                           std::to_string(c.count) + " elements, seed " + std::to_string(seed);
  RandomInputs draws(seed, what);
  for (int repeat = 0; repeat < kLaunches; ++repeat) {
    std::vector<std::vector<Bf16>> inputs;
    for (const std::unique_ptr<Rank>& rank : setting.ranks) {
      inputs.push_back(draws.normals_bf16(static_cast<std::size_t>(c.count)));
      copy_to_device(rank->input.data(), inputs.back().data(), inputs.back().size() * sizeof(Bf16));
    }
    const std::vector<double> reference = reference_all_reduce(inputs);
    const std::vector<Bf16> expected = promised(inputs);
    for (const AllReduceAlgorithm algorithm :
         {AllReduceAlgorithm::one_shot, AllReduceAlgorithm::two_shot})
      for (int again = 0; again < 2; ++again) {
        for (const std::unique_ptr<Rank>& rank : setting.ranks)
          device_fill(rank->out.data(), 0xFF, rank->out.size() * sizeof(Bf16), {});
        device_synchronize();
        setting.launch(arguments_of(setting, algorithm, c.count));
        const std::vector<Bf16> out = setting.ranks[0]->out.values();
        std::vector<float> values;
        for (const Bf16 value : out) values.push_back(to_float(value));
        CheckReport report = report_of(
            what + (algorithm == AllReduceAlgorithm::one_shot ? ", one-shot" : ", two-shot") +
                ", launch " + std::to_string(2 * repeat + again + 1),
            compare(values, reference), kLimit);
        if (report.problem.empty()) report.problem = fault_of(setting, expected);
        reports.push_back(report);
      }
  }
}

}  // namespace

std::vector<CheckReport> check_all_reduce(std::uint64_t seed, Scale scale) {
  // one vector: all parts but one are empty; then ragged parts, several blocks, several turns a
  // thread
  std::vector<Case> cases;
  for (const int ranks : {2, 4, 8})
    for (const std::int64_t vectors : {1, 13, 203})
      cases.push_back({ranks, 8 * vectors, {vectors > 100 ? 3 : 1, 32}});
  if (scale == Scale::device)
    for (const int ranks : {2, 4, 8})
      for (const std::int64_t count : {std::int64_t{8192}, std::int64_t{3'000'008}})
        cases.push_back({ranks, count, {}});
  std::vector<CheckReport> reports;
  for (const Case& c : cases) run_case(c, ranks_in_one_launch(c, scale), seed, reports);
#if defined(FLEETSIM_CUDA_RUNTIME)
  for (const Case& c : cases) {
    try {
      run_case(c, ranks_on_gpus(c), seed, reports);
    } catch (const NotSupportedHere& refusal) {
      reports.push_back({"a GPU each, " + std::to_string(c.ranks) + " ranks, " +
                             std::to_string(c.count) + " elements: not run (" + refusal.what() +
                             ")",
                         0, 0, ""});
    }
  }
#endif
  return reports;
}

}  // namespace fleetsim::kernels
