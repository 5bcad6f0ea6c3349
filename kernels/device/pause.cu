#include "kernels/device/pause.h"

namespace fleetsim::kernels {
namespace {

__global__ void pause_kernel(std::uint32_t nanoseconds) {
#if defined(__CUDACC__)
  std::uint64_t begin, now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
  do {
    __nanosleep(200);
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  } while (now - begin < nanoseconds);
#else
  static_cast<void>(nanoseconds);
#endif
}

__global__ void nothing_kernel() {}

}  // namespace

void launch_pause(std::uint32_t nanoseconds, Stream stream) {
  CHECK(nanoseconds <= 1'000'000'000U);
  launch(pause_kernel, LaunchShape{{1, 1, 1}, {1, 1, 1}, 0, stream}, nanoseconds);
}

void launch_nothing(Stream stream) {
  launch(nothing_kernel, LaunchShape{{1, 1, 1}, {32, 1, 1}, 0, stream});
}

}  // namespace fleetsim::kernels
