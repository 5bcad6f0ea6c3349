// The prefill kernel with a sliding window.

#include "kernels/operators/prefill_kernel.h"

namespace fleetsim::kernels::prefill {

void launch_windowed(const Parameters& parameters, int tiles, Stream stream) {
  launch_kernel<Sight::window>(parameters, tiles, stream);
}

}  // namespace fleetsim::kernels::prefill
