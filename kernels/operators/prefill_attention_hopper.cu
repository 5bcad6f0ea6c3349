// The Hopper prefill kernel as it runs: stage 4, two consumers in turn, products overlapped.

#include "kernels/device/device_memory.h"
#include "kernels/operators/prefill_hopper_launch.h"

namespace fleetsim::kernels::hopper {

std::size_t workspace_bytes(const PrefillAttentionArguments& arguments) {
  const auto places = static_cast<std::size_t>(workspace_places());
  return align_256((1 + 2 * places) * sizeof(unsigned)) +
         align_256(places * 128 * sizeof(RowSums)) +
         places * 128 * static_cast<std::size_t>(arguments.head_dim) * sizeof(float);
}

void prepare_workspace(const PrefillAttentionArguments& arguments, Stream stream) {
  const auto places = static_cast<std::size_t>(workspace_places());
  device_fill(arguments.workspace, 0, (1 + 2 * places) * sizeof(unsigned), stream);
}

void launch(const PrefillAttentionArguments& arguments, Stream stream) {
  if (arguments.variant != PrefillVariant::best) return launch_stage(arguments, stream);
  if (arguments.head_dim == 64) return launch_design<Design<64, 2, true>>(arguments, stream);
  launch_design<Design<128, 2, true>>(arguments, stream);
}

}  // namespace fleetsim::kernels::hopper
