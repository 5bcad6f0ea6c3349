// The Hopper prefill kernel as it runs: stage 4, two consumers in turn, products overlapped.

#include "kernels/device/device_memory.h"
#include "kernels/operators/prefill_hopper_launch.h"

namespace fleetsim::kernels::hopper {

std::size_t workspace_bytes(const PrefillBatch& batch) {
  const auto places = static_cast<std::size_t>(workspace_places());
  return align_256((1 + 2 * places) * sizeof(unsigned)) +
         align_256(places * 128 * sizeof(RowSums)) +
         places * 128 * static_cast<std::size_t>(batch.head_dim) * sizeof(float);
}

void prepare_workspace(const PrefillBatch& batch, Stream stream) {
  const auto places = static_cast<std::size_t>(workspace_places());
  device_fill(batch.workspace, 0, (1 + 2 * places) * sizeof(unsigned), stream);
}

void launch(const PrefillArguments<Bf16>& arguments, Stream stream) {
  if (arguments.variant != PrefillVariant::best) return launch_stage(arguments, stream);
  if (arguments.head_dim == 64) return launch_design<Design<Bf16, 64, 2, true>>(arguments, stream);
  launch_design<Design<Bf16, 128, 2, true>>(arguments, stream);
}

}  // namespace fleetsim::kernels::hopper
