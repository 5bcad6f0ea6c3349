#pragma once
// Replays of a prepared point on a GPU: graphs of its launches, or its launches one by one, between
// two events.

#include "kernels/measure/prepared_point.h"
#include "kernels/measure/timing.h"

namespace fleetsim::kernels {

/// A stream, events and the graph of the point at hand. The point outlives it.
///
/// A capturable point is replayed as a graph behind a short pause of the device: the host has
/// issued everything before the first run starts. Any other is launched run by run, and what the
/// host takes for that is part of its time. Operand sets rotate through all runs.
class GpuReplays {
 public:
  /// Errors of all members: CudaError.
  GpuReplays(const PreparedPoint& point, Stream stream);
  ~GpuReplays();
  GpuReplays(const GpuReplays&) = delete;
  GpuReplays& operator=(const GpuReplays&) = delete;

  /// The next replays have `runs` runs.
  void prepare(int runs);
  /// One replay from its first run to the end of its last; waits for it. Units: ns.
  double replay_ns();
  /// Issues one replay and does not wait: to look at the device while it works.
  void issue();

  Replays replays();

 private:
  void drop_graph();
  const PreparedPoint& point_;
  Stream stream_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
  cudaGraphExec_t graph_ = nullptr;
  int runs_ = 0;
  int next_copy_ = 0;
  std::uint32_t pause_ns_ = 0;
};

/// A stream of one's own, in no order with any other.
class OwnStream {
 public:
  OwnStream();
  ~OwnStream();
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  Stream get() const { return stream_; }

 private:
  Stream stream_ = nullptr;
};

}  // namespace fleetsim::kernels
