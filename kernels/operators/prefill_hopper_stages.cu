// Stages 2 and 3 of the Hopper prefill kernel, kept so that each step's gain can be measured: one
// consumer of 64 rows, and two of 128, one product after the other.

#include "kernels/operators/prefill_hopper_launch.h"

namespace fleetsim::kernels::hopper {

void launch_stage(const PrefillArguments<Bf16>& arguments, Stream stream) {
  if (arguments.variant == PrefillVariant::one_consumer)
    return launch_design<Design<Bf16, 128, 1, false>>(arguments, stream);
  CHECK(arguments.variant == PrefillVariant::two_consumers);
  launch_design<Design<Bf16, 128, 2, false>>(arguments, stream);
}

}  // namespace fleetsim::kernels::hopper
