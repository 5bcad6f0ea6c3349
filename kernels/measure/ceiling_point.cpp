// Ceilings, each by the plainest means there is: streams of our own, cuBLASLt, kernels that do
// nothing, the copy engines. A stream's check is exact for all of its bytes: they hold a counting
// pattern whose sum is known.

#include <cstring>
#include <limits>
#include <memory>

#include "kernels/device/device_memory.h"
#include "kernels/device/host_copy.h"
#include "kernels/device/pause.h"
#include "kernels/measure/gpu_replays.h"
#include "kernels/measure/operator_points.h"
#include "kernels/operators/stream.h"

namespace fleetsim::kernels {
namespace {

constexpr double kWrong = std::numeric_limits<double>::infinity();

StreamPattern pattern_of(std::uint64_t seed) {
  return {static_cast<std::uint32_t>(seed * 0x9E3779B97F4A7C15ULL >> 32), 0x9E3779B1U};
}

double verdict(bool right) { return right ? 0.0 : kWrong; }

/// Whether device memory holds the pattern: every word by its sum, the two ends word by word.
bool holds_pattern(const std::uint32_t* data, std::size_t bytes, StreamPattern pattern,
                   std::uint32_t* sum) {
  device_fill(sum, 0, sizeof *sum, {});
  launch_stream_read(data, bytes, sum, {});
  std::uint32_t found = 0, first = 0, last = 0;
  copy_to_host(&found, sum, sizeof found);
  const std::size_t words = bytes / sizeof(std::uint32_t);
  copy_to_host(&first, data, sizeof first);
  copy_to_host(&last, data + words - 1, sizeof last);
  return found == pattern_sum(pattern, words) && first == pattern_word(pattern, 0) &&
         last == pattern_word(pattern, words - 1);
}

std::size_t stream_bytes(const Point& point) {
  const std::int64_t bytes = point.integer("bytes");
  if (bytes % 16 != 0) throw NotSupportedHere("bytes must be a multiple of 16");
  return static_cast<std::size_t>(bytes);
}

/// Sets of one source and one target, or one of them alone.
struct StreamSets {
  std::vector<std::uint32_t*> from, to;
  std::uint32_t* sum = nullptr;
  std::size_t bytes = 0;
  StreamPattern pattern;
};

PreparedPoint prepare_stream(const Point& point, Arena& arena, std::uint64_t seed) {
  const std::string kind = point.word("kind");
  const bool reads = kind != "write", writes = kind != "read";
  const auto sets = std::make_shared<StreamSets>();
  sets->bytes = stream_bytes(point);
  sets->pattern = pattern_of(seed);
  sets->sum = arena.take<std::uint32_t>(1);

  PreparedPoint prepared;
  prepared.copies = rotation_copies(sets->bytes * (reads && writes ? 2 : 1));
  for (int copy = 0; copy < prepared.copies; ++copy) {
    if (reads) {
      sets->from.push_back(arena.take<std::uint32_t>(sets->bytes / 4));
      launch_stream_write(sets->from.back(), sets->bytes, sets->pattern, {});
    }
    if (writes) sets->to.push_back(arena.take<std::uint32_t>(sets->bytes / 4));
  }
  prepared.launch = [sets, reads, writes](Stream stream, int copy) {
    const auto i = static_cast<std::size_t>(copy);
    if (reads && writes)
      launch_stream_copy(sets->to[i], sets->from[i], sets->bytes, stream);
    else if (reads)
      launch_stream_read(sets->from[i], sets->bytes, sets->sum, stream);
    else
      launch_stream_write(sets->to[i], sets->bytes, sets->pattern, stream);
  };
  const auto launch = prepared.launch;
  prepared.check_error = [sets, writes, launch] {
    if (writes) {
      device_fill(sets->to[0], 0xFF, sets->bytes, {});
      launch({}, 0);
      return verdict(holds_pattern(sets->to[0], sets->bytes, sets->pattern, sets->sum));
    }
    device_fill(sets->sum, 0, sizeof *sets->sum, {});
    launch({}, 0);
    std::uint32_t found = 0;
    copy_to_host(&found, sets->sum, sizeof found);
    return verdict(found == pattern_sum(sets->pattern, sets->bytes / 4));
  };
  return prepared;
}

PreparedPoint prepare_gemm_ceiling(const Point& point, Arena& arena, std::uint64_t seed) {
  const std::string edge = std::to_string(point.integer("edge"));
  const char* dtype = point.word("kind") == "gemm_fp8" ? "fp8" : "bf16";
  return prepare_gemm(
      sound_point("gemm",
                  {{"dtype", dtype}, {"m", edge}, {"n", edge}, {"k", edge}, {"algo", "best8"}}),
      arena, seed);
}

/// A graph of one kernel that does nothing.
class LoneNode {
 public:
  LoneNode() {
    const OwnStream stream;
    launch_nothing(stream.get());  // loads its code, which a capture may not
    CUDA_CHECK(cudaStreamSynchronize(stream.get()));
    CUDA_CHECK(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal));
    launch_nothing(stream.get());
    cudaGraph_t graph = nullptr;
    CUDA_CHECK(cudaStreamEndCapture(stream.get(), &graph));
    const cudaError_t made = cudaGraphInstantiate(&graph_, graph, 0);
    cudaGraphDestroy(graph);
    CUDA_CHECK(made);
  }
  ~LoneNode() { cudaGraphExecDestroy(graph_); }
  LoneNode(const LoneNode&) = delete;
  LoneNode& operator=(const LoneNode&) = delete;
  void launch(Stream stream) const { CUDA_CHECK(cudaGraphLaunch(graph_, stream)); }

 private:
  cudaGraphExec_t graph_ = nullptr;
};

/// `launch`: issued one by one by the host. `graph_launch`: a graph of one node, likewise.
/// `graph_node`: one node among many of a graph.
PreparedPoint prepare_launch(const std::string& kind) {
  PreparedPoint prepared;
  prepared.capturable = kind == "graph_node";
  if (kind == "graph_launch") {
    const auto node = std::make_shared<const LoneNode>();
    prepared.launch = [node](Stream stream, int) { node->launch(stream); };
  } else {
    prepared.launch = [](Stream stream, int) { launch_nothing(stream); };
  }
  const auto launch = prepared.launch;
  prepared.check_error = [launch] {
    launch({}, 0);
    device_synchronize();  // nothing is computed: that it ran is all there is to check
    return 0.0;
  };
  return prepared;
}

/// Pinned memory and device memory of a link point, and the second stream of both_ways.
struct LinkEnds {
  explicit LinkEnds(std::size_t size, bool wants_up, bool wants_down, Arena& arena) : bytes(size) {
    if (wants_up) make_way(up, host_up, device_up, arena);
    if (wants_down) make_way(down, host_down, device_down, arena);
    if (wants_up) up.to = {device_up}, up.from = {host_up->data()};
    if (wants_down) down.to = {host_down->data()}, down.from = {device_down};
    for (cudaEvent_t* event : {&forked, &joined})
      CUDA_CHECK(cudaEventCreateWithFlags(event, cudaEventDisableTiming));
  }
  ~LinkEnds() {
    cudaEventDestroy(forked);
    cudaEventDestroy(joined);
  }
  LinkEnds(const LinkEnds&) = delete;
  LinkEnds& operator=(const LinkEnds&) = delete;

  void launch(Stream stream) const {
    if (host_up == nullptr || host_down == nullptr) {
      if (host_up != nullptr) copy_one_by_one(up, HostCopyDirection::to_device, stream);
      if (host_down != nullptr) copy_one_by_one(down, HostCopyDirection::to_host, stream);
      return;
    }
    CUDA_CHECK(cudaEventRecord(forked, stream));
    CUDA_CHECK(cudaStreamWaitEvent(other.get(), forked, 0));
    copy_one_by_one(up, HostCopyDirection::to_device, stream);
    copy_one_by_one(down, HostCopyDirection::to_host, other.get());
    CUDA_CHECK(cudaEventRecord(joined, other.get()));
    CUDA_CHECK(cudaStreamWaitEvent(stream, joined, 0));
  }

  std::size_t bytes;
  std::unique_ptr<PinnedMemory> host_up, host_down;
  std::uint32_t *device_up = nullptr, *device_down = nullptr;
  HostCopies up, down;

 private:
  void make_way(HostCopies& way, std::unique_ptr<PinnedMemory>& host, std::uint32_t*& device,
                Arena& arena) const {
    way.bytes = {bytes};
    host = std::make_unique<PinnedMemory>(bytes);
    device = arena.take<std::uint32_t>(bytes / sizeof(std::uint32_t));
  }

  OwnStream other;
  cudaEvent_t forked = nullptr, joined = nullptr;
};

bool host_holds_pattern(const void* data, std::size_t bytes, StreamPattern pattern) {
  const auto* words = static_cast<const std::uint32_t*>(data);
  for (std::size_t i = 0; i < bytes / sizeof *words; ++i)
    if (words[i] != pattern_word(pattern, i)) return false;
  return true;
}

/// Bytes of a point count per direction.
PreparedPoint prepare_link(const Point& point, Arena& arena, std::uint64_t seed) {
  const std::string kind = point.word("kind");
  const std::size_t bytes = stream_bytes(point);
  auto* const sum = arena.take<std::uint32_t>(1);
  const auto ends =
      std::make_shared<LinkEnds>(bytes, kind != "device_to_host", kind != "host_to_device", arena);
  const StreamPattern pattern = pattern_of(seed);
  PreparedPoint prepared;
  prepared.capturable = false;
  prepared.launch = [ends](Stream stream, int) { ends->launch(stream); };
  prepared.check_error = [ends, pattern, sum] {
    if (ends->host_up != nullptr) {
      auto* words = static_cast<std::uint32_t*>(ends->host_up->data());
      for (std::size_t i = 0; i < ends->bytes / sizeof *words; ++i)
        words[i] = pattern_word(pattern, i);
      device_fill(ends->device_up, 0xFF, ends->bytes, {});
    }
    if (ends->host_down != nullptr) {
      std::memset(ends->host_down->data(), 0xFF, ends->bytes);
      launch_stream_write(ends->device_down, ends->bytes, pattern, {});
    }
    device_synchronize();  // the second stream does not wait for this one's work
    ends->launch({});
    device_synchronize();
    return verdict(
        (ends->host_up == nullptr || holds_pattern(ends->device_up, ends->bytes, pattern, sum)) &&
        (ends->host_down == nullptr ||
         host_holds_pattern(ends->host_down->data(), ends->bytes, pattern)));
  };
  return prepared;
}

}  // namespace

PreparedPoint prepare_ceiling(const Point& point, Arena& arena, std::uint64_t seed) {
  const std::string& kind = point.word("kind");
  if (kind == "copy" || kind == "read" || kind == "write")
    return prepare_stream(point, arena, seed);
  if (kind == "gemm_bf16" || kind == "gemm_fp8") return prepare_gemm_ceiling(point, arena, seed);
  if (kind == "launch" || kind == "graph_launch" || kind == "graph_node")
    return prepare_launch(kind);
  return prepare_link(point, arena, seed);
}

}  // namespace fleetsim::kernels
