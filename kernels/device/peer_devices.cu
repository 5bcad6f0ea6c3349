#include "kernels/device/peer_devices.h"

#if defined(__CUDACC__)

namespace fleetsim::kernels {

int PeerDevices::present() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

void PeerDevices::select(int device) { CUDA_CHECK(cudaSetDevice(device)); }

PeerDevices::PeerDevices(int count) {
  CHECK(count >= 1);
  if (present() < count)
    throw NotSupportedHere("needs " + std::to_string(count) + " GPUs, " +
                           std::to_string(present()) + " are here");
  for (int reader = 0; reader < count; ++reader)
    for (int owner = 0; owner < count; ++owner) {
      if (reader == owner) continue;
      int can_read = 0;
      CUDA_CHECK(cudaDeviceCanAccessPeer(&can_read, reader, owner));
      if (can_read == 0)
        throw NotSupportedHere("GPU " + std::to_string(reader) + " cannot read the memory of GPU " +
                               std::to_string(owner));
    }
  streams_.resize(static_cast<std::size_t>(count));
  events_.resize(static_cast<std::size_t>(count));
  on_each([&](int device) {
    for (int owner = 0; owner < count; ++owner) {
      if (owner == device) continue;
      const cudaError_t error = cudaDeviceEnablePeerAccess(owner, 0);
      if (error == cudaErrorPeerAccessAlreadyEnabled)
        cudaGetLastError();  // as it should be
      else
        CUDA_CHECK(error);
    }
    CUDA_CHECK(cudaStreamCreateWithFlags(&streams_[device], cudaStreamNonBlocking));
    CUDA_CHECK(cudaEventCreateWithFlags(&events_[device], cudaEventDisableTiming));
  });
}

PeerDevices::~PeerDevices() {
  // peer access stays open: memory of others may still be in use
  for (const cudaEvent_t event : events_) cudaEventDestroy(event);
  for (const Stream stream : streams_) cudaStreamDestroy(stream);
}

void PeerDevices::fork(Stream stream) const {
  CUDA_CHECK(cudaEventRecord(events_[0], stream));
  for (int device = 1; device < count(); ++device)
    CUDA_CHECK(cudaStreamWaitEvent(streams_[device], events_[0], 0));
}

void PeerDevices::join(Stream stream) const {
  for (int device = 1; device < count(); ++device) {
    CUDA_CHECK(cudaEventRecord(events_[device], streams_[device]));
    CUDA_CHECK(cudaStreamWaitEvent(stream, events_[device], 0));
  }
}

void PeerDevices::synchronize() const {
  on_each([](int) { CUDA_CHECK(cudaDeviceSynchronize()); });
}

}  // namespace fleetsim::kernels

#endif
