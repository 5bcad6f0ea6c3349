// Points of `all_reduce`: our two kernels and NCCL on 2, 4 or 8 GPUs of this machine.

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>

#include "kernels/checks/check.h"
#include "kernels/device/device_memory.h"
#include "kernels/device/peer_devices.h"
#include "kernels/measure/operator_points.h"
#include "kernels/operators/all_reduce.h"
#include "kernels/operators/all_reduce_nccl.h"
#include "kernels/reference/all_reduce.h"
#include "kernels/reference/gemm.h"

namespace fleetsim::kernels {
namespace {

/// All-reduces between a fork to all GPUs and their join, so that this costs each little; what a
/// row holds is the time of one among neighbours, as in an iteration's graph.
constexpr int kOperations = 16;
/// The check looks at so many chunks of so many elements.
constexpr int kSampledChunks = 32;
constexpr std::size_t kChunk = 512;
constexpr double kLimit = 0.00390625;  // one rounding to bf16: 2^-8
/// NCCL may round after each of up to ranks - 1 additions.
double limit_of(bool nccl, int ranks) { return nccl ? kLimit * (ranks - 1) : kLimit; }

/// What a rank holds, on its own GPU. One operand set: in an iteration the input of an all-reduce
/// was written by the kernel before, so L2 has what fits.
struct Rank {
  Rank(std::size_t count, int ranks, std::uint64_t seed)
      : input(count),
        out(count),
        part(static_cast<std::size_t>(
            all_reduce_part_count(static_cast<std::int64_t>(count), ranks))),
        flags(1) {
    fill_normal(input.data(), count, 1.0F, seed, {});
    device_fill(flags.data(), 0, sizeof(AllReduceFlags), {});
    device_synchronize();
  }
  DeviceBuffer<Bf16> input, out, part;
  DeviceBuffer<AllReduceFlags> flags;
};

/// Everything that a point needs, kept alive by its functions.
struct Gpus {
  explicit Gpus(int count) : devices(count) {}
  PeerDevices devices;
  std::vector<std::unique_ptr<Rank>> ranks;
  std::unique_ptr<NcclGroup> nccl;
  AllReduceArguments arguments;  // of our kernels
  AllReduceGrid grid;

  /// One all-reduce on all GPUs, GPU 0's share on `stream`.
  void launch_one(Stream stream) const {
    const auto stream_of = [&](int device) {
      return device == 0 ? stream : devices.stream(device);
    };
    if (nccl != nullptr) {
      std::vector<const Bf16*> inputs;
      std::vector<Bf16*> outs;
      std::vector<Stream> streams;
      for (int device = 0; device < devices.count(); ++device) {
        inputs.push_back(ranks[device]->input.data());
        outs.push_back(ranks[device]->out.data());
        streams.push_back(stream_of(device));
      }
      return nccl->all_reduce(inputs, outs, ranks[0]->input.size(), streams);
    }
    devices.on_each([&](int device) {
      AllReduceArguments own = arguments;
      own.first_rank = device;
      launch_all_reduce(own, grid, stream_of(device));
    });
  }
};

/// Elements of the chunks of kChunk, in their order.
std::vector<Bf16> sampled(const DeviceBuffer<Bf16>& from, const std::vector<int>& chunks) {
  std::vector<Bf16> values;
  for (const int chunk : chunks) {
    const std::size_t begin = static_cast<std::size_t>(chunk) * kChunk;
    std::vector<Bf16> part(std::min(kChunk, from.size() - begin));
    copy_to_host(part.data(), from.data() + begin, part.size() * sizeof(Bf16));
    values.insert(values.end(), part.begin(), part.end());
  }
  return values;
}

double check_error(const Gpus& gpus, std::uint64_t seed) {
  const std::size_t count = gpus.ranks[0]->input.size();
  constexpr double kWrong = std::numeric_limits<double>::infinity();
  gpus.devices.on_each([&](int device) {
    device_fill(gpus.ranks[device]->out.data(), 0xFF, count * sizeof(Bf16), {});
  });
  gpus.devices.synchronize();
  const Stream stream = gpus.devices.stream(0);
  gpus.devices.fork(stream);
  gpus.launch_one(stream);
  gpus.devices.join(stream);
  gpus.devices.synchronize();
  const std::vector<int> chunks =
      sampled_indices(static_cast<int>(ceil_div(count, kChunk)), kSampledChunks, seed);
  std::vector<std::vector<Bf16>> inputs, outs;
  gpus.devices.on_each([&](int device) {
    inputs.push_back(sampled(gpus.ranks[device]->input, chunks));
    outs.push_back(sampled(gpus.ranks[device]->out, chunks));
  });
  const std::vector<double> reference = reference_all_reduce(inputs);
  double worst = 0;
  for (const std::vector<Bf16>& out : outs) {
    if (std::memcmp(out.data(), outs[0].data(), out.size() * sizeof(Bf16)) != 0) return kWrong;
    std::vector<float> values;
    for (const Bf16 value : out) values.push_back(to_float(value));
    const Comparison comparison = compare(values, reference);
    if (comparison.not_finite > 0) return kWrong;
    worst = std::max(worst, comparison.relative_error);
  }
  return worst;
}

}  // namespace

PreparedPoint prepare_all_reduce(const Point& point, Arena&, std::uint64_t seed) {
  const int ranks = static_cast<int>(point.integer("gpus"));
  const std::string& algorithm = point.word("algorithm");
  const auto bytes = static_cast<std::size_t>(point.integer("bytes"));
  CHECK(bytes >= 16 && bytes % 16 == 0, "an all-reduce moves whole vectors of 16 bytes");
  const std::size_t count = bytes / sizeof(Bf16);
  // the arena is on GPU 0 alone, so ranks bring their own memory
  const auto gpus = std::make_shared<Gpus>(ranks);
  gpus->devices.on_each([&](int device) {
    gpus->ranks.push_back(
        std::make_unique<Rank>(count, ranks, seed + static_cast<std::uint64_t>(device)));
  });
  const bool nccl = algorithm == "nccl";
  PreparedPoint prepared;
  if (nccl) {
    gpus->nccl = std::make_unique<NcclGroup>(ranks);
    prepared.note = "NCCL " + gpus->nccl->version();
  } else {
    AllReduceArguments& arguments = gpus->arguments;
    arguments.algorithm =
        algorithm == "one_shot" ? AllReduceAlgorithm::one_shot : AllReduceAlgorithm::two_shot;
    arguments.ranks = ranks;
    arguments.count = static_cast<std::int64_t>(count);
    for (int rank = 0; rank < ranks; ++rank) {
      arguments.inputs[rank] = gpus->ranks[rank]->input.data();
      arguments.parts[rank] = gpus->ranks[rank]->part.data();
      arguments.outs[rank] = gpus->ranks[rank]->out.data();
      arguments.flags[rank] = gpus->ranks[rank]->flags.data();
    }
    gpus->grid = all_reduce_grid(arguments);
    prepared.note = std::to_string(gpus->grid.blocks) + " blocks a rank";
  }
  prepared.operations = kOperations;
  prepared.launch = [gpus](Stream stream, int) {
    gpus->devices.fork(stream);
    for (int i = 0; i < kOperations; ++i) gpus->launch_one(stream);
    gpus->devices.join(stream);
  };
  prepared.check_error = [gpus, seed] { return check_error(*gpus, seed); };
  prepared.error_limit = limit_of(nccl, ranks);
  return prepared;
}

}  // namespace fleetsim::kernels
