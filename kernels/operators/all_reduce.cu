#include <algorithm>

#include "kernels/operators/all_reduce.h"
#include "kernels/operators/all_reduce_kernel.h"

namespace fleetsim::kernels {
namespace {

template <int kRanks>
__global__ void __launch_bounds__(512, 1) one_shot_kernel(AllReduceParameters parameters) {
  one_shot_all_reduce<kRanks>(parameters);
}

template <int kRanks>
__global__ void __launch_bounds__(512, 1) two_shot_kernel(AllReduceParameters parameters) {
  two_shot_all_reduce<kRanks>(parameters);
}

using Kernel = void (*)(AllReduceParameters);

Kernel kernel_of(AllReduceAlgorithm algorithm, int ranks) {
  const bool one_shot = algorithm == AllReduceAlgorithm::one_shot;
  switch (ranks) {
    case 2:
      return one_shot ? one_shot_kernel<2> : two_shot_kernel<2>;
    case 4:
      return one_shot ? one_shot_kernel<4> : two_shot_kernel<4>;
    case 8:
      return one_shot ? one_shot_kernel<8> : two_shot_kernel<8>;
    default:
      CHECK(false, "an all-reduce has 2, 4 or 8 ranks, not " + std::to_string(ranks));
  }
  return nullptr;
}

bool aligned(const void* pointer) {
  return pointer != nullptr && reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}

}  // namespace

std::int64_t all_reduce_part_count(std::int64_t count, int ranks) {
  return ceil_div<std::int64_t>(count / 8, ranks) * 8;
}

AllReduceGrid all_reduce_grid(const AllReduceArguments& arguments) {
  AllReduceGrid grid;
  const std::int64_t elements = arguments.algorithm == AllReduceAlgorithm::one_shot
                                    ? arguments.count
                                    : all_reduce_part_count(arguments.count, arguments.ranks);
  std::int64_t blocks_max = kAllReduceBlocksMax;
  if (arguments.ranks_here > 1)  // all resident at once: one block an SM always fits
    blocks_max = std::clamp<std::int64_t>(device_facts().sms / arguments.ranks_here, 1, blocks_max);
  grid.blocks = static_cast<int>(
      std::clamp<std::int64_t>(ceil_div<std::int64_t>(elements / 8, grid.threads), 1, blocks_max));
  return grid;
}

void launch_all_reduce(const AllReduceArguments& arguments, const AllReduceGrid& grid,
                       Stream stream) {
  const Kernel kernel = kernel_of(arguments.algorithm, arguments.ranks);
  const int end_rank = arguments.first_rank + arguments.ranks_here;
  CHECK(arguments.count >= 0 && arguments.count % 8 == 0, "whole vectors of 8 elements");
  CHECK(arguments.first_rank >= 0 && arguments.ranks_here >= 1 && end_rank <= arguments.ranks);
  CHECK(grid.blocks >= 1 && grid.blocks <= kAllReduceBlocksMax);
  CHECK(grid.threads >= 32 && grid.threads <= 512 && grid.threads % 32 == 0);
  if (arguments.count == 0) return;
  const bool two_shot = arguments.algorithm == AllReduceAlgorithm::two_shot;
  AllReduceParameters parameters{};
  for (int rank = 0; rank < arguments.ranks; ++rank) {
    const bool here = rank >= arguments.first_rank && rank < end_rank;
    CHECK(aligned(arguments.inputs[rank]) && aligned(arguments.flags[rank]));
    CHECK(!two_shot || aligned(arguments.parts[rank]));
    CHECK(!here || aligned(arguments.outs[rank]));
    parameters.inputs[rank] = arguments.inputs[rank];
    parameters.parts[rank] = arguments.parts[rank];
    parameters.outs[rank] = arguments.outs[rank];
    parameters.flags[rank] = arguments.flags[rank];
  }
  parameters.vectors = arguments.count / 8;
  parameters.first_rank = arguments.first_rank;
  LaunchShape shape;
  shape.grid =
      dim3{static_cast<unsigned>(grid.blocks), static_cast<unsigned>(arguments.ranks_here), 1};
  shape.block = dim3{static_cast<unsigned>(grid.threads), 1, 1};
  shape.stream = stream;
  shape.all_blocks_together = arguments.ranks_here > 1;  // ranks of one launch wait for each other
  launch(kernel, shape, parameters);
}

}  // namespace fleetsim::kernels
