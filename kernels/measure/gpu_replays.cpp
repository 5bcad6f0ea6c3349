#include "kernels/measure/gpu_replays.h"

#include "kernels/device/pause.h"

namespace fleetsim::kernels {
namespace {

/// What the host needs to issue a graph launch and an event, with room to spare; and for each node,
/// where a launch is not of constant time (a whole iteration has hundreds). Room, not measured.
constexpr std::uint32_t kPauseNs = 30'000, kPauseNsPerNode = 200;

}  // namespace

OwnStream::OwnStream() { CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }

OwnStream::~OwnStream() { cudaStreamDestroy(stream_); }

GpuReplays::GpuReplays(const PreparedPoint& point, Stream stream) : point_(point), stream_(stream) {
  CUDA_CHECK(cudaEventCreate(&begin_));
  CUDA_CHECK(cudaEventCreate(&end_));
}

GpuReplays::~GpuReplays() {
  drop_graph();
  cudaEventDestroy(end_);
  cudaEventDestroy(begin_);
}

void GpuReplays::drop_graph() {
  if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
  graph_ = nullptr;
}

void GpuReplays::prepare(int runs) {
  CHECK(runs >= 1 && point_.copies >= 1);
  runs_ = runs;
  drop_graph();
  if (!point_.capturable) return;
  // outside a capture first: what a launch sets up once (module loading, attributes) is not allowed
  // inside
  point_.launch(stream_, 0);
  CUDA_CHECK(cudaStreamSynchronize(stream_));
  CUDA_CHECK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  cudaGraph_t graph = nullptr;
  try {
    for (int run = 0; run < runs; ++run) point_.launch(stream_, run % point_.copies);
  } catch (...) {
    cudaStreamEndCapture(stream_, &graph);  // the first error is the one to tell
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  CUDA_CHECK(cudaStreamEndCapture(stream_, &graph));
  std::size_t nodes = 0;
  const cudaError_t counted = cudaGraphGetNodes(graph, nullptr, &nodes);
  const cudaError_t made = cudaGraphInstantiate(&graph_, graph, 0);
  cudaGraphDestroy(graph);
  CUDA_CHECK(counted);
  CUDA_CHECK(made);
  pause_ns_ = kPauseNs + kPauseNsPerNode * static_cast<std::uint32_t>(nodes);
  CUDA_CHECK(cudaGraphUpload(graph_, stream_));
}

double GpuReplays::replay_ns() {
  if (point_.capturable) launch_pause(pause_ns_, stream_);
  CUDA_CHECK(cudaEventRecord(begin_, stream_));
  issue();
  CUDA_CHECK(cudaEventRecord(end_, stream_));
  CUDA_CHECK(cudaEventSynchronize(end_));
  float milliseconds = 0;
  CUDA_CHECK(cudaEventElapsedTime(&milliseconds, begin_, end_));
  return static_cast<double>(milliseconds) * 1e6;
}

void GpuReplays::issue() {
  if (point_.capturable) {
    CUDA_CHECK(cudaGraphLaunch(graph_, stream_));
    return;
  }
  for (int run = 0; run < runs_; ++run) {
    point_.launch(stream_, next_copy_);
    next_copy_ = (next_copy_ + 1) % point_.copies;
  }
}

Replays GpuReplays::replays() {
  return {[this](int runs) { prepare(runs); }, [this] { return replay_ns(); }, point_.copies,
          point_.operations};
}

}  // namespace fleetsim::kernels
