#pragma once
// The producer warps of the Hopper prefill kernel (prefill_hopper_kernel.h): planning, copying,
// clearing gaps, turning values of e4m3.

#include "kernels/device/tensor_core.h"
#include "kernels/operators/prefill_hopper_design.h"

namespace fleetsim::kernels::hopper {

// Planning ------------------------------------------------------------------------------------

template <class D>
FLEETSIM_DEVICE Order order_of(const Parameters& p, const PiecePlan& plan, const Piece& piece) {
  const TileLengths& lengths = p.lengths;
  const int sequence = piece.tile.sequence;
  Order order;
  order.sequence = sequence;
  order.kv_head = piece.kv_head;
  order.first_token = piece.tile.number * lengths.tile_tokens;
  order.first_row = lengths.query_starts[sequence] + order.first_token;
  const int new_tokens = lengths.new_tokens(sequence);
  const int tokens = smaller(lengths.tile_tokens, new_tokens - order.first_token);
  order.rows = tokens * p.group;
  order.cached = lengths.cached_lengths[sequence];
  order.keys = order.cached + new_tokens;
  const bool causal = lengths.causal;
  const int first_end = causal ? order.cached + order.first_token + 1 : order.keys;
  const int last_end = causal ? first_end + tokens - 1 : order.keys;
  const int window = p.arguments.window;
  const int first_seen = window > 0 ? larger(0, first_end - window) : 0;
  order.first_copied = first_seen / p.box_tokens * p.box_tokens;
  order.clear_from = window > 0 ? larger(0, last_end - window) : 0;
  const bool tree = p.arguments.tree_masks != nullptr && new_tokens <= kTreeTokensMax;
  order.clear_to = tree ? order.cached : first_end;
  const int first_tile = first_seen / kTileKeys;
  const int tiles = ceil_div(last_end, kTileKeys) - first_tile;
  order.number = piece.number;
  order.place = piece.place;
  order.pieces = ceil_div(tiles, plan.piece_tiles);
  order.first_key = (first_tile + piece.number * plan.piece_tiles) * kTileKeys;
  // none: ranks go by a bound of what a window shows, and this tile sees less
  order.tiles = smaller(plan.piece_tiles, tiles - piece.number * plan.piece_tiles);
  return order;
}

/// The planning warp.
template <class D>
FLEETSIM_DEVICE void plan_pieces(const Parameters& p, Control* control) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int blocks = static_cast<int>(gridDim.x), block = static_cast<int>(blockIdx.x);
  const PiecePlan& plan = control->plan;
  int number = plan.numbers - 1;
  Turn<kOrders> turn;
  for (int round = 0;;) {
    barrier_wait(&control->order_empty[turn.slot], turn.parity ^ 1);
    Order order;
    int id;
    do {
      id = round * blocks + (round % 2 == 0 ? block : blocks - 1 - block);
      ++round;
      if (p.workspace.next != nullptr) {
        if (lane == 0) id = static_cast<int>(atomic_add(p.workspace.next, 1U));
        id = shuffle(id, 0);
      }
      order = {};
      if (id < plan.ids)
        order = order_of<D>(p, plan, find_piece(plan, p.lengths, p.arguments.kv_heads, id, number));
    } while (order.tiles <= 0 && id < plan.ids);
    if (lane == 0) {
      control->orders[turn.slot] = order;
      barrier_arrive(&control->order_full[turn.slot]);
      // every block draws one number that is no piece: this is the last of them
      if (p.workspace.next != nullptr && id == plan.ids + blocks - 1) *p.workspace.next = 0;
    }
    if (order.tiles == 0) return;
    turn.advance();
  }
}

// Copying -------------------------------------------------------------------------------------

/// What a lane copies of each tile of keys, and of values: a box of one panel.
template <class D>
struct BoxOfLane {
  int first_token;  // of the box, in its tile
  int panel;
  bool exists;

  FLEETSIM_DEVICE BoxOfLane(int lane, int box_tokens) {
    const int boxes = kTileKeys / box_tokens;
    panel = lane / boxes;
    first_token = lane % boxes * box_tokens;
    exists = panel < D::kPanels;
  }
  FLEETSIM_DEVICE bool copies(const Order& order, int tile) const {
    const int token = order.first_key + tile * kTileKeys + first_token;
    return exists && tile < order.tiles && token < order.keys && token >= order.first_copied;
  }
  /// The page that holds the lane's box of a tile; 0 where it has none.
  FLEETSIM_DEVICE int page(const Parameters& p, const Order& order, int tile) const {
    if (!copies(order, tile)) return 0;
    const int token = order.first_key + tile * kTileKeys + first_token;
    return p.arguments
        .page_table[static_cast<std::size_t>(order.sequence) * p.arguments.pages_per_sequence +
                    token / p.arguments.page_tokens];
  }
};

/// Starts the copy of a tile to `to`; it completes on `full`. The copying warp together.
template <class D>
FLEETSIM_DEVICE void copy_tile(const Parameters& p, const TensorMap& map, const Order& order,
                               int tile, const BoxOfLane<D>& box, int page, unsigned char* to,
                               Mbarrier* full) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const bool copies = box.copies(order, tile);
  int boxes = 0;
  for (unsigned left = vote(copies); left != 0; left &= left - 1) ++boxes;
  if (lane == 0)
    barrier_arrive_expecting(full,
                             static_cast<std::uint32_t>(boxes * p.box_tokens * kPanelRowBytes));
  sync_warp();
  if (!copies) return;
  const int token = order.first_key + tile * kTileKeys + box.first_token;
  copy_tensor_to_shared(to + box.panel * D::kTilePanel + box.first_token * kPanelRowBytes, map,
                        {box.panel * D::kPanelValues, token % p.arguments.page_tokens,
                         page * p.arguments.kv_heads + order.kv_head},
                        full);
}

/// The copying warp. The scores of a tile are computed a step before its values are used, and so
/// keys come a tile ahead.
template <class D>
FLEETSIM_DEVICE void copy_pieces(const Parameters& p, const TensorMap& queries,
                                 const TensorMap& keys, const TensorMap& values, Control* control) {
  unsigned char* const shared = dynamic_shared_memory();
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const BoxOfLane<D> box(lane, p.box_tokens);
  const int tile_rows = p.lengths.tile_tokens * p.group;
  Turn<kOrders> turn;
  Turn<kStages> key_turn, value_turn;
  Turn<1> query_turn;
  const auto copy_keys = [&](const Order& order, int tile, int page) {
    barrier_wait(&control->keys_empty[key_turn.slot], key_turn.parity ^ 1);
    copy_tile<D>(p, keys, order, tile, box, page, shared + D::kKeys + key_turn.slot * D::kTileBytes,
                 &control->keys_full[key_turn.slot]);
    key_turn.advance();
  };
  const auto copy_values = [&](const Order& order, int tile, int page) {
    Mbarrier* const empty = D::kIsBf16 ? control->values_empty : control->values_turned;
    barrier_wait(&empty[value_turn.slot], value_turn.parity ^ 1);
    copy_tile<D>(p, values, order, tile, box, page,
                 shared + D::kValues + value_turn.slot * D::kTileBytes,
                 !D::kIsBf16 || order.has_gaps(tile) ? &control->values_landed[value_turn.slot]
                                                     : &control->values_full[value_turn.slot]);
    value_turn.advance();
  };
  while (true) {
    const Order& order = wait_for_order(control, turn);
    const int tiles = order.tiles;
    if (tiles == 0) return;
    int page = box.page(p, order, 0);
    int next_page = box.page(p, order, 1);
    copy_keys(order, 0, page);
    barrier_wait(&control->query_empty, query_turn.parity ^ 1);
    // lanes that still wait must not miss this phase: a piece of one tile is soon done with its
    // queries, and then the next phase ends too
    sync_warp();
    query_turn.advance();
    if (lane == 0) {
      barrier_arrive_expecting(
          &control->query_full,
          static_cast<std::uint32_t>(D::kQueryPanels * tile_rows * kPanelRowBytes));
      for (int panel = 0; panel < D::kQueryPanels; ++panel)
        copy_tensor_to_shared(shared + panel * D::kQueryPanel, queries,
                              {panel * 64, order.kv_head * p.group, order.first_row},
                              &control->query_full);
    }
    sync_warp();
    for (int tile = 0; tile < tiles; ++tile) {
      const int page_after = box.page(p, order, tile + 2);
      if (tile + 1 < tiles) copy_keys(order, tile + 1, next_page);
      copy_values(order, tile, page);
      page = next_page;
      next_page = page_after;
    }
    done_with_order(control, turn);
  }
}

/// The clearing warp: zeros where values of a tile are not those of tokens.
template <class D>
FLEETSIM_DEVICE void clear_gaps(Control* control) {
  unsigned char* const shared = dynamic_shared_memory();
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  Turn<kOrders> turn;
  int slot = 0;           // of values, where the piece begins
  unsigned parities = 0;  // of the landings to come, a bit a stage
  while (true) {
    const Order& order = wait_for_order(control, turn);
    const int tiles = order.tiles;
    if (tiles == 0) return;
    for (int tile = 0; tile < tiles; tile += tile == 0 && tiles > 1 ? tiles - 1 : 1) {
      if (!order.has_gaps(tile)) continue;
      const int stage = (slot + tile) % kStages;
      barrier_wait(&control->values_landed[stage], parities >> stage & 1);
      parities ^= 1U << stage;
      const int first = order.first_key + tile * kTileKeys;
      unsigned char* const values = shared + D::kValues + stage * D::kTileBytes;
      for (int row = lane; row < kTileKeys; row += kWarpLanes) {
        if (first + row >= order.first_copied && first + row < order.keys) continue;
        for (int panel = 0; panel < D::kPanels; ++panel)
          for (int at = 0; at < kPanelRowBytes; at += 16)
            store_16(values + panel * D::kTilePanel + row * kPanelRowBytes + at, uint4{0, 0, 0, 0});
      }
      fence_before_matrix_reads();
      sync_warp();
      if (lane == 0) barrier_arrive(&control->values_full[stage]);
    }
    slot = (slot + tiles) % kStages;
    done_with_order(control, turn);
  }
}

// Turning -------------------------------------------------------------------------------------

/// The values of 32 keys and 16 dimensions, turned. wgmma wants e4m3 values in rows along keys, and
/// probabilities of 32 keys in registers such that a thread t of four has keys 4t to 4t + 3 and
/// 16 + 4t to 16 + 4t + 3; out of the scores it has keys 2t, 2t + 1, and these plus 8, 16 and 24.
/// So keys stand in the order in which threads have them: place 4t + i of the first 16 is key
/// 2t + i % 2 + i / 2 * 8, and the others follow 16 further. ldmatrix gives a lane 4g + t two
/// neighbouring dimensions of keys 2t and 2t + 1 (of each 8), which is what two such rows want.
FLEETSIM_DEVICE void turn_block(const unsigned char* values, unsigned char* turned, int step,
                                int piece, int first_valid, int end_valid) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  std::uint32_t codes[4];
  load_matrix_x4_transposed(codes, values + panel_offset(32 * step + lane, piece));
  FLEETSIM_UNROLL
  for (int m = 0; m < 4; ++m) {
    const int key = 32 * step + 8 * m + lane % 4 * 2;
    if (key < first_valid || key >= end_valid) codes[m] &= 0xffff0000U;
    if (key + 1 < first_valid || key + 1 >= end_valid) codes[m] &= 0x0000ffffU;
    codes[m] = swap_inner_bytes(codes[m]);  // the lower dimension's two, the higher one's two
  }
  const int row = 16 * piece + lane / 4 * 2;  // dimension
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    const std::uint32_t low = codes[2 * half], high = codes[2 * half + 1];
    const int at = 2 * step + half;
    *reinterpret_cast<std::uint32_t*>(turned + panel_offset(row, at) + lane % 4 * 4) =
        (low & 0xffffU) | high << 16;
    *reinterpret_cast<std::uint32_t*>(turned + panel_offset(row + 1, at) + lane % 4 * 4) =
        low >> 16 | (high & 0xffff0000U);
  }
}

/// Turning warp `number` of kTurningWarps; zeros where values of a tile are not those of tokens.
template <class D>
FLEETSIM_DEVICE void turn_values(Control* control, int number) {
  constexpr int kPieces = D::kHeadDim / 16 / kTurningWarps;
  unsigned char* const shared = dynamic_shared_memory();
  Turn<kOrders> turn;
  Turn<kStages> value_turn;
  while (true) {
    const Order& order = wait_for_order(control, turn);
    const int tiles = order.tiles;
    if (tiles == 0) return;
    for (int tile = 0; tile < tiles; ++tile) {
      const int stage = value_turn.slot;
      barrier_wait(&control->values_landed[stage], value_turn.parity);
      barrier_wait(&control->values_empty[stage], value_turn.parity ^ 1);
      const int first = order.first_key + tile * kTileKeys;
      const int first_valid = order.first_copied - first, end_valid = order.keys - first;
      FLEETSIM_NO_UNROLL
      for (int step = 0; step < kTileKeys / 32; ++step) {
        FLEETSIM_UNROLL
        for (int piece = number * kPieces; piece < (number + 1) * kPieces; ++piece)
          turn_block(shared + D::kValues + stage * D::kTileBytes,
                     shared + D::kTurned + stage * D::kTileBytes, step, piece, first_valid,
                     end_valid);
      }
      fence_before_matrix_reads();
      sync_warp();
      if (threadIdx.x % kWarpLanes == 0) {
        barrier_arrive(&control->values_turned[stage]);
        barrier_arrive(&control->values_full[stage]);
      }
      value_turn.advance();
    }
    done_with_order(control, turn);
  }
}

}  // namespace fleetsim::kernels::hopper
