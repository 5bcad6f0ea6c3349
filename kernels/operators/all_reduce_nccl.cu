// NCCL is no library of the CUDA toolkit, so nothing links against it: six of its functions are
// declared here by its stable C interface (nccl.h, 2.x) and found by name.

#include <dlfcn.h>

#include "kernels/operators/all_reduce_nccl.h"

namespace fleetsim::kernels {
namespace {

constexpr int kNcclBfloat16 = 9;  // ncclDataType_t, since 2.10
constexpr int kNcclSum = 0;       // ncclRedOp_t

}  // namespace

struct NcclGroup::Library {
  int (*get_version)(int* version) = nullptr;
  int (*init_all)(void** communicators, int count, const int* devices) = nullptr;
  int (*destroy)(void* communicator) = nullptr;
  int (*all_reduce)(const void* from, void* to, std::size_t count, int type, int operation,
                    void* communicator, cudaStream_t stream) = nullptr;
  int (*group_start)() = nullptr;
  int (*group_end)() = nullptr;
  const char* (*error_text)(int result) = nullptr;

  Library() {
    // kept open to the end of the process: NCCL has threads of its own
    void* handle = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) throw NotSupportedHere(std::string("no NCCL here: ") + dlerror());
    find(handle, "ncclGetVersion", get_version);
    find(handle, "ncclCommInitAll", init_all);
    find(handle, "ncclCommDestroy", destroy);
    find(handle, "ncclAllReduce", all_reduce);
    find(handle, "ncclGroupStart", group_start);
    find(handle, "ncclGroupEnd", group_end);
    find(handle, "ncclGetErrorString", error_text);
  }

  static const Library& loaded() {
    static const Library only;  // thrown out of: tried again at the next call
    return only;
  }

  void require(int result, const char* call) const {
    if (result != 0) throw CudaError(std::string(call) + ": " + error_text(result));
  }

 private:
  template <class Function>
  static void find(void* handle, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(handle, name));
    if (function == nullptr) throw NotSupportedHere(std::string("libnccl.so.2 has no ") + name);
  }
};

NcclGroup::NcclGroup(int ranks)
    : library_(&Library::loaded()), communicators_(static_cast<std::size_t>(ranks)) {
  std::vector<int> devices;
  for (int rank = 0; rank < ranks; ++rank) devices.push_back(rank);
  library_->require(library_->init_all(communicators_.data(), ranks, devices.data()),
                    "ncclCommInitAll");
}

NcclGroup::~NcclGroup() {
  for (void* communicator : communicators_) library_->destroy(communicator);
}

void NcclGroup::all_reduce(const std::vector<const Bf16*>& inputs, const std::vector<Bf16*>& outs,
                           std::size_t count, const std::vector<Stream>& streams) const {
  CHECK(inputs.size() == communicators_.size() && outs.size() == communicators_.size() &&
        streams.size() == communicators_.size());
  library_->require(library_->group_start(), "ncclGroupStart");
  int failed = 0;
  for (std::size_t rank = 0; rank < communicators_.size() && failed == 0; ++rank)
    failed = library_->all_reduce(inputs[rank], outs[rank], count, kNcclBfloat16, kNcclSum,
                                  communicators_[rank], streams[rank]);
  const int ended = library_->group_end();  // a group that was begun is ended whatever happened
  library_->require(failed, "ncclAllReduce");
  library_->require(ended, "ncclGroupEnd");
}

std::string NcclGroup::version() const {
  int version = 0;  // 22809: 2.28.9
  library_->require(library_->get_version(&version), "ncclGetVersion");
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

}  // namespace fleetsim::kernels
