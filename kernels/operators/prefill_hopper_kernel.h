#pragma once
// Paged prefill attention for sm_90a: tensor copies by a producer warpgroup, wgmma by one or two
// consumer warpgroups of 64 rows each. FlashAttention-3 is the model (Shah et al. 2024).
//
// - One block a multiprocessor stays for the whole launch and takes pieces of query tiles, longest
//   first (prefill_pieces.h). Warps of the producer: one plans (draws the next piece from a counter
//   in the workspace while the current one is computed on), one copies, one clears.
// - Rows of a tile are (new token, head of the group) pairs: boxes of the query's tensor map bring
//   all heads of a group, so that short chunks fill rows with heads that share their keys. A group
//   that does not divide the rows leaves the last ones of a tile idle.
// - Keys and values: tiles of 128 tokens, two stages each. A box is what lies in one page (a power
//   of two of tokens, at most 128: pages of 48 come in boxes of 16), a lane copies a box, and page
//   numbers are read two tiles ahead. Boxes without a token of the sequence, or wholly before all
//   windows, are not copied.
// - Rows of values that were not copied, or lie behind the sequence's end, may be NaN, and 0 * NaN
//   would reach the sums. The clearing warp waits for such tiles, writes zeros and lets them pass;
//   others it does not touch. Scores of such keys are masked, whatever they are.
// - Overlap, in the order of FlashAttention-3: scores of tile j + 1 and the product of tile j's
//   probabilities with its values are issued together; the softmax of j + 1 runs while the tensor
//   cores are at the values. With two consumers, barriers hand the right to issue to and fro
//   ("ping-pong"), so that one is at its softmax while the other multiplies.
// - Pieces of cut tiles go to the workspace as sums that are not yet divided; who comes last adds
//   them up in the order of their numbers, so the result does not depend on timing.
//
// Registers, head_dim 128: 64 of output, 64 of scores, 32 of probabilities a thread; consumers take
// 224 of those that the producer gives up. Shared memory: 32 KiB of queries, 2 x 32 of keys, 2 x 32
// of values, 32 of output on its way: 192 KiB.

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
                        {box.panel * 64, token % p.arguments.page_tokens,
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
    barrier_wait(&control->values_empty[value_turn.slot], value_turn.parity ^ 1);
    copy_tile<D>(p, values, order, tile, box, page,
                 shared + D::kValues + value_turn.slot * D::kTileBytes,
                 order.has_gaps(tile) ? &control->values_landed[value_turn.slot]
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
    query_turn.advance();
    if (lane == 0) {
      barrier_arrive_expecting(&control->query_full,
                               static_cast<std::uint32_t>(D::kPanels * tile_rows * kPanelRowBytes));
      for (int panel = 0; panel < D::kPanels; ++panel)
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

// Computing -----------------------------------------------------------------------------------

/// Which rows of the tile a thread of a consumer has: `row` and the one 8 below.
struct Place {
  int consumer, warp, lane;
  int row;

  FLEETSIM_DEVICE Place() {
    const int thread = static_cast<int>(recomputed(threadIdx.x)) - kWarpgroupThreads;
    consumer = thread / kWarpgroupThreads;
    warp = thread % kWarpgroupThreads / kWarpLanes;
    lane = thread % kWarpLanes;
    row = consumer * 64 + warp * 16 + lane / 4;
  }
  /// The first of a thread's columns.
  FLEETSIM_DEVICE int column() const { return lane % 4 * 2; }
};

/// The state of a thread's two rows. Sums are of this thread's columns only until the end.
struct RowState {
  float largest[2], sum[2];
};

/// Scores of keys that a row does not see become minus infinity.
FLEETSIM_DEVICE void mask(const Parameters& p, const Order& order, int first_key,
                          float (&scores)[kTileKeys / 2]) {
  const Place at;
  const TileRows rows(0, p.group);
  const PrefillAttentionArguments& a = p.arguments;
  const int tokens = order.keys - order.cached;
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    // rows that do not exist are treated as the last token's
    const int token = smaller(order.first_token + rows.token(at.row + 8 * half), tokens - 1);
    const int limit = a.causal ? order.cached + token + 1 : order.keys;
    const int first = first_key + at.column();
    const int end = limit - first;
    const int begin = a.window > 0 ? end - a.window : -kTileKeys;
    FLEETSIM_UNROLL
    for (int j = 0; j < kTileKeys / 8; ++j) {
      FLEETSIM_UNROLL
      for (int i = 0; i < 2; ++i)
        if (8 * j + i >= end || 8 * j + i < begin)
          scores[4 * j + 2 * half + i] = float_of_bits(kMinusInfinity);
    }
    if (a.tree_masks == nullptr || tokens > kTreeTokensMax) continue;
    const std::uint64_t seen = a.tree_masks[order.first_row - order.first_token + token];
    const int first_new = first - order.cached;  // which new token this thread's first key is
    FLEETSIM_UNROLL
    for (int j = 0; j < kTileKeys / 8; ++j) {
      FLEETSIM_UNROLL
      for (int i = 0; i < 2; ++i) {
        const int other = first_new + 8 * j + i;
        if (other >= 0 && other < kTreeTokensMax && (seen >> other & 1) == 0)
          scores[4 * j + 2 * half + i] = float_of_bits(kMinusInfinity);
      }
    }
  }
}

/// Takes the maxima of a tile into the rows; `factor` is what was summed so far is to be multiplied
/// with, `shift` what is added to scaled scores. A row may have seen no key yet: then its factor is
/// 0 and its shift finite.
FLEETSIM_DEVICE void take_maxima(const float (&scores)[kTileKeys / 2], float scale_log2,
                                 RowState& rows, float (&factor)[2], float (&shift)[2]) {
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    float largest = rows.largest[half];
    FLEETSIM_UNROLL
    for (int j = 0; j < kTileKeys / 8; ++j)
      largest = fmaxf(largest, fmaxf(scores[4 * j + 2 * half], scores[4 * j + 2 * half + 1]));
    largest = fmaxf(largest, shuffle_xor(largest, 1));
    largest = fmaxf(largest, shuffle_xor(largest, 2));
    const float base = largest == float_of_bits(kMinusInfinity) ? 0.0F : largest;
    factor[half] = exp2_fast((rows.largest[half] - base) * scale_log2);
    shift[half] = -base * scale_log2;
    rows.largest[half] = largest;
    rows.sum[half] *= factor[half];
  }
}

FLEETSIM_DEVICE void take_exponentials(float (&scores)[kTileKeys / 2], float scale_log2,
                                       const float (&shift)[2], RowState& rows) {
  FLEETSIM_UNROLL
  for (int i = 0; i < kTileKeys / 2; ++i) {
    const int half = i / 2 % 2;
    scores[i] = exp2_fast(fmaf(scores[i], scale_log2, shift[half]));
    rows.sum[half] += scores[i];
  }
}

/// Scores' places are those that A of the next product wants in registers.
FLEETSIM_DEVICE void pack(const float (&scores)[kTileKeys / 2],
                          std::uint32_t (&probabilities)[kTileKeys / 16][4]) {
  FLEETSIM_UNROLL
  for (int k = 0; k < kTileKeys / 16; ++k) {
    FLEETSIM_UNROLL
    for (int i = 0; i < 4; ++i)
      probabilities[k][i] = pack_bf16(scores[8 * k + 2 * i], scores[8 * k + 2 * i + 1]);
  }
}

template <class D>
struct Consumer {
  const Parameters& p;
  Control* control;
  SharedOperand queries, keys, values;  // of this consumer's rows; of stage 0
  Turn<kStages> key_turn, value_turn;
  RowState rows;
  float out[D::kHeadDim / 2];

  FLEETSIM_DEVICE Consumer(const Parameters& parameters, Control* of_block)
      : p(parameters), control(of_block) {
    unsigned char* const shared = dynamic_shared_memory();
    queries = shared_operand(shared + Place().consumer * 64 * kPanelRowBytes);
    keys = shared_operand(shared + D::kKeys);
    values = shared_operand(shared + D::kValues, D::kTilePanel);
  }

  FLEETSIM_DEVICE static void arrive(Mbarrier* barrier) {
    sync_warp();
    if (threadIdx.x % kWarpLanes == 0) barrier_arrive(barrier);
  }
  FLEETSIM_DEVICE void wait_keys() {
    barrier_wait(&control->keys_full[key_turn.slot], key_turn.parity);
  }
  FLEETSIM_DEVICE void wait_values() {
    barrier_wait(&control->values_full[value_turn.slot], value_turn.parity);
  }
  FLEETSIM_DEVICE void release_keys() {
    arrive(&control->keys_empty[key_turn.slot]);
    key_turn.advance();
  }
  FLEETSIM_DEVICE void release_values() {
    arrive(&control->values_empty[value_turn.slot]);
    value_turn.advance();
  }

  /// Issues scores = Q K^T of the tile of keys in turn.
  FLEETSIM_DEVICE void issue_scores(float (&scores)[kTileKeys / 2]) {
    const SharedOperand tile = keys + key_turn.slot * D::kTileBytes;
    warpgroup_fence();
    FLEETSIM_UNROLL
    for (int k = 0; k < D::kHeadDim / 16; ++k)
      warpgroup_multiply<Bf16, kTileKeys>(scores, queries + (k / 4 * D::kQueryPanel + k % 4 * 32),
                                          tile + (k / 4 * D::kTilePanel + k % 4 * 32), k > 0);
    warpgroup_commit();
  }
  /// Issues out += P V of the tile of values in turn.
  FLEETSIM_DEVICE void issue_out(const std::uint32_t (&probabilities)[kTileKeys / 16][4]) {
    const SharedOperand tile = values + value_turn.slot * D::kTileBytes;
    warpgroup_fence();
    FLEETSIM_UNROLL
    for (int k = 0; k < kTileKeys / 16; ++k)
      warpgroup_multiply<Bf16, D::kHeadDim, Major::n>(out, probabilities[k],
                                                      tile + k * 16 * kPanelRowBytes, true);
    warpgroup_commit();
  }
  FLEETSIM_DEVICE void rescale(const float (&factor)[2]) {
    FLEETSIM_UNROLL
    for (int i = 0; i < D::kHeadDim / 2; ++i) out[i] *= factor[i / 2 % 2];
  }
  FLEETSIM_DEVICE void mask_edges(const Order& order, int tile, float (&scores)[kTileKeys / 2]) {
    const int first_key = order.first_key + tile * kTileKeys;
    if (first_key < order.clear_from || first_key + kTileKeys > order.clear_to)
      mask(p, order, first_key, scores);
  }

  /// One product after the other.
  FLEETSIM_DEVICE void attend_in_steps(const Order& order) {
    const int tiles = order.tiles;
    FLEETSIM_NO_UNROLL
    for (int tile = 0; tile < tiles; ++tile) {
      float scores[kTileKeys / 2], factor[2], shift[2];
      std::uint32_t probabilities[kTileKeys / 16][4];
      wait_keys();
      issue_scores(scores);
      warpgroup_wait<0>();
      keep_behind(scores);
      release_keys();
      if (tile + 1 == tiles) arrive(&control->query_empty);
      mask_edges(order, tile, scores);
      take_maxima(scores, p.scale_log2, rows, factor, shift);
      take_exponentials(scores, p.scale_log2, shift, rows);
      pack(scores, probabilities);
      rescale(factor);
      wait_values();
      issue_out(probabilities);
      warpgroup_wait<0>();
      keep_behind(out);
      release_values();
    }
  }

  /// The softmax of a tile while the values of the one before are multiplied. `in_turn`: the other
  /// consumer works on the same piece.
  FLEETSIM_DEVICE void attend_overlapped(const Order& order, bool in_turn) {
    const int tiles = order.tiles;
    float scores[kTileKeys / 2], factor[2], shift[2];
    std::uint32_t probabilities[kTileKeys / 16][4];
    const unsigned own = kTurn + static_cast<unsigned>(Place().consumer);
    wait_keys();
    issue_scores(scores);
    warpgroup_wait<0>();
    keep_behind(scores);
    release_keys();
    mask_edges(order, 0, scores);
    take_maxima(scores, p.scale_log2, rows, factor, shift);
    take_exponentials(scores, p.scale_log2, shift, rows);
    pack(scores, probabilities);
    FLEETSIM_NO_UNROLL
    for (int tile = 1; tile < tiles; ++tile) {
      wait_keys();
      if (in_turn) sync_threads(own, 2 * kWarpgroupThreads);
      issue_scores(scores);
      wait_values();
      issue_out(probabilities);
      if (in_turn) arrive_threads(2 * kTurn + 1 - own, 2 * kWarpgroupThreads);
      warpgroup_wait<1>();
      keep_behind(scores);
      release_keys();
      mask_edges(order, tile, scores);
      take_maxima(scores, p.scale_log2, rows, factor, shift);
      take_exponentials(scores, p.scale_log2, shift, rows);
      warpgroup_wait<0>();
      keep_behind(out);
      release_values();
      pack(scores, probabilities);
      rescale(factor);
    }
    arrive(&control->query_empty);
    wait_values();
    issue_out(probabilities);
    warpgroup_wait<0>();
    keep_behind(out);
    release_values();
  }

  /// A piece of which this consumer has no rows: the tiles pass.
  FLEETSIM_DEVICE void pass(const Order& order) {
    for (int tile = 0; tile < order.tiles; ++tile) {
      wait_keys();
      release_keys();
      if (tile + 1 == order.tiles) arrive(&control->query_empty);
      wait_values();
      release_values();
    }
  }

  /// Where a row of the tile stands in `log_sum_exp`, and times head_dim in `out`.
  FLEETSIM_DEVICE std::size_t row_of_out(const Order& order, const TileRows& tile_rows,
                                         int row) const {
    return static_cast<std::size_t>(order.first_row + tile_rows.token(row)) *
               p.arguments.query_heads +
           static_cast<std::size_t>(order.kv_head) * p.group + tile_rows.head(row);
  }

  /// Normalises and writes a tile that is whole: through shared memory, so that stores are of whole
  /// rows. A warp writes its own 16 rows.
  FLEETSIM_DEVICE void write_out(const Order& order) {
    constexpr int kPieces = D::kRowBytes / 16;
    const Place at;
    const TileRows tile_rows(0, p.group);
    unsigned char* const staged =
        dynamic_shared_memory() + D::kOut + (at.row - at.lane / 4) * D::kRowBytes;
    FLEETSIM_UNROLL
    for (int half = 0; half < 2; ++half) {
      const float inverse = 1.0F / rows.sum[half];
      const int own = at.lane / 4 + 8 * half;  // of the warp's rows
      FLEETSIM_UNROLL
      for (int j = 0; j < D::kHeadDim / 8; ++j)
        *reinterpret_cast<std::uint32_t*>(staged + own * D::kRowBytes + ((j ^ (own & 7)) * 16) +
                                          at.lane % 4 * 4) =
            pack_bf16(out[4 * j + 2 * half] * inverse, out[4 * j + 2 * half + 1] * inverse);
      const int row = at.row + 8 * half;
      if (p.arguments.log_sum_exp != nullptr && at.lane % 4 == 0 && row < order.rows)
        p.arguments.log_sum_exp[row_of_out(order, tile_rows, row)] =
            rows.largest[half] * p.scale_log2 * kLn2 + logf(rows.sum[half]);
    }
    sync_warp();
    const int first = at.row - at.lane / 4;
    FLEETSIM_UNROLL
    for (int i = at.lane; i < 16 * kPieces; i += kWarpLanes) {
      const int own = i / kPieces, piece = i % kPieces;
      if (first + own >= order.rows) continue;
      store_16(
          p.arguments.out + row_of_out(order, tile_rows, first + own) * D::kHeadDim + piece * 8,
          *reinterpret_cast<const uint4*>(staged + own * D::kRowBytes +
                                          ((piece ^ (own & 7)) * 16)));
    }
    sync_warp();  // before the next piece is staged
  }

  /// Writes what a piece adds to its tile.
  FLEETSIM_DEVICE void write_part(const Order& order) {
    const Place at;
    const std::size_t place =
        static_cast<std::size_t>(control->plan.begins[order.number] + order.place);
    FLEETSIM_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = at.row + 8 * half;
      if (row >= order.rows) continue;
      const std::size_t to = place * 128 + static_cast<std::size_t>(row);
      if (at.lane % 4 == 0) p.workspace.sums[to] = {rows.largest[half], rows.sum[half]};
      FLEETSIM_UNROLL
      for (int j = 0; j < D::kHeadDim / 8; ++j)
        *reinterpret_cast<float2*>(p.workspace.out + to * D::kHeadDim + 8 * j + at.column()) = {
            out[4 * j + 2 * half], out[4 * j + 2 * half + 1]};
    }
  }

  /// Adds up the parts of this consumer's rows in the order of their numbers.
  FLEETSIM_DEVICE void combine(const Order& order) const {
    constexpr int kFours = D::kHeadDim / 4;
    constexpr int kAtOnce = 4;  // reads under way
    const Place at;
    const TileRows tile_rows(0, p.group);
    const int first_row = at.consumer * 64;
    const int count = smaller(64, order.rows - first_row) * kFours;
    for (int i = at.warp * kWarpLanes + at.lane; i < count; i += kWarpgroupThreads) {
      const int row = first_row + i / kFours, dimension = i % kFours * 4;
      RowSums total = {float_of_bits(kMinusInfinity), 0};
      float sum[4] = {0, 0, 0, 0};
      for (int first = 0; first < order.pieces; first += kAtOnce) {
        uint4 part[kAtOnce];
        RowSums of_part[kAtOnce];
        FLEETSIM_UNROLL
        for (int k = 0; k < kAtOnce; ++k) {
          const int number = smaller(first + k, order.pieces - 1);
          const std::size_t from =
              static_cast<std::size_t>(control->plan.begins[number] + order.place) * 128 +
              static_cast<std::size_t>(row);
          part[k] = load_16_coherent(p.workspace.out + from * D::kHeadDim + dimension);
          of_part[k] = p.workspace.sums[from];
        }
        FLEETSIM_UNROLL
        for (int k = 0; k < kAtOnce; ++k) {
          if (first + k >= order.pieces) continue;
          const float largest = fmaxf(total.largest, of_part[k].largest);
          const float base = largest == float_of_bits(kMinusInfinity) ? 0.0F : largest;
          const float keep = exp2_fast((total.largest - base) * p.scale_log2);
          const float add = exp2_fast((of_part[k].largest - base) * p.scale_log2);
          sum[0] = sum[0] * keep + float_of_bits(part[k].x) * add;
          sum[1] = sum[1] * keep + float_of_bits(part[k].y) * add;
          sum[2] = sum[2] * keep + float_of_bits(part[k].z) * add;
          sum[3] = sum[3] * keep + float_of_bits(part[k].w) * add;
          total.sum = total.sum * keep + of_part[k].sum * add;
          total.largest = largest;
        }
      }
      const float inverse = 1.0F / total.sum;
      const std::size_t to = row_of_out(order, tile_rows, row);
      *reinterpret_cast<uint2*>(p.arguments.out + to * D::kHeadDim + dimension) = {
          pack_bf16(sum[0] * inverse, sum[1] * inverse),
          pack_bf16(sum[2] * inverse, sum[3] * inverse)};
      if (dimension == 0 && p.arguments.log_sum_exp != nullptr)
        p.arguments.log_sum_exp[to] = total.largest * p.scale_log2 * kLn2 + logf(total.sum);
    }
  }

  FLEETSIM_DEVICE void finish(const Order& order) {
    FLEETSIM_UNROLL
    for (int half = 0; half < 2; ++half) {
      rows.sum[half] += shuffle_xor(rows.sum[half], 1);
      rows.sum[half] += shuffle_xor(rows.sum[half], 2);
    }
    if (order.pieces == 1) return write_out(order);
    const Place at;
    const unsigned own = kOwn + static_cast<unsigned>(at.consumer);
    const bool first_thread = at.warp == 0 && at.lane == 0;
    write_part(order);
    fence_device();
    sync_threads(own, kWarpgroupThreads);
    unsigned* arrived = p.workspace.arrived + 2 * order.place + at.consumer;
    if (first_thread)
      control->comes_last[at.consumer] =
          add_release(arrived, 1U) == static_cast<unsigned>(order.pieces - 1) ? 1 : 0;
    sync_threads(own, kWarpgroupThreads);
    if (control->comes_last[at.consumer] == 0) return;
    fence_device();
    combine(order);
    if (first_thread) *arrived = 0;
  }

  FLEETSIM_DEVICE void run() {
    const int consumer = Place().consumer;
    // the first turn is consumer 0's
    if (D::kOverlap && D::kConsumers == 2 && consumer == 1)
      arrive_threads(kTurn, 2 * kWarpgroupThreads);
    Turn<kOrders> turn;
    Turn<1> query_turn;
    while (true) {
      const Order& order = wait_for_order(control, turn);
      if (order.tiles == 0) return;
      if (order.rows > consumer * 64) {
        FLEETSIM_UNROLL
        for (int half = 0; half < 2; ++half) {
          rows.largest[half] = float_of_bits(kMinusInfinity);
          rows.sum[half] = 0;
        }
        FLEETSIM_UNROLL
        for (int i = 0; i < D::kHeadDim / 2; ++i) out[i] = 0;
        barrier_wait(&control->query_full, query_turn.parity);
        if constexpr (D::kOverlap)
          attend_overlapped(order, D::kConsumers == 2 && order.rows > 64);
        else
          attend_in_steps(order);
        finish(order);
      } else {
        barrier_wait(&control->query_full, query_turn.parity);
        pass(order);
      }
      query_turn.advance();
      done_with_order(control, turn);
    }
  }
};

template <class D>
__global__ void __launch_bounds__(D::kThreads, 1)
    prefill_hopper_kernel(const __grid_constant__ Parameters p,
                          const __grid_constant__ TensorMap queries,
                          const __grid_constant__ TensorMap keys,
                          const __grid_constant__ TensorMap values) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDACC__)
  auto* const control = reinterpret_cast<Control*>(dynamic_shared_memory() + D::kControl);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    init_barriers<D>(control);
    prefetch_tensor_map(queries);
    prefetch_tensor_map(keys);
    prefetch_tensor_map(values);
  }
  wait_for_kernel_before();
  // ends with a barrier, behind which the barriers in shared memory can be used too
  make_plan(&control->plan, p.lengths, p.arguments.kv_heads, static_cast<int>(gridDim.x), p.places);
  if (thread < kWarpgroupThreads) {
    if constexpr (D::kConsumers == 2) give_registers<kProducerRegisters>();
    const int warp = thread / kWarpLanes;
    if (warp == kPlans) plan_pieces<D>(p, control);
    if (warp == kCopies) copy_pieces<D>(p, queries, keys, values, control);
    if (warp == kClears) clear_gaps<D>(control);
  } else {
    if constexpr (D::kConsumers == 2) take_registers<kConsumerRegisters>();
    Consumer<D>(p, control).run();
  }
#endif
}

}  // namespace fleetsim::kernels::hopper
