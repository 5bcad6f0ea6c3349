#pragma once
// How blocks find their shares of a decode schedule on the device, and how parts of a cut unit add
// up.

#include <cmath>

#include "kernels/device/memory_access.h"
#include "kernels/device/warp.h"
#include "kernels/operators/decode_schedule.h"

namespace fleetsim::kernels {

inline constexpr float kLog2E = 1.44269504088896340736F;
inline constexpr float kLn2 = 0.69314718055994530942F;

/// The share of `block`, of `blocks` that a launch has; its walk holds no shares where the line
/// is too short to give it one. All threads of a block of `kThreads`; `scratch` holds an int a warp
/// and two more. Ends with a barrier.
template <int kThreads>
FLEETSIM_DEVICE DecodeWalk find_share(const int* lengths, int sequences, int kv_heads,
                                      int tile_tokens, DecodeBlocks use, int blocks, int block,
                                      int* scratch) {
  constexpr int kWarps = kThreads / kWarpLanes;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarpLanes, warp = thread / kWarpLanes;
  const int each = ceil_div(sequences, kThreads);
  const int first = thread * each;
  const int last = first + each < sequences ? first + each : sequences;
  int own = 0;
  for (int i = first; i < last; ++i) own += kv_heads * decode_unit_cost(lengths[i], tile_tokens);
  int up_to_own = own;
  FLEETSIM_UNROLL
  for (int distance = 1; distance < kWarpLanes; distance *= 2) {
    const int before = shuffle_up(up_to_own, distance);
    if (lane >= distance) up_to_own += before;
  }
  if (lane == kWarpLanes - 1) scratch[warp] = up_to_own;
  sync_block();
  int before = up_to_own - own, total = 0;
  FLEETSIM_UNROLL
  for (int i = 0; i < kWarps; ++i) {
    if (i < warp) before += scratch[i];
    total += scratch[i];
  }
  const DecodeShares shares = decode_shares(total, blocks, use);
  if (block < shares.blocks) {
    const int begin = decode_share_begin(shares, block);
    if (before <= begin && begin < before + own) {  // one thread
      int sequence = first, sequence_begin = before;
      while (true) {
        const int next =
            sequence_begin + kv_heads * decode_unit_cost(lengths[sequence], tile_tokens);
        if (begin < next) break;
        sequence_begin = next;
        ++sequence;
      }
      scratch[kWarps] = sequence;
      scratch[kWarps + 1] = sequence_begin;
    }
  }
  sync_block();
  if (block >= shares.blocks) return {};
  return decode_walk(lengths, kv_heads, tile_tokens, shares, block, scratch[kWarps],
                     scratch[kWarps + 1]);
}

/// What a row's softmax is so far: its largest score, unscaled, and the sum of its weights.
struct RowStats {
  float largest, weight;
};

/// Adds `part`, which saw a token, times 2^(its largest - the common largest), both growing.
FLEETSIM_DEVICE void add_part(float4& sum, RowStats& stats, float4 part, RowStats of_part,
                              float scale_log2) {
  const float largest = fmaxf(stats.largest, of_part.largest);
  const float keep = exp2_fast((stats.largest - largest) * scale_log2);
  const float add = exp2_fast((of_part.largest - largest) * scale_log2);
  sum.x = sum.x * keep + part.x * add;
  sum.y = sum.y * keep + part.y * add;
  sum.z = sum.z * keep + part.z * add;
  sum.w = sum.w * keep + part.w * add;
  stats.weight = stats.weight * keep + of_part.weight * add;
  stats.largest = largest;
}

}  // namespace fleetsim::kernels
