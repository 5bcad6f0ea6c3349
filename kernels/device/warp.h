#pragma once
// What threads of a warp and of a block do together: barriers, shuffles, sums, votes.

#include "kernels/device/cuda_words.h"

namespace fleetsim::kernels {

inline constexpr unsigned kWholeWarp = 0xffffffffU;
inline constexpr int kWarpLanes = 32;

/// Barrier of all threads of the block.
FLEETSIM_DEVICE void sync_block() {
#if defined(__CUDACC__)
  __syncthreads();
#else
  emulation::meet_in_block(0, 0);
#endif
}

/// Barrier `barrier` (1 to 15) of `threads` threads, a multiple of 32.
FLEETSIM_DEVICE void sync_threads(unsigned barrier, unsigned threads) {
#if defined(__CUDACC__)
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
#else
  emulation::meet_in_block(barrier, threads);
#endif
}

/// The same barrier for those who wait for nobody: the caller counts as having come and goes on.
FLEETSIM_DEVICE void arrive_threads(unsigned barrier, unsigned threads) {
#if defined(__CUDACC__)
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
#else
  emulation::arrive_in_block(barrier, threads);
#endif
}

FLEETSIM_DEVICE void sync_warp() {
#if defined(__CUDACC__)
  __syncwarp();
#else
  emulation::meet_in_warp(kWholeWarp, "sync_warp", nullptr, nullptr);
#endif
}

/// `value` unchanged, but the compiler no longer knows where it came from: what a loop computes
/// from it is computed there each time, instead of being kept in registers from before the loop. T
/// has 32 bits.
template <class T>
FLEETSIM_DEVICE T recomputed(T value) {
#if defined(__CUDACC__)
  asm volatile("" : "+r"(value));
#endif
  return value;
}

#if !defined(__CUDACC__)
namespace detail {
template <class T>
struct Exchange {
  T value;
  int from;  // lane to read
};
template <class T>
T exchange(T value, int from, const char* what) {
  // two slots, so that nobody reads a value that was already replaced
  struct Slot {
    Exchange<T> in;
    T out;
  } slot{{value, from}, value};
  emulation::meet_in_warp(kWholeWarp, what, &slot, [](void** lanes) {
    for (int i = 0; i < kWarpLanes; ++i) {
      auto* own = static_cast<Slot*>(lanes[i]);
      if (own->in.from >= 0 && own->in.from < kWarpLanes)
        own->out = static_cast<Slot*>(lanes[own->in.from])->in.value;
    }
  });
  return slot.out;
}
inline int own_lane() { return static_cast<int>(emulation::lane().warp_lane()); }
}  // namespace detail
#endif

/// The value of lane (own ^ mask). All 32 lanes take part in each of these.
template <class T>
FLEETSIM_DEVICE T shuffle_xor(T value, int mask) {
#if defined(__CUDACC__)
  return __shfl_xor_sync(kWholeWarp, value, mask);
#else
  return detail::exchange(value, detail::own_lane() ^ mask, "shuffle_xor");
#endif
}

/// The value of lane `from`, 0 to 31.
template <class T>
FLEETSIM_DEVICE T shuffle(T value, int from) {
#if defined(__CUDACC__)
  return __shfl_sync(kWholeWarp, value, from);
#else
  return detail::exchange(value, from % kWarpLanes, "shuffle");
#endif
}

/// The value of lane (own - distance); the first lanes keep their own.
template <class T>
FLEETSIM_DEVICE T shuffle_up(T value, int distance) {
#if defined(__CUDACC__)
  return __shfl_up_sync(kWholeWarp, value, static_cast<unsigned>(distance));
#else
  return detail::exchange(value, detail::own_lane() - distance, "shuffle_up");
#endif
}

/// A bit per lane that says `yes`.
FLEETSIM_DEVICE unsigned vote(bool yes) {
#if defined(__CUDACC__)
  return __ballot_sync(kWholeWarp, yes);
#else
  struct Slot {
    bool in;
    unsigned out;
  } slot{yes, 0};
  emulation::meet_in_warp(kWholeWarp, "vote", &slot, [](void** lanes) {
    unsigned bits = 0;
    for (int i = 0; i < kWarpLanes; ++i)
      if (static_cast<Slot*>(lanes[i])->in) bits |= 1U << i;
    for (int i = 0; i < kWarpLanes; ++i) static_cast<Slot*>(lanes[i])->out = bits;
  });
  return slot.out;
#endif
}

/// Sum over all lanes, in every lane, added in a fixed order.
template <class T>
FLEETSIM_DEVICE T warp_sum(T value) {
  FLEETSIM_UNROLL
  for (int mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

template <class T>
FLEETSIM_DEVICE T warp_max(T value) {
  FLEETSIM_UNROLL
  for (int mask = 16; mask > 0; mask /= 2) {
    const T other = shuffle_xor(value, mask);
    value = other > value ? other : value;
  }
  return value;
}

/// Sum over the block in every thread; `scratch` holds 32 values in shared memory and may be reused
/// after the return. blockDim.x is a multiple of 32; the order of adding is fixed.
template <class T>
FLEETSIM_DEVICE T block_sum(T value, T* scratch) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  const int warps = static_cast<int>(blockDim.x) / kWarpLanes;
  value = warp_sum(value);
  if (lane == 0) scratch[warp] = value;
  sync_block();
  T total = scratch[0];
  for (int i = 1; i < warps; ++i) total += scratch[i];
  sync_block();
  return total;
}

}  // namespace fleetsim::kernels
