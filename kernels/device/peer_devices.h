#pragma once
// Several GPUs of this machine that read each other's memory, driven by one thread. Nothing to
// emulate: on the emulator ranks share one launch instead.

#include "kernels/device/launch.h"

#if defined(__CUDACC__) || defined(FLEETSIM_CUDA_RUNTIME)

#include <vector>

namespace fleetsim::kernels {

/// GPUs 0 to count - 1 with a stream each. GPU 0 is the current one before and after every call.
class PeerDevices {
 public:
  /// GPUs of this machine; 0 without a driver.
  static int present();
  /// Opens every GPU's memory to every other. Errors: NotSupportedHere when there are fewer, or two
  /// cannot read each other; CudaError.
  explicit PeerDevices(int count);
  ~PeerDevices();
  PeerDevices(const PeerDevices&) = delete;
  PeerDevices& operator=(const PeerDevices&) = delete;

  int count() const { return static_cast<int>(streams_.size()); }
  Stream stream(int device) const { return streams_[static_cast<std::size_t>(device)]; }
  /// Calls `work(device)` with each GPU as the current one.
  template <class Work>
  void on_each(const Work& work) const {
    for (int device = 0; device < count(); ++device) {
      select(device);
      try {
        work(device);
      } catch (...) {
        select(0);
        throw;
      }
    }
    select(0);
  }
  /// The streams of GPUs 1 and up begin after what `stream` (of GPU 0) has so far, and `stream`
  /// goes on after what they have: what is issued in between runs on all at once, inside one CUDA
  /// graph when `stream` is being captured.
  void fork(Stream stream) const;
  void join(Stream stream) const;
  /// Waits for all. Errors: CudaError of anything that failed meanwhile.
  void synchronize() const;

 private:
  static void select(int device);
  std::vector<Stream> streams_;
  std::vector<cudaEvent_t> events_;  // 0: fork; device: its join
};

}  // namespace fleetsim::kernels

#endif
