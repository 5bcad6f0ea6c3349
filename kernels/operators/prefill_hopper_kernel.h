#pragma once
// Paged prefill attention for sm_90a: tensor copies by a producer warpgroup, wgmma by one or two
// consumer warpgroups of 64 rows each. FlashAttention-3 is the model (Shah et al. 2024).
//
// - One block a multiprocessor stays for the whole launch and takes pieces of query tiles, longest
//   first (prefill_pieces.h). Warps of the producer: one plans (draws the next piece from a counter
//   in the workspace while the current one is computed on), one copies, one clears.
// - Rows of a tile are (new token, head of the group) pairs: boxes of the query's tensor map bring
//   all heads of a group, so that short chunks fill rows with heads that share their keys. A group
//   that does not divide the rows leaves the last ones of a tile idle.
// - Keys and values: tiles of 128 tokens, two stages each. A box is what lies in one page (a power
//   of two of tokens, at most 128: pages of 48 come in boxes of 16), a lane copies a box, and page
//   numbers are read two tiles ahead. Boxes without a token of the sequence, or wholly before all
//   windows, are not copied.
// - Rows of values that were not copied, or lie behind the sequence's end, may be NaN, and 0 * NaN
//   would reach the sums. The clearing warp waits for such tiles, writes zeros and lets them pass;
//   others it does not touch. Scores of such keys are masked, whatever they are.
// - Overlap, in the order of FlashAttention-3: scores of tile j + 1 and the product of tile j's
//   probabilities with its values are issued together; the softmax of j + 1 runs while the tensor
//   cores are at the values. With two consumers, barriers hand the right to issue to and fro
//   ("ping-pong"), so that one is at its softmax while the other multiplies.
// - e4m3 (head_dim 128): wgmma takes values in rows along keys only, so the last two warps of the
//   producer turn each tile in shared memory, keys in the order in which the consumers' scores
//   leave them (and clear gaps on the way). Consumers make codes of the queries that came as bf16.
// - Pieces of cut tiles go to the workspace as sums that are not yet divided; who comes last adds
//   them up in the order of their numbers, so the result does not depend on timing.
//
// Registers, head_dim 128: 64 of output, 64 of scores, 32 of probabilities a thread; consumers take
// 224 of those that the producer gives up. Shared memory: 32 KiB of queries, 2 x 32 of keys, 2 x 32
// of values, 32 of output on its way: 192 KiB; e4m3: half of that for keys and for values, as much
// for turned values, and 16 for the codes of queries: 176 KiB.

#include "kernels/operators/prefill_hopper_consumer.h"
#include "kernels/operators/prefill_hopper_producer.h"

namespace fleetsim::kernels::hopper {

template <class D>
__global__ void __launch_bounds__(D::kThreads, 1)
    prefill_hopper_kernel(const __grid_constant__ Parameters p,
                          const __grid_constant__ TensorMap queries,
                          const __grid_constant__ TensorMap keys,
                          const __grid_constant__ TensorMap values) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDACC__)
  auto* const control = reinterpret_cast<Control*>(dynamic_shared_memory() + D::kControl);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    init_barriers<D>(control);
    prefetch_tensor_map(queries);
    prefetch_tensor_map(keys);
    prefetch_tensor_map(values);
  }
  wait_for_kernel_before();
  // ends with a barrier, behind which the barriers in shared memory can be used too
  make_plan(&control->plan, p.lengths, p.arguments.kv_heads, static_cast<int>(gridDim.x), p.places);
  if (thread < kWarpgroupThreads) {
    if constexpr (D::kConsumers == 2) give_registers<kProducerRegisters>();
    const int warp = thread / kWarpLanes;
    if (warp == kPlans) plan_pieces<D>(p, control);
    if (warp == kCopies) copy_pieces<D>(p, queries, keys, values, control);
    if constexpr (D::kIsBf16) {
      if (warp == kClears) clear_gaps<D>(control);
    } else {
      if (warp >= kClears) turn_values<D>(control, warp - kClears);
    }
  } else {
    if constexpr (D::kConsumers == 2) take_registers<kConsumerRegisters>();
    Consumer<D>(p, control).run();
  }
#endif
}

}  // namespace fleetsim::kernels::hopper
