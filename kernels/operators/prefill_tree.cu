// The prefill kernel with masks of draft trees.

#include "kernels/operators/prefill_kernel.h"

namespace fleetsim::kernels::prefill {

void launch_tree(const Parameters& parameters, int tiles, Stream stream) {
  launch_kernel<Sight::tree>(parameters, tiles, stream);
}

}  // namespace fleetsim::kernels::prefill
