// All-reduce on the emulated device: right for every order of ranks, and no weaker meeting would
// do.

#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/operators/all_reduce_kernel.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

constexpr int kRanks = 4;
constexpr int kRounds = 5;
constexpr std::int64_t kVectors = 37;
constexpr std::int64_t kCount = 8 * kVectors;

/// Small integers, different for every rank and round: sums are exact in bf16.
FLEETSIM_DEVICE float input_value(int rank, int round, std::int64_t i) {
  return static_cast<float>((rank * 7 + round * 13 + i * 3) % 31);
}

enum class Variant {
  one_shot,
  two_shot,
  one_shot_that_leaves_early,    // no meeting after the reads
  one_shot_that_begins_at_once,  // no meeting before the reads
  two_shot_without_middle        // collects parts that may not be made yet
};

/// All-reduces back to back with one block a rank, as in a stream of kernels: each rank overwrites
/// its input as soon as its own part of a round is over, however far the others are.
template <Variant kVariant>
void rounds_kernel(AllReduceParameters parameters, Bf16* results) {
  const int rank = static_cast<int>(blockIdx.y);
  auto* input = const_cast<Bf16*>(parameters.inputs[rank]);
  for (int round = 0; round < kRounds; ++round) {
    for (std::int64_t i = threadIdx.x; i < kCount; i += blockDim.x)
      input[i] = to_bf16(input_value(rank, round, i));
    sync_block();
    if constexpr (kVariant == Variant::one_shot) one_shot_all_reduce<kRanks>(parameters);
    if constexpr (kVariant == Variant::two_shot) two_shot_all_reduce<kRanks>(parameters);
    if constexpr (kVariant == Variant::one_shot_that_leaves_early ||
                  kVariant == Variant::one_shot_that_begins_at_once) {
      if (kVariant == Variant::one_shot_that_leaves_early)
        meet_ranks<kRanks>(parameters, rank, RankOrder::arrival);
      for (std::int64_t i = threadIdx.x; i < kVectors; i += blockDim.x)
        store_16(parameters.outs[rank] + 8 * i, sum_of_ranks<kRanks>(parameters, i));
      if (kVariant == Variant::one_shot_that_begins_at_once)
        meet_ranks<kRanks>(parameters, rank, RankOrder::arrival);
    }
    if constexpr (kVariant == Variant::two_shot_without_middle) {
      const std::int64_t part = vectors_of_part<kRanks>(kVectors);
      meet_ranks<kRanks>(parameters, rank, RankOrder::arrival);
      for (std::int64_t i = threadIdx.x; i < part && rank * part + i < kVectors; i += blockDim.x)
        store_16(parameters.parts[rank] + 8 * i, sum_of_ranks<kRanks>(parameters, rank * part + i));
      sync_block();
      for (std::int64_t i = threadIdx.x; i < kVectors; i += blockDim.x)
        store_16(parameters.outs[rank] + 8 * i,
                 load_16_coherent(parameters.parts[i / part] + 8 * (i % part)));
    }
    sync_block();
    for (std::int64_t i = threadIdx.x; i < kCount; i += blockDim.x)
      results[(rank * kRounds + round) * kCount + i] = parameters.outs[rank][i];
    sync_block();
  }
}

/// Elements that are wrong after all rounds under a schedule.
template <Variant kVariant>
std::int64_t wrong_elements(std::uint64_t schedule_seed) {
  emulation::set_schedule_seed(schedule_seed);
  const auto part = static_cast<std::size_t>(all_reduce_part_count(kCount, kRanks));
  DeviceBuffer<Bf16> inputs(kRanks * kCount), outs(kRanks * kCount), parts(kRanks * part),
      results(kRanks * kRounds * kCount);
  DeviceBuffer<AllReduceFlags> flags(kRanks);
  device_fill(flags.data(), 0, kRanks * sizeof(AllReduceFlags), {});
  AllReduceParameters parameters{};
  for (int rank = 0; rank < kRanks; ++rank) {
    parameters.inputs[rank] = inputs.data() + rank * kCount;
    parameters.outs[rank] = outs.data() + rank * kCount;
    parameters.parts[rank] = parts.data() + static_cast<std::size_t>(rank) * part;
    parameters.flags[rank] = flags.data() + rank;
  }
  parameters.vectors = kVectors;
  LaunchShape shape;
  shape.grid = dim3{1, kRanks, 1};
  shape.block = dim3{32, 1, 1};
  shape.all_blocks_together = true;
  launch(rounds_kernel<kVariant>, shape, parameters, results.data());

  const std::vector<Bf16> got = results.values();
  std::int64_t wrong = 0;
  for (int rank = 0; rank < kRanks; ++rank)
    for (int round = 0; round < kRounds; ++round)
      for (std::int64_t i = 0; i < kCount; ++i) {
        float sum = 0;
        for (int r = 0; r < kRanks; ++r) sum += input_value(r, round, i);
        if (!(to_float(got[(rank * kRounds + round) * kCount + i]) == sum)) ++wrong;
      }
  return wrong;
}

template <Variant kVariant>
int schedules_that_fail(int schedules) {
  int failing = 0;
  for (int seed = 1; seed <= schedules; ++seed)
    if (wrong_elements<kVariant>(static_cast<std::uint64_t>(seed)) > 0) ++failing;
  return failing;
}

}  // namespace

TEST_CASE("all-reduce gives all ranks the sum, the same bytes in both algorithms and every launch",
          "[kernels][all_reduce]") {
  for (const std::uint64_t schedule : {1, 2, 3}) {
    emulation::set_schedule_seed(schedule);
    for (const CheckReport& report : check_all_reduce(schedule, Scale::emulated)) {
      INFO(report.what << ": error " << report.error << ", limit " << report.limit << " "
                       << report.problem);
      REQUIRE(report.passed());
      REQUIRE(report.error >
              0);  // sums of normals are rounded: a check that compares nothing has 0
    }
  }
}

TEST_CASE("all-reduces back to back survive ranks that run ahead", "[kernels][all_reduce]") {
  CHECK(schedules_that_fail<Variant::one_shot>(20) == 0);
  CHECK(schedules_that_fail<Variant::two_shot>(20) == 0);
}

TEST_CASE("each meeting of ranks is needed: without it some schedule gives wrong sums",
          "[kernels][all_reduce]") {
  CHECK(schedules_that_fail<Variant::one_shot_that_leaves_early>(20) > 0);
  CHECK(schedules_that_fail<Variant::one_shot_that_begins_at_once>(20) > 0);
  CHECK(schedules_that_fail<Variant::two_shot_without_middle>(20) > 0);
}

TEST_CASE("a rank that never comes is reported, not waited for", "[kernels][all_reduce]") {
  DeviceBuffer<Bf16> input(8), out(8);
  DeviceBuffer<AllReduceFlags> flags(2);
  device_fill(flags.data(), 0, 2 * sizeof(AllReduceFlags), {});
  AllReduceArguments arguments;
  arguments.count = 8;
  for (int rank = 0; rank < 2; ++rank) {
    arguments.inputs[rank] = input.data();
    arguments.outs[rank] = out.data();
    arguments.flags[rank] = flags.data() + rank;
  }
  CHECK_THROWS_AS(launch_all_reduce(arguments, {1, 32}, {}), emulation::KernelFault);
}

TEST_CASE("parts of a two-shot hold every vector once, the last ones less",
          "[kernels][all_reduce]") {
  CHECK(all_reduce_part_count(8, 8) == 8);
  CHECK(all_reduce_part_count(64, 8) == 8);
  CHECK(all_reduce_part_count(72, 8) == 16);
  CHECK(all_reduce_part_count(0, 4) == 0);
}

TEST_CASE("a small message takes one block, a big one no more than the flags have",
          "[kernels][all_reduce]") {
  AllReduceArguments arguments;
  arguments.ranks = 8;
  arguments.count = 8;
  CHECK(all_reduce_grid(arguments).blocks == 1);
  arguments.count = 8 * 512 * 3;
  CHECK(all_reduce_grid(arguments).blocks == 3);
  arguments.algorithm = AllReduceAlgorithm::two_shot;  // a rank adds up an eighth
  CHECK(all_reduce_grid(arguments).blocks == 1);
  arguments.count = std::int64_t{1} << 30;
  CHECK(all_reduce_grid(arguments).blocks == kAllReduceBlocksMax);
  arguments.ranks_here = 8;  // on one device: as many as fit at once
  CHECK(all_reduce_grid(arguments).blocks == 1);
}

TEST_CASE("all-reduce refuses what it cannot do", "[kernels][all_reduce]") {
  DeviceBuffer<Bf16> memory(64);
  DeviceBuffer<AllReduceFlags> flags(1);
  AllReduceArguments sound;
  sound.count = 0;  // nothing is launched
  for (int rank = 0; rank < 2; ++rank) {
    sound.inputs[rank] = memory.data();
    sound.outs[rank] = memory.data() + 32;
    sound.flags[rank] = flags.data();
  }
  CHECK_NOTHROW(launch_all_reduce(sound, {1, 32}, {}));
  const auto refused = [&](auto&& change) {
    AllReduceArguments arguments = sound;
    arguments.count = 8;
    AllReduceGrid grid{1, 32};
    change(arguments, grid);
    CHECK_THROWS_AS(launch_all_reduce(arguments, grid, {}), fleetsim::InternalError);
  };
  refused([](AllReduceArguments& a, AllReduceGrid&) { a.ranks = 3; });
  refused([](AllReduceArguments& a, AllReduceGrid&) { a.count = 12; });
  refused([](AllReduceArguments& a, AllReduceGrid&) { a.first_rank = 2; });
  refused([&](AllReduceArguments& a, AllReduceGrid&) { a.inputs[1] = memory.data() + 1; });
  refused([](AllReduceArguments& a, AllReduceGrid&) { a.flags[1] = nullptr; });
  refused(
      [](AllReduceArguments& a, AllReduceGrid&) { a.algorithm = AllReduceAlgorithm::two_shot; });
  refused([](AllReduceArguments&, AllReduceGrid& g) { g.blocks = kAllReduceBlocksMax + 1; });
  refused([](AllReduceArguments&, AllReduceGrid& g) { g.threads = 48; });
}
