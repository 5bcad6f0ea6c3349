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
/// Warps of the producer. The last two turn values of e4m3; with bf16 one of them clears gaps, and
/// the other has nothing to do.
enum ProducerWarp { kPlans, kCopies, kClears };
constexpr int kTurningWarps = 2;

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
  PrefillBatch arguments;
  TileLengths lengths;
  Workspace workspace;
  int places;  // in the workspace; 0: tiles are not cut
  int group;
  int box_tokens;
  float scale_log2;   // softmax_scale * query_scale * key_scale * log2(e)
  float query_codes;  // 1 / query_scale
  float value_scale;
};

/// Element: of keys and values, and of what is multiplied. Queries come as bf16.
template <class Element_, int kHeadDim_, int kConsumers_, bool kOverlap_>
struct Design {
  using Element = Element_;
  static constexpr bool kIsBf16 = sizeof(Element) == 2;
  static constexpr int kHeadDim = kHeadDim_, kConsumers = kConsumers_;
  static constexpr bool kOverlap = kOverlap_;
  static constexpr int kRows = 64 * kConsumers;
  static constexpr int kThreads = kWarpgroupThreads * (1 + kConsumers);
  static constexpr int kConsumerWarps = kWarpgroupThreads / kWarpLanes * kConsumers;
  static constexpr int kQueryRowBytes = kHeadDim * 2;  // of outputs too
  static constexpr int kQueryPanels = kQueryRowBytes / kPanelRowBytes;
  static constexpr int kQueryPanel = kRows * kPanelRowBytes;
  static constexpr int kRowBytes = kHeadDim * static_cast<int>(sizeof(Element));
  static constexpr int kPanels = kRowBytes / kPanelRowBytes;
  static constexpr int kPanelValues = kPanelRowBytes / static_cast<int>(sizeof(Element));
  static constexpr int kTilePanel = kTileKeys * kPanelRowBytes;
  static constexpr int kTileBytes = kPanels * kTilePanel;
  static constexpr int kStep = 32 / static_cast<int>(sizeof(Element));  // K of a multiplication
  /// Probabilities are 2^kShift times as large as they are: e4m3 has the most room there (its
  /// largest is 448). The sums they are divided by are, too.
  static constexpr int kShift = kIsBf16 ? 0 : 8;
  static_assert(kPanels >= 1, "rows of keys fill panels");

  // offsets in shared memory
  static constexpr int kKeys = kRows * kQueryRowBytes;  // behind the queries
  static constexpr int kValues = kKeys + kStages * kTileBytes;
  static constexpr int kTurned = kValues + kStages * kTileBytes;  // e4m3: values, rows along keys
  static constexpr int kCodes = kTurned + (kIsBf16 ? 0 : kStages * kTileBytes);  // e4m3: queries
  static constexpr int kOut = kCodes + (kIsBf16 ? 0 : kRows * kRowBytes);
  static constexpr int kControl = kOut + kRows * kQueryRowBytes;
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
  Mbarrier values_landed[kStages];  // copied, to be turned, or with gaps to be cleared
  Mbarrier values_turned[kStages];  // e4m3: read by those who turn them
  Mbarrier order_full[kOrders], order_empty[kOrders];
  Order orders[kOrders];
  PiecePlan plan;
  int comes_last[2];  // by consumer
};

FLEETSIM_DEVICE int smaller(int a, int b) { return a < b ? a : b; }
FLEETSIM_DEVICE int larger(int a, int b) { return a > b ? a : b; }

template <class D>
FLEETSIM_DEVICE void init_barriers(Control* control) {
  // of an order: the copying warp, and those that clear or turn, too
  constexpr unsigned kReaders = D::kConsumerWarps + 1 + (D::kIsBf16 ? 1 : kTurningWarps);
  barrier_init(&control->query_full, 1);
  barrier_init(&control->query_empty, D::kConsumerWarps);
  for (int i = 0; i < kStages; ++i) {
    barrier_init(&control->keys_full[i], 1);
    barrier_init(&control->keys_empty[i], D::kConsumerWarps);
    barrier_init(&control->values_full[i], D::kIsBf16 ? 1 : kTurningWarps);
    barrier_init(&control->values_empty[i], D::kConsumerWarps);
    barrier_init(&control->values_landed[i], 1);
    barrier_init(&control->values_turned[i], kTurningWarps);
  }
  for (int i = 0; i < kOrders; ++i) {
    barrier_init(&control->order_full[i], 1);
    barrier_init(&control->order_empty[i], kReaders);
  }
  fence_barrier_init();
}

/// The order in a slot; the caller is done with it when it has called `done_with_order`.
FLEETSIM_DEVICE const Order& wait_for_order(Control* control, const Turn<kOrders>& turn) {
  barrier_wait(&control->order_full[turn.slot], turn.parity);
  return control->orders[turn.slot];
}
FLEETSIM_DEVICE void done_with_order(Control* control, Turn<kOrders>& turn) {
  sync_warp();
  if (threadIdx.x % kWarpLanes == 0) barrier_arrive(&control->order_empty[turn.slot]);
  turn.advance();
}

}  // namespace fleetsim::kernels::hopper
