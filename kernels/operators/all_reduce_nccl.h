#pragma once
// All-reduce through NCCL, looked for at run time: an engine's choice for big messages.

#include <string>
#include <vector>

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// A communicator over GPUs 0 to ranks - 1 of this machine, one a rank, driven by one thread.
class NcclGroup {
 public:
  /// Errors: NotSupportedHere when libnccl.so.2 cannot be loaded; CudaError with NCCL's own words.
  explicit NcclGroup(int ranks);
  ~NcclGroup();
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  /// outs[rank] = sum of inputs, `count` elements each, on stream `rank` of its GPU; asynchronous,
  /// capturable. All vectors have one element a rank.
  void all_reduce(const std::vector<const Bf16*>& inputs, const std::vector<Bf16*>& outs,
                  std::size_t count, const std::vector<Stream>& streams) const;
  /// The library that runs, e.g. "2.28.9".
  std::string version() const;

 private:
  struct Library;
  const Library* library_;
  std::vector<void*> communicators_;
};

}  // namespace fleetsim::kernels
