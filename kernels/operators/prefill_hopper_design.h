#pragma once
// What the warps of the Hopper prefill kernel (prefill_hopper_kernel.h) share: its designs, where
// things stand in shared memory, and the barriers between those who copy and those who compute.

#include "kernels/device/memory_access.h"
#include "kernels/device/tensor_map.h"
#include "kernels/device/warpgroup.h"
#include "kernels/operators/prefill_attention_hopper.h"
#include "kernels/operators/prefill_pieces.h"

namespace fleetsim::kernels::hopper {

constexpr int kStages = 2;  // of keys, and of values
constexpr int kOrders = 2;  // the piece under way and the next one
constexpr float kLog2E = 1.44269504088896340736F;
constexpr float kLn2 = 0.69314718055994530942F;
constexpr std::uint32_t kMinusInfinity = 0xff800000U;
constexpr int kProducerRegisters = 56, kConsumerRegisters = 224;
/// Named barriers: the turns of the consumers, then each one's own.
constexpr unsigned kTurn = 1, kOwn = 3;
enum ProducerWarp { kPlans, kCopies, kClears };

/// What is added up of cut tiles' pieces.
struct RowSums {
  float largest, sum;  // of scores, before the scale; of probabilities relative to it
};
struct Workspace {
  unsigned* next;     // piece to be drawn; 0 at rest. nullptr: no workspace
  unsigned* arrived;  // [places][2]: parts written of a tile's rows, by consumer; 0 at rest
  RowSums* sums;      // [places][128]
  float* out;         // [places][128][head_dim]
};

struct Parameters {
  PrefillAttentionArguments arguments;
  TileLengths lengths;
  Workspace workspace;
  int places;  // in the workspace; 0: tiles are not cut
  int group;
  int box_tokens;
  float scale_log2;  // softmax_scale * log2(e)
};

template <int kHeadDim_, int kConsumers_, bool kOverlap_>
struct Design {
  static constexpr int kHeadDim = kHeadDim_, kConsumers = kConsumers_;
  static constexpr bool kOverlap = kOverlap_;
  static constexpr int kRows = 64 * kConsumers;
  static constexpr int kThreads = kWarpgroupThreads * (1 + kConsumers);
  static constexpr int kConsumerWarps = kWarpgroupThreads / kWarpLanes * kConsumers;
  static constexpr int kRowBytes = kHeadDim * 2;
  static constexpr int kPanels = kRowBytes / kPanelRowBytes;
  static constexpr int kQueryPanel = kRows * kPanelRowBytes;
  static constexpr int kTilePanel = kTileKeys * kPanelRowBytes;
  static constexpr int kTileBytes = kPanels * kTilePanel;

  // offsets in shared memory
  static constexpr int kKeys = kRows * kRowBytes;  // behind the queries
  static constexpr int kValues = kKeys + kStages * kTileBytes;
  static constexpr int kOut = kValues + kStages * kTileBytes;
  static constexpr int kControl = kOut + kRows * kRowBytes;
};

/// A piece as the planning warp hands it to the others.
struct Order {
  int sequence, kv_head;
  int first_row;             // of `query` and `out`: that of the tile's first new token
  int first_token;           // the same, counted in its sequence
  int rows;                  // of the tile that exist
  int cached, keys;          // of the sequence
  int first_key, tiles;      // of the piece; first_key a multiple of 128. No tiles: the launch ends
  int first_copied;          // key before which boxes are not copied
  int clear_from, clear_to;  // keys that all rows see
  int number, pieces;        // of the tile
  int place;                 // of the tile among those cut

  /// Whether some values of key tile `tile` of the piece are not those of tokens.
  FLEETSIM_DEVICE bool has_gaps(int tile) const {
    const int first = first_key + tile * kTileKeys;
    return first < first_copied || first + kTileKeys > keys;
  }
};

struct Control {
  Mbarrier query_full, query_empty;
  Mbarrier keys_full[kStages], keys_empty[kStages];
  Mbarrier values_full[kStages], values_empty[kStages];
  Mbarrier values_landed[kStages];  // copied, with gaps to be cleared
  Mbarrier order_full[kOrders], order_empty[kOrders];
  Order orders[kOrders];
  PiecePlan plan;
  int comes_last[2];  // by consumer
};

FLEETSIM_DEVICE int smaller(int a, int b) { return a < b ? a : b; }
FLEETSIM_DEVICE int larger(int a, int b) { return a > b ? a : b; }

/// A place in a ring, counted up.
template <int kSlots>
struct Turn {
  int slot = 0;
  unsigned parity = 0;
  FLEETSIM_DEVICE void advance() {
    if (++slot == kSlots) {
      slot = 0;
      parity ^= 1;
    }
  }
};

template <class D>
FLEETSIM_DEVICE void init_barriers(Control* control) {
  constexpr unsigned kReaders = D::kConsumerWarps + 2;  // of an order: copying, clearing warp too
  barrier_init(&control->query_full, 1);
  barrier_init(&control->query_empty, D::kConsumerWarps);
  for (int i = 0; i < kStages; ++i) {
    barrier_init(&control->keys_full[i], 1);
    barrier_init(&control->keys_empty[i], D::kConsumerWarps);
    barrier_init(&control->values_full[i], 1);
    barrier_init(&control->values_empty[i], D::kConsumerWarps);
    barrier_init(&control->values_landed[i], 1);
  }
  for (int i = 0; i < kOrders; ++i) {
    barrier_init(&control->order_full[i], 1);
    barrier_init(&control->order_empty[i], kReaders);
  }
  fence_barrier_init();
}

}  // namespace fleetsim::kernels::hopper
