#pragma once
// What one rank's threads do in an all-reduce; the kernels of all_reduce.cu are this and nothing
// more.
//
// Each rank reads its peers' memory directly. One-shot: every rank adds up everything. Two-shot:
// every rank adds up its part, then all collect the parts. The scheme, with a start barrier, flags
// per block and no work for the host in between, is that of vLLM's custom_all_reduce.cuh (from
// knowledge of it; written anew).

#include "kernels/device/memory_access.h"
#include "kernels/device/warp.h"
#include "kernels/operators/all_reduce.h"

namespace fleetsim::kernels {

struct AllReduceParameters {
  const Bf16* inputs[kAllReduceRanksMax];  // of each rank, as this device sees it
  Bf16* parts[kAllReduceRanksMax];         // two-shot alone: sums of each rank's part
  Bf16* outs[kAllReduceRanksMax];          // own ranks only
  AllReduceFlags* flags[kAllReduceRanksMax];
  std::int64_t vectors;  // of 8 elements
  int first_rank;        // blockIdx.y 0 is this rank
};

/// What a barrier promises beyond that all ranks' blocks came.
enum class RankOrder {
  /// Nothing. Enough before the first read: what was written before a kernel began is seen by
  /// whoever learns that it began. Enough after the last read as well: values have arrived when
  /// they are stored, so nobody's input is overwritten under a reader.
  arrival,
  /// What every rank's block wrote before is seen by all after it.
  writes
};

template <int kRanks>
FLEETSIM_DEVICE void meet_ranks(const AllReduceParameters& parameters, int rank, RankOrder order) {
  const unsigned block = blockIdx.x, thread = threadIdx.x;
  AllReduceFlags& own = *parameters.flags[rank];
  sync_block();  // all threads have read, written, and left the barrier before
  const unsigned number = own.passed[block] + 1;
  if (thread < kRanks) {
    unsigned* announce = &parameters.flags[thread]->arrived[number % 2][block][rank];
    const unsigned* watch = &own.arrived[number % 2][block][thread];
    if (order == RankOrder::writes) {
      store_release_system(announce, number);
      while (load_acquire_system(watch) != number) {
      }
    } else {
      store_relaxed_system(announce, number);
      while (load_relaxed_system(watch) != number) {
      }
    }
  }
  sync_block();
  if (thread == 0) own.passed[block] = number;
}

/// Vector `i` summed over the ranks in fp32, always in the order 0, 1, ...: so all ranks get the
/// same bytes, and so do both algorithms.
template <int kRanks>
FLEETSIM_DEVICE uint4 sum_of_ranks(const AllReduceParameters& parameters, std::int64_t i) {
  uint4 words[kRanks];
  FLEETSIM_UNROLL
  for (int r = 0; r < kRanks; ++r) words[r] = load_16_coherent(parameters.inputs[r] + 8 * i);
  float2 sums[4] = {unpack_bf16(words[0].x), unpack_bf16(words[0].y), unpack_bf16(words[0].z),
                    unpack_bf16(words[0].w)};
  FLEETSIM_UNROLL
  for (int r = 1; r < kRanks; ++r) {
    const float2 terms[4] = {unpack_bf16(words[r].x), unpack_bf16(words[r].y),
                             unpack_bf16(words[r].z), unpack_bf16(words[r].w)};
    FLEETSIM_UNROLL
    for (int pair = 0; pair < 4; ++pair) {
      sums[pair].x += terms[pair].x;
      sums[pair].y += terms[pair].y;
    }
  }
  return {pack_bf16(sums[0].x, sums[0].y), pack_bf16(sums[1].x, sums[1].y),
          pack_bf16(sums[2].x, sums[2].y), pack_bf16(sums[3].x, sums[3].y)};
}

template <int kRanks>
FLEETSIM_DEVICE void one_shot_all_reduce(const AllReduceParameters& parameters) {
  const int rank = parameters.first_rank + static_cast<int>(blockIdx.y);
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  Bf16* out = parameters.outs[rank];
  meet_ranks<kRanks>(parameters, rank, RankOrder::arrival);
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < parameters.vectors;
       i += stride)
    store_16(out + 8 * i, sum_of_ranks<kRanks>(parameters, i));
  // a rank that left earlier might overwrite its input
  meet_ranks<kRanks>(parameters, rank, RankOrder::arrival);
}

/// Vectors of a part; the last ones may be shorter or empty.
template <int kRanks>
FLEETSIM_DEVICE std::int64_t vectors_of_part(std::int64_t vectors) {
  return ceil_div<std::int64_t>(vectors, kRanks);
}

template <int kRanks>
FLEETSIM_DEVICE void two_shot_all_reduce(const AllReduceParameters& parameters) {
  const int rank = parameters.first_rank + static_cast<int>(blockIdx.y);
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  const std::int64_t first = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t part = vectors_of_part<kRanks>(parameters.vectors);
  Bf16* own_part = parameters.parts[rank];
  meet_ranks<kRanks>(parameters, rank, RankOrder::arrival);
  for (std::int64_t i = first; i < part && rank * part + i < parameters.vectors; i += stride)
    store_16(own_part + 8 * i, sum_of_ranks<kRanks>(parameters, rank * part + i));
  meet_ranks<kRanks>(parameters, rank, RankOrder::writes);
  // Collects element i of every part by the block that made it everywhere, for only equal blocks
  // have met; each rank begins with its own part, so that not all read from the same peer. No
  // barrier at the end: a peer writes its part again only after it met this rank's next launch.
  Bf16* out = parameters.outs[rank];
  for (std::int64_t i = first; i < part; i += stride) {
    uint4 words[kRanks];
    FLEETSIM_UNROLL
    for (int step = 0; step < kRanks; ++step) {
      const int from = (rank + step) % kRanks;
      if (from * part + i < parameters.vectors)
        words[step] = load_16_coherent(parameters.parts[from] + 8 * i);
    }
    FLEETSIM_UNROLL
    for (int step = 0; step < kRanks; ++step) {
      const int from = (rank + step) % kRanks;
      if (from * part + i < parameters.vectors) store_16(out + 8 * (from * part + i), words[step]);
    }
  }
}

}  // namespace fleetsim::kernels
