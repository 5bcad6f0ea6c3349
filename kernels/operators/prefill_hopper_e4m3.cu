// The Hopper prefill kernel on keys and values of e4m3.

#include "kernels/operators/prefill_hopper_launch.h"

namespace fleetsim::kernels::hopper {

void launch(const PrefillArguments<E4m3>& arguments, Stream stream) {
  launch_design<Design<E4m3, 128, 2, true>>(arguments, stream);
}

}  // namespace fleetsim::kernels::hopper
