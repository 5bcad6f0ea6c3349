// Fibers are ucontexts; one host thread runs them all, so nothing here needs a lock.

#include "kernels/emulation/emulated_device.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace fleetsim::kernels::emulation {
namespace {

constexpr std::size_t kStackBytes =
    128 * 1024;  // small: address sanitizers clear it at each switch
constexpr std::uint64_t kPollsWithoutProgressMax = 1'000'000;

/// splitmix64 (Steele, Lea, Flood 2014): small, and good enough to choose who runs next.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(next() % n); }
  bool coin() { return (next() >> 40) & 1; }

 private:
  std::uint64_t state_;
};

struct AsyncCopy {
  void* to;
  const void* from;
  std::size_t bytes, bytes_read;  // the rest is filled with zeros
};

void perform(const AsyncCopy& copy) {
  if (copy.bytes_read > 0) std::memcpy(copy.to, copy.from, copy.bytes_read);
  std::memset(static_cast<unsigned char*>(copy.to) + copy.bytes_read, 0,
              copy.bytes - copy.bytes_read);
}

struct Mbarrier {
  unsigned arrivals = 0, pending = 0;
  std::int64_t bytes = 0;  // expected and not yet landed
  unsigned parity = 0;     // of the phase that is under way
};

struct BulkCopy {
  std::vector<AsyncCopy> pieces;
  std::uint64_t* barrier;
};

struct Block;

struct Fiber {
  ucontext_t context{};
  void* stack = nullptr;
  void* fake_stack = nullptr;  // the address sanitizer's
  Lane who;
  Block* block = nullptr;
  bool done = false;
  std::string waits_for;  // empty: ready
  std::vector<std::vector<AsyncCopy>> groups;
  std::vector<AsyncCopy> open_group;
};

struct WarpMeeting {
  const char* what = nullptr;
  unsigned mask = 0, arrived = 0;
  std::array<void*, 32> arguments{};
  std::vector<Fiber*> waiting;
  void (*together)(void**) = nullptr;
};

/// Matrix operations of 128 threads that have been issued and may not have run.
struct Warpgroup {
  const char* what = nullptr;  // where its threads are meeting
  std::array<void*, 128> arguments{};
  unsigned arrived = 0;
  std::vector<Fiber*> waiting;
  bool fenced = false;                      // since the last commit
  std::deque<std::function<void()>> ahead;  // not run yet, oldest first
  std::deque<std::size_t> groups;           // operations of each committed group in `ahead`
  std::size_t open = 0;                     // operations of the group that is not committed yet

  void run_oldest(std::size_t count) {
    for (; count > 0; --count) {
      ahead.front()();
      ahead.pop_front();
    }
  }
};

struct BlockMeeting {
  unsigned threads = 0, arrived = 0;
  std::vector<Fiber*> waiting;
};

struct Block {
  Index3 index;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<std::vector<WarpMeeting>> meetings;  // per warp: those under way
  std::vector<Warpgroup> warpgroups;
  std::map<unsigned, BlockMeeting> barriers;
  std::map<std::uint64_t*, Mbarrier> mbarriers;
  std::vector<BulkCopy> bulk_copies;
  std::unique_ptr<unsigned char, decltype(&std::free)> shared{nullptr, &std::free};
  std::size_t alive = 0;
};

struct Machine {
  DeviceTraits traits;
  std::uint64_t seed = 1, launches = 0;
  std::vector<void*> free_stacks;

  // of the launch under way
  bool running = false;
  Draws draws{1};
  const std::function<void()>* body = nullptr;
  ucontext_t scheduler{};
  void* scheduler_fake_stack = nullptr;
  const void* scheduler_stack = nullptr;
  std::size_t scheduler_stack_bytes = 0;
  Fiber* current = nullptr;
  std::vector<Fiber*> ready;
  std::exception_ptr error;
  std::uint64_t polls = 0;
};

Machine& machine() {
  static Machine the_machine;
  return the_machine;
}

Fiber& current() {
  Machine& m = machine();
  if (m.current == nullptr) throw KernelFault("a word of the device was used outside a launch");
  return *m.current;
}

std::string name_of(const Lane& who) {
  const auto three = [](const Index3& i) {
    return "(" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")";
  };
  return "thread " + three(who.thread) + " of block " + three(who.block);
}

void* take_stack() {
  Machine& m = machine();
  if (!m.free_stacks.empty()) {
    void* stack = m.free_stacks.back();
    m.free_stacks.pop_back();
    return stack;
  }
  void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stack == MAP_FAILED) throw std::runtime_error("no memory for an emulated thread's stack");
  return stack;
}

void begin_switch([[maybe_unused]] void** fake_stack, [[maybe_unused]] const void* stack,
                  [[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
#endif
}

void end_switch([[maybe_unused]] void* fake_stack, [[maybe_unused]] const void** from,
                [[maybe_unused]] std::size_t* from_bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, from, from_bytes);
#endif
}

/// Back to the scheduler; returns when this fiber is chosen again.
void leave(Fiber& fiber) {
  Machine& m = machine();
  const auto unwind_after_error = [&m] {
    if (m.error) throw KernelFault("another thread failed");
  };
  unwind_after_error();
  begin_switch(&fiber.fake_stack, m.scheduler_stack, m.scheduler_stack_bytes);
  swapcontext(&fiber.context, &m.scheduler);
  end_switch(fiber.fake_stack, nullptr, nullptr);
  unwind_after_error();
}

void wait_for(Fiber& fiber, std::string what) {
  fiber.waits_for = std::move(what);
  leave(fiber);
}

void make_ready(Fiber* fiber) {
  fiber->waits_for.clear();
  machine().ready.push_back(fiber);
  machine().polls = 0;
}

void fiber_main() {
  Machine& m = machine();
  Fiber& fiber = *m.current;
  end_switch(nullptr, &m.scheduler_stack, &m.scheduler_stack_bytes);
  try {
    if (!m.error) (*m.body)();
  } catch (...) {
    if (!m.error) m.error = std::current_exception();
  }
  fiber.done = true;
  begin_switch(nullptr, m.scheduler_stack, m.scheduler_stack_bytes);  // null: this stack is over
  swapcontext(&fiber.context, &m.scheduler);
}

void start(Fiber& fiber) {
  fiber.stack = take_stack();
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, fiber_main, 0);
  machine().ready.push_back(&fiber);
}

std::unique_ptr<Block> make_block(Index3 grid, Index3 block, Index3 index,
                                  std::size_t shared_bytes) {
  auto made = std::make_unique<Block>();
  made->index = index;
  const unsigned threads = block.x * block.y * block.z;
  made->meetings.resize((threads + 31) / 32);
  made->warpgroups.resize(threads / 128);
  made->alive = threads;
  if (shared_bytes > 0) {
    // 1 KiB aligned, as bulk tensor copies ask for; exact in length, so that sanitizers see its end
    void* memory = nullptr;
    if (posix_memalign(&memory, 1024, shared_bytes) != 0)
      throw std::runtime_error("no memory for emulated shared memory");
    std::memset(memory, 0xFF, shared_bytes);
    made->shared.reset(static_cast<unsigned char*>(memory));
  }
  for (unsigned number = 0; number < threads; ++number) {
    auto fiber = std::make_unique<Fiber>();
    fiber->who.thread = {number % block.x, number / block.x % block.y,
                         number / (block.x * block.y)};
    fiber->who.block = index;
    fiber->who.block_size = block;
    fiber->who.grid_size = grid;
    fiber->who.thread_number = number;
    fiber->block = made.get();
    start(*fiber);
    made->fibers.push_back(std::move(fiber));
  }
  return made;
}

void run(Fiber& fiber) {
  Machine& m = machine();
  m.current = &fiber;
  begin_switch(&m.scheduler_fake_stack, fiber.stack, kStackBytes);
  swapcontext(&m.scheduler, &fiber.context);
  end_switch(m.scheduler_fake_stack, nullptr, nullptr);
  m.current = nullptr;
  if (!fiber.done) return;
  m.polls = 0;
  --fiber.block->alive;
  m.free_stacks.push_back(fiber.stack);
  fiber.stack = nullptr;
}

std::string deadlock_text(const std::vector<std::unique_ptr<Block>>& blocks) {
  std::string text = "deadlock: nobody can run.";
  int named = 0;
  for (const auto& block : blocks)
    for (const auto& fiber : block->fibers) {
      if (fiber->done || named >= 8) continue;
      text += "\n  " + name_of(fiber->who) + " waits for " + fiber->waits_for;
      ++named;
    }
  return text;
}

/// After an error: every fiber that is under way is entered once more, to unwind.
void unwind(std::vector<std::unique_ptr<Block>>& blocks) {
  for (auto& block : blocks)
    for (auto& fiber : block->fibers)
      if (!fiber->done) run(*fiber);
}

Mbarrier& mbarrier_at(std::uint64_t* barrier) {
  auto& all = current().block->mbarriers;
  const auto found = all.find(barrier);
  if (found == all.end()) fault("an mbarrier is used before its initialisation");
  return found->second;
}

void turn_phase_if_complete(Mbarrier& barrier) {
  if (barrier.pending != 0 || barrier.bytes != 0) return;
  barrier.parity ^= 1;
  barrier.pending = barrier.arrivals;
  machine().polls = 0;
}

void land(const BulkCopy& bulk) {
  Mbarrier& barrier = mbarrier_at(bulk.barrier);
  for (const AsyncCopy& piece : bulk.pieces) {
    perform(piece);
    barrier.bytes -= static_cast<std::int64_t>(piece.bytes);
  }
  turn_phase_if_complete(barrier);
}

void issue(BulkCopy bulk) {
  if (machine().draws.coin())
    land(bulk);
  else
    current().block->bulk_copies.push_back(std::move(bulk));
}

Warpgroup& own_warpgroup(const char* what) {
  Fiber& fiber = current();
  const unsigned number = fiber.who.thread_number / 128;
  if (number >= fiber.block->warpgroups.size())
    fault(std::string(what) + ": this thread is in no whole warpgroup");
  return fiber.block->warpgroups[number];
}

}  // namespace

const Lane& lane() { return current().who; }

DeviceTraits& device_traits() { return machine().traits; }

void set_schedule_seed(std::uint64_t seed) {
  machine().seed = seed;
  machine().launches = 0;
}

void fault(const std::string& what) {
  Machine& m = machine();
  throw KernelFault(m.current == nullptr ? what : name_of(m.current->who) + ": " + what);
}

void launch(Index3 grid, Index3 block, std::size_t shared_bytes, bool all_blocks_together,
            const std::function<void()>& body) {
  Machine& m = machine();
  if (m.running) throw KernelFault("a launch inside a launch");
  const std::size_t threads = std::size_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024) throw KernelFault("a block has 1 to 1024 threads");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) throw KernelFault("a grid without blocks");
  if (shared_bytes > m.traits.shared_bytes_max) throw KernelFault("too much shared memory");
  m.running = true;
  m.draws = Draws(m.seed * 0x9e3779b97f4a7c15ULL + m.launches++);
  m.body = &body;
  m.error = nullptr;
  m.polls = 0;
  m.ready.clear();

  std::vector<Index3> waiting;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) waiting.push_back({x, y, z});
  for (std::size_t i = waiting.size(); i > 1; --i)
    std::swap(waiting[i - 1], waiting[m.draws.below(i)]);
  const std::size_t resident_max = all_blocks_together ? waiting.size() : 1 + m.draws.below(3);

  std::vector<std::unique_ptr<Block>> blocks;
  try {
    while (!m.error) {
      std::erase_if(blocks, [](const auto& b) { return b->alive == 0; });
      while (blocks.size() < resident_max && !waiting.empty()) {
        blocks.push_back(make_block(grid, block, waiting.back(), shared_bytes));
        waiting.pop_back();
      }
      if (blocks.empty()) break;
      if (m.ready.empty()) {
        m.error = std::make_exception_ptr(KernelFault(deadlock_text(blocks)));
        break;
      }
      std::swap(m.ready[m.draws.below(m.ready.size())], m.ready.back());
      Fiber* next = m.ready.back();
      m.ready.pop_back();
      run(*next);
    }
    if (m.error) unwind(blocks);
  } catch (...) {
    m.error = std::current_exception();
  }
  m.running = false;
  m.body = nullptr;
  if (m.error) std::rethrow_exception(std::exchange(m.error, nullptr));
}

unsigned char* shared_memory() { return current().block->shared.get(); }

void meet_in_warp(unsigned mask, const char* what, void* argument, void (*together)(void** lanes)) {
  Fiber& fiber = current();
  const unsigned bit = 1U << fiber.who.warp_lane();
  if ((mask & bit) == 0) fault(std::string(what) + ": this lane is not in its own mask");
  auto& meetings = fiber.block->meetings[fiber.who.thread_number / 32];
  auto meeting = std::find_if(meetings.begin(), meetings.end(),
                              [&](const WarpMeeting& m) { return (m.mask & mask) != 0; });
  if (meeting == meetings.end()) {
    meetings.push_back({what, mask, 0, {}, {}, together});
    meeting = std::prev(meetings.end());
  } else if (meeting->mask != mask || std::strcmp(meeting->what, what) != 0) {
    fault(std::string("lanes of a warp meet at different operations: ") + meeting->what + " and " +
          what);
  }
  meeting->arguments[fiber.who.warp_lane()] = argument;
  meeting->arrived |= bit;
  if (meeting->arrived != mask) {
    meeting->waiting.push_back(&fiber);
    wait_for(fiber, what);
    return;
  }
  WarpMeeting complete = std::move(*meeting);
  meetings.erase(meeting);
  if (complete.together != nullptr) complete.together(complete.arguments.data());
  for (Fiber* other : complete.waiting) make_ready(other);
  poll();  // the last to come does not always go first
}

namespace {

/// Counts the caller; true when it was the last, and then the barrier is open again.
bool arrives_last(Block& block, unsigned barrier, unsigned threads) {
  if (barrier > 15) fault("a block has the barriers 0 to 15");
  BlockMeeting& meeting = block.barriers[barrier];
  if (meeting.arrived == 0) meeting.threads = threads;
  if (meeting.threads != threads) fault("threads meet at a barrier with different counts");
  if (++meeting.arrived < threads) return false;
  meeting.arrived = 0;
  for (Fiber* other : std::exchange(meeting.waiting, {})) make_ready(other);
  return true;
}

}  // namespace

void meet_in_block(unsigned barrier, unsigned threads) {
  Fiber& fiber = current();
  Block& block = *fiber.block;
  if (threads == 0) threads = static_cast<unsigned>(block.fibers.size());
  if (arrives_last(block, barrier, threads)) return poll();
  block.barriers[barrier].waiting.push_back(&fiber);
  wait_for(fiber, "barrier " + std::to_string(barrier));
}

void arrive_in_block(unsigned barrier, unsigned threads) {
  arrives_last(*current().block, barrier, threads);
  poll();
}

void meet_in_warpgroup(const char* what, void* argument, void (*together)(void** threads)) {
  Fiber& fiber = current();
  Warpgroup& group = own_warpgroup(what);
  if (group.arrived == 0) group.what = what;
  if (std::strcmp(group.what, what) != 0)
    fault(std::string("threads of a warpgroup meet at different operations: ") + group.what +
          " and " + what);
  group.arguments[fiber.who.thread_number % 128] = argument;
  if (++group.arrived < 128) {
    group.waiting.push_back(&fiber);
    wait_for(fiber, what);
    return;
  }
  group.arrived = 0;
  if (together != nullptr) together(group.arguments.data());
  for (Fiber* other : std::exchange(group.waiting, {})) make_ready(other);
  poll();
}

void issue_in_warpgroup(std::function<void()> operation) {
  Warpgroup& group = own_warpgroup("a matrix operation");
  if (!group.fenced) fault("a matrix operation of a warpgroup without a fence before its group");
  group.ahead.push_back(std::move(operation));
  ++group.open;
  if (!machine().draws.coin()) return;
  group.run_oldest(group.ahead.size());
  group.open = 0;
  for (std::size_t& operations : group.groups) operations = 0;
}

void fence_in_warpgroup() {
  meet_in_warpgroup("warpgroup fence", nullptr,
                    [](void**) { own_warpgroup("warpgroup fence").fenced = true; });
}

void commit_in_warpgroup() {
  meet_in_warpgroup("warpgroup commit", nullptr, [](void**) {
    Warpgroup& group = own_warpgroup("warpgroup commit");
    group.groups.push_back(std::exchange(group.open, 0));
    group.fenced = false;
  });
}

void wait_in_warpgroup(unsigned groups_left) {
  meet_in_warpgroup("warpgroup wait", &groups_left, [](void** threads) {
    Warpgroup& group = own_warpgroup("warpgroup wait");
    const unsigned left = *static_cast<unsigned*>(threads[0]);
    while (group.groups.size() > left) {
      group.run_oldest(group.groups.front());
      group.groups.pop_front();
    }
  });
}

void poll() {
  Machine& m = machine();
  Fiber& fiber = current();
  if (++m.polls > kPollsWithoutProgressMax) fault("polls for something that never comes");
  m.ready.push_back(&fiber);
  leave(fiber);
}

void copy_async(void* shared, const void* global, std::size_t bytes, std::size_t bytes_read) {
  require_aligned(shared, bytes, "the target of an asynchronous copy");
  if (bytes_read > 0) require_aligned(global, bytes, "the source of an asynchronous copy");
  const AsyncCopy copy{shared, global, bytes, bytes_read};
  if (machine().draws.coin())
    perform(copy);
  else
    current().open_group.push_back(copy);
}

void copy_async_commit() {
  Fiber& fiber = current();
  fiber.groups.push_back(std::exchange(fiber.open_group, {}));
}

void copy_async_wait(unsigned groups_left) {
  Fiber& fiber = current();
  while (fiber.groups.size() > groups_left) {
    for (const AsyncCopy& copy : fiber.groups.front()) perform(copy);
    fiber.groups.erase(fiber.groups.begin());
  }
}

void barrier_init(std::uint64_t* barrier, unsigned arrivals) {
  require_aligned(barrier, 8, "an mbarrier");
  *barrier = 0;
  current().block->mbarriers[barrier] = {arrivals, arrivals, 0, 0};
}

void barrier_arrive(std::uint64_t* barrier, std::uint32_t expected_bytes) {
  Mbarrier& state = mbarrier_at(barrier);
  if (state.pending == 0) fault("more arrivals at an mbarrier than it was made for");
  state.bytes += expected_bytes;
  --state.pending;
  turn_phase_if_complete(state);
}

bool barrier_phase_done(std::uint64_t* barrier, unsigned parity) {
  if (mbarrier_at(barrier).parity != parity) return true;
  auto& copies = current().block->bulk_copies;
  if (!copies.empty()) {
    std::swap(copies[machine().draws.below(copies.size())], copies.back());
    const BulkCopy bulk = std::move(copies.back());
    copies.pop_back();
    land(bulk);
  }
  poll();
  return mbarrier_at(barrier).parity != parity;
}

void bulk_copy_to_shared(void* shared, const void* global, std::uint32_t bytes,
                         std::uint64_t* barrier) {
  require_aligned(shared, 16, "the target of a bulk copy");
  require_aligned(global, 16, "the source of a bulk copy");
  if (bytes % 16 != 0) fault("a bulk copy takes a multiple of 16 bytes");
  issue({{{shared, global, bytes, bytes}}, barrier});
}

void tensor_copy_to_shared(void* shared, const TensorBox& tensor, const int* coordinates,
                           std::uint64_t* barrier) {
  require_aligned(shared, 128, "the target of a tensor copy");
  const std::size_t row_bytes = tensor.box[0] * tensor.element_bytes;
  if (row_bytes != 128) fault("a tensor copy with the 128-byte swizzle has rows of 128 bytes");
  std::size_t rows = 1;
  for (int d = 1; d < tensor.rank; ++d) rows *= tensor.box[d];
  BulkCopy bulk{{}, barrier};
  for (std::size_t row = 0; row < rows; ++row) {
    const auto* from = static_cast<const unsigned char*>(tensor.base);
    bool inside = true;
    std::size_t rest = row;
    for (int d = 1; d < tensor.rank; ++d) {
      const std::int64_t at = coordinates[d] + static_cast<std::int64_t>(rest % tensor.box[d]);
      rest /= tensor.box[d];
      inside = inside && at >= 0 && at < static_cast<std::int64_t>(tensor.sizes[d]);
      from += at * static_cast<std::int64_t>(tensor.strides[d]);
    }
    const std::int64_t first = coordinates[0] * static_cast<std::int64_t>(tensor.element_bytes);
    const std::int64_t end = static_cast<std::int64_t>(tensor.sizes[0] * tensor.element_bytes);
    if (first % 16 != 0) fault("a tensor copy begins at a multiple of 16 bytes of a row");
    for (std::size_t piece = 0; piece < 8; ++piece) {
      const std::int64_t at = first + static_cast<std::int64_t>(16 * piece);
      const std::int64_t left = end - at;
      const std::size_t bytes = !inside || at < 0 || left <= 0
                                    ? 0
                                    : static_cast<std::size_t>(std::min<std::int64_t>(16, left));
      const std::uintptr_t to =
          reinterpret_cast<std::uintptr_t>(shared) + row * row_bytes + 16 * piece;
      bulk.pieces.push_back({reinterpret_cast<void*>(to ^ ((to >> 7 & 7) << 4)),
                             bytes == 0 ? nullptr : from + at, 16, bytes});
    }
  }
  issue(std::move(bulk));
}

void require_aligned(const void* pointer, std::size_t alignment, const char* what) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % alignment != 0)
    fault(std::string(what) + " is not aligned to " + std::to_string(alignment) + " bytes");
}

}  // namespace fleetsim::kernels::emulation
