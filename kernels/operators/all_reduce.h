#pragma once
// All-reduce of bf16 over the GPUs of one machine by reading peers' memory: one-shot and two-shot.

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

inline constexpr int kAllReduceRanksMax = 8;
/// As many as vLLM takes: its authors found that more do not move more over NVLink.
inline constexpr int kAllReduceBlocksMax = 36;

/// Where the ranks' blocks meet, one for each rank, in its own memory; zero before the first
/// launch, then left alone. Block b of a rank meets block b of the others only.
struct AllReduceFlags {
  /// Barriers that this rank's block has passed.
  unsigned passed[kAllReduceBlocksMax];
  /// arrived[p][b][r]: the last barrier of parity p at which block b of rank r announced itself.
  /// Two parities: a fast rank may already announce the next barrier while a slow one still looks
  /// at this one. It cannot be two ahead, since it waits for all at the next.
  unsigned arrived[2][kAllReduceBlocksMax][kAllReduceRanksMax];
};

enum class AllReduceAlgorithm {
  one_shot,  // every rank reads all inputs: (ranks - 1) x the message over the wire, one meeting
  two_shot   // reduce-scatter and all-gather: 2 (ranks - 1) / ranks x the message, two meetings
};

/// Every out becomes the sum of all inputs: added in fp32 in the order of ranks, rounded once. All
/// ranks, both algorithms and every run give the same bytes.
/// Pointers are by rank, 16-byte aligned, readable (inputs, parts) and writable (flags) from every
/// device that takes part; nothing overlaps. An input may be overwritten once its rank's launch has
/// ended, whatever the others do.
struct AllReduceArguments {
  AllReduceAlgorithm algorithm = AllReduceAlgorithm::one_shot;
  int ranks = 2;           // 2, 4 or 8
  std::int64_t count = 0;  // elements, a multiple of 8; 0: nothing is launched
  const Bf16* inputs[kAllReduceRanksMax] = {};
  Bf16* outs[kAllReduceRanksMax] = {};   // own ranks only
  Bf16* parts[kAllReduceRanksMax] = {};  // two_shot: all_reduce_part_count() elements each
  AllReduceFlags* flags[kAllReduceRanksMax] = {};  // zero before the first launch ever
  int first_rank = 0, ranks_here = 1;  // ranks that this launch runs: one, or all on one device
};

/// How a rank is spread; equal on all ranks. blocks: at most kAllReduceBlocksMax.
struct AllReduceGrid {
  int blocks = 1, threads = 512;  // threads: a multiple of 32
};
AllReduceGrid all_reduce_grid(const AllReduceArguments& arguments);
/// Elements of a part: count / ranks, rounded up to whole vectors.
std::int64_t all_reduce_part_count(std::int64_t count, int ranks);

/// Asynchronous. Ends when all ranks were launched and came; a rank that never comes hangs the
/// others. Without programmatic dependent launch: a rank's kernel may only begin when what it does
/// to inputs and parts before is complete. Errors: CudaError; CHECK of shapes and alignment.
void launch_all_reduce(const AllReduceArguments& arguments, const AllReduceGrid& grid,
                       Stream stream);

}  // namespace fleetsim::kernels
