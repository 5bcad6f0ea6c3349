#pragma once
// A GPU on the CPU for tests: runs a kernel's threads as fibers, block by block, in a random order.
//
// It exists to find mistakes without a GPU: kernels are compiled from the same source by the host's
// compiler, and address sanitizers see every access. A thread runs until it meets others (a
// barrier, a warp operation) or polls memory; who runs next is drawn from the schedule seed, so
// that a missing barrier shows as a result that depends on the seed. Asynchronous copies land
// either at once or as late as the waits allow, drawn likewise. Nothing here says how fast a kernel
// is.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace fleetsim::kernels::emulation {

struct Index3 {
  unsigned x = 1, y = 1, z = 1;
};

/// Who runs at the moment. Valid inside launch() only.
struct Lane {
  Index3 thread, block, block_size, grid_size;
  unsigned thread_number = 0;  // x fastest, as the hardware counts
  unsigned warp_lane() const { return thread_number % 32; }
};
const Lane& lane();

/// What the emulated device is; kernels choose their path by it.
struct DeviceTraits {
  int compute_capability = 90;            // 90: sm_90
  int sms = 4;                            // few, so that persistent schedules show their seams
  std::size_t shared_bytes_max = 232448;  // per block, as an H200
  std::size_t l2_bytes = 1 << 20;
};
DeviceTraits& device_traits();

/// The next launches draw their order from this seed.
void set_schedule_seed(std::uint64_t seed);

/// A fault of the kernel: a deadlock, lanes of a warp that meet at different operations, a
/// misaligned access, a wait that never ends. The text says which thread and what it waited for.
class KernelFault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
[[noreturn]] void fault(const std::string& what);

/// Runs `body` once a thread. Blocks run a few at a time in random order, or all at once when
/// `all_blocks_together` (kernels whose blocks wait for each other). Shared memory is poisoned with
/// NaN bytes. Errors: KernelFault; whatever `body` throws.
void launch(Index3 grid, Index3 block, std::size_t shared_bytes, bool all_blocks_together,
            const std::function<void()>& body);

/// Dynamic shared memory of the running block, exactly as many bytes as launched with.
unsigned char* shared_memory();

/// All lanes in `mask` meet at the operation `what`; the last to come calls `together` with each
/// lane's argument pointer (null for lanes outside the mask).
void meet_in_warp(unsigned mask, const char* what, void* argument, void (*together)(void** lanes));
/// Named barrier of the block: `threads` threads meet; 0 means all of the block.
void meet_in_block(unsigned barrier, unsigned threads);
/// The same barrier, but the caller goes on at once: others wait for it, it waits for nobody.
void arrive_in_block(unsigned barrier, unsigned threads);
/// Lets others run; for loops that poll memory.
void poll();

/// The 128 threads of a warpgroup meet at the operation `what`; the last to come calls `together`
/// with their argument pointers, in the order of their thread numbers.
void meet_in_warpgroup(const char* what, void* argument, void (*together)(void** threads));
/// Inside `together` of meet_in_warpgroup: a matrix operation that may run at once or as late as
/// the waits allow, in order with those before it.
void issue_in_warpgroup(std::function<void()> operation);
/// wgmma's fence, commit and wait. A fence must stand before the first operation of each group.
void fence_in_warpgroup();
void commit_in_warpgroup();
void wait_in_warpgroup(unsigned groups_left);

/// cp.async: a copy of this thread, its groups, its waits.
void copy_async(void* shared, const void* global, std::size_t bytes, std::size_t bytes_read);
void copy_async_commit();
void copy_async_wait(unsigned groups_left);

/// mbarrier in shared memory, and the copy engine that completes on it.
void barrier_init(std::uint64_t* barrier, unsigned arrivals);
void barrier_arrive(std::uint64_t* barrier, std::uint32_t expected_bytes);
bool barrier_phase_done(std::uint64_t* barrier, unsigned parity);
void bulk_copy_to_shared(void* shared, const void* global, std::uint32_t bytes,
                         std::uint64_t* barrier);

/// A box of a tensor, row by row 128 bytes long, into shared memory with the 128-byte swizzle;
/// elements beyond the tensor become zeros. Sizes and coordinates are innermost first.
struct TensorBox {
  const void* base = nullptr;
  std::size_t element_bytes = 0;
  int rank = 0;
  std::uint64_t sizes[5] = {};
  std::uint64_t strides[5] = {};  // bytes; strides[0] is element_bytes
  std::uint32_t box[5] = {};
};
void tensor_copy_to_shared(void* shared, const TensorBox& tensor, const int* coordinates,
                           std::uint64_t* barrier);

/// Faults unless `pointer` is a multiple of `alignment`.
void require_aligned(const void* pointer, std::size_t alignment, const char* what);

}  // namespace fleetsim::kernels::emulation
