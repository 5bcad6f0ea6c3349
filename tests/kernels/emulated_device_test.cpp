// The emulated device finds the mistakes it is there to find.

#include "kernels/emulation/emulated_device.h"

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/device/async_copy.h"
#include "kernels/device/device_memory.h"
#include "kernels/device/memory_access.h"
#include "kernels/device/warp.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

/// Each thread takes its left neighbour's number out of shared memory.
void neighbour_kernel(int* out, bool with_barrier) {
  auto* shared = reinterpret_cast<int*>(dynamic_shared_memory());
  const int i = static_cast<int>(threadIdx.x), n = static_cast<int>(blockDim.x);
  shared[i] = i;
  if (with_barrier) sync_block();
  out[static_cast<int>(blockIdx.x) * n + i] = shared[(i + n - 1) % n];
}

std::vector<int> neighbours(std::uint64_t seed, bool with_barrier) {
  emulation::set_schedule_seed(seed);
  DeviceBuffer<int> out(128);
  launch(neighbour_kernel, {{2, 1, 1}, {64, 1, 1}, 64 * sizeof(int)}, out.data(), with_barrier);
  return out.values();
}

std::string fault_of(void (*kernel)(), LaunchShape shape) {
  try {
    launch(kernel, shape);
  } catch (const emulation::KernelFault& fault) {
    return fault.what();
  }
  return "";
}

/// Copies `n` numbers (a multiple of 4 a thread) by cp.async; `waits` is what a correct kernel
/// does.
void staged_kernel(const int* in, int* out, bool waits) {
  auto* shared = reinterpret_cast<int*>(dynamic_shared_memory());
  const int i = static_cast<int>(threadIdx.x);
  copy_async_16(shared + 4 * i, in + 4 * i, i != 3);
  copy_async_commit();
  if (waits) copy_async_wait<0>();
  sync_block();
  for (int j = 0; j < 4; ++j) out[4 * i + j] = shared[4 * i + j];
}

/// A producer thread fills two slots by bulk copies, round after round; all others add them up.
void ring_kernel(const int* in, long long* sums, int rounds, bool releases) {
  unsigned char* base = dynamic_shared_memory();
  auto* full = reinterpret_cast<Mbarrier*>(base);
  Mbarrier* empty = full + 2;
  auto* slots = reinterpret_cast<int*>(base + 64);
  const int consumers = static_cast<int>(blockDim.x) - 32;
  const int i = static_cast<int>(threadIdx.x);
  if (i == 0) {
    for (int s = 0; s < 2; ++s) {
      barrier_init(full + s, 1);
      barrier_init(empty + s, static_cast<unsigned>(consumers));
    }
    fence_barrier_init();
  }
  sync_block();
  if (i >= consumers) {
    if (i != consumers) return;
    for (int r = 0; r < rounds; ++r) {
      if (releases) barrier_wait(empty + r % 2, static_cast<unsigned>(r / 2 % 2) ^ 1U);
      barrier_arrive_expecting(full + r % 2, 64);
      bulk_copy_to_shared(slots + r % 2 * 16, in + r * 16, 64, full + r % 2);
    }
    return;
  }
  long long sum = 0;
  for (int r = 0; r < rounds; ++r) {
    barrier_wait(full + r % 2, static_cast<unsigned>(r / 2 % 2));
    for (int j = 0; j < 16; ++j) sum += slots[r % 2 * 16 + j] * (j + 1LL);
    barrier_arrive(empty + r % 2);
  }
  sums[i] = sum;
}

}  // namespace

TEST_CASE("a kernel with its barrier gives one result under every schedule",
          "[kernels][emulation]") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const std::vector<int> got = neighbours(seed, true);
    for (int i = 0; i < 128; ++i) REQUIRE(got[i] == (i % 64 + 63) % 64);
  }
}

TEST_CASE("a missing barrier shows as a result that depends on the schedule",
          "[kernels][emulation]") {
  CHECK(neighbours(1, false) != neighbours(2, false));
}

TEST_CASE("threads that wait for someone who left are reported as a deadlock",
          "[kernels][emulation]") {
  const std::string text = fault_of(
      [] {
        if (threadIdx.x == 5) return;
        sync_block();
      },
      {{1, 1, 1}, {32, 1, 1}});
  CHECK(text.find("deadlock") != std::string::npos);
  CHECK(text.find("waits for barrier 0") != std::string::npos);
}

TEST_CASE("lanes that meet at different warp operations are a fault", "[kernels][emulation]") {
  const std::string text = fault_of(
      [] {
        if (threadIdx.x % 2 == 0)
          shuffle_xor(1, 1);
        else
          sync_warp();
      },
      {{1, 1, 1}, {32, 1, 1}});
  CHECK(text.find("different operations") != std::string::npos);
}

TEST_CASE(
    "a poll that never ends, a misaligned access and shared memory that no GPU has are faults",
    "[kernels][emulation]") {
  CHECK(fault_of(
            [] {
              static unsigned flag = 0;
              while (load_acquire_system(&flag) == 0) {
              }
            },
            {{1, 1, 1}, {32, 1, 1}})
            .find("never comes") != std::string::npos);
  CHECK(fault_of([] { load_16(dynamic_shared_memory() + 4); }, {{1, 1, 1}, {1, 1, 1}, 64})
            .find("not aligned") != std::string::npos);
  CHECK(fault_of([] {}, {{1, 1, 1}, {32, 1, 1}, 300'000}).find("shared memory") !=
        std::string::npos);
}

TEST_CASE("shuffles, votes and sums are those of a warp", "[kernels][emulation]") {
  DeviceBuffer<int> out(4 * 64);
  launch(
      +[](int* to) {
        const int i = static_cast<int>(threadIdx.x);
        int* own = to + 4 * i;
        own[0] = shuffle_xor(i, 3);
        own[1] = shuffle_up(i, 4);
        own[2] = static_cast<int>(vote(i % 3 == 0));
        own[3] = block_sum(i, reinterpret_cast<int*>(dynamic_shared_memory()));
      },
      {{1, 1, 1}, {64, 1, 1}, 32 * sizeof(int)}, out.data());
  const std::vector<int> got = out.values();
  unsigned votes[2] = {0, 0};
  for (int i = 0; i < 64; ++i)
    if (i % 3 == 0) votes[i / 32] |= 1U << (i % 32);
  for (int i = 0; i < 64; ++i) {
    REQUIRE(got[4 * i] == (i ^ 3));
    REQUIRE(got[4 * i + 1] == (i % 32 < 4 ? i : i - 4));
    REQUIRE(static_cast<unsigned>(got[4 * i + 2]) == votes[i / 32]);
    REQUIRE(got[4 * i + 3] == 64 * 63 / 2);
  }
}

TEST_CASE("an asynchronous copy that nobody waited for may not have landed",
          "[kernels][emulation]") {
  std::vector<int> values(64);
  for (int i = 0; i < 64; ++i) values[i] = i + 1;
  const DeviceBuffer<int> in(values);
  std::vector<int> expected = values;
  for (int i = 12; i < 16; ++i) expected[i] = 0;  // the invalid copy fills with zeros
  int wrong = 0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    DeviceBuffer<int> out(64);
    emulation::set_schedule_seed(seed);
    launch(staged_kernel, {{1, 1, 1}, {16, 1, 1}, 256}, in.data(), out.data(), true);
    REQUIRE(out.values() == expected);
    launch(staged_kernel, {{1, 1, 1}, {16, 1, 1}, 256}, in.data(), out.data(), false);
    wrong += out.values() != expected;
  }
  CHECK(wrong == 10);  // 16 threads all lucky: 1 in 65536
}

TEST_CASE("a ring of bulk copies hands over every slot, and is caught when it does not wait",
          "[kernels][emulation]") {
  constexpr int kRounds = 9;
  std::vector<int> values(16 * kRounds);
  long long expected = 0;
  for (int i = 0; i < 16 * kRounds; ++i) {
    values[i] = i * 7 % 101;
    expected += values[i] * (i % 16 + 1LL);
  }
  const DeviceBuffer<int> in(values);
  int caught = 0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    DeviceBuffer<long long> sums(32);
    emulation::set_schedule_seed(seed);
    launch(ring_kernel, {{1, 1, 1}, {64, 1, 1}, 64 + 128}, in.data(), sums.data(), kRounds, true);
    for (const long long sum : sums.values()) REQUIRE(sum == expected);
    try {
      launch(ring_kernel, {{1, 1, 1}, {64, 1, 1}, 64 + 128}, in.data(), sums.data(), kRounds,
             false);
      for (const long long sum : sums.values())
        if (sum != expected) {
          ++caught;
          break;
        }
    } catch (const emulation::KernelFault&) {
      ++caught;
    }
  }
  CHECK(caught == 10);
}
