#pragma once
// A pause on the device: work that follows on the stream waits while the host issues all of it.

#include "kernels/device/launch.h"

namespace fleetsim::kernels {

/// One thread waits `nanoseconds` of device time (at most a second), then the stream goes on. What
/// is issued meanwhile starts without a gap, so that events around it do not time the host. On the
/// emulator it ends at once. Errors: CHECK; CudaError.
void launch_pause(std::uint32_t nanoseconds, Stream stream);

/// A kernel of one warp that does nothing: what a launch costs by itself.
void launch_nothing(Stream stream);

}  // namespace fleetsim::kernels
