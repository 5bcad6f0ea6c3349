#pragma once
// A consumer warpgroup of the Hopper prefill kernel (prefill_hopper_kernel.h): scores, softmax,
// values, and what becomes of the sums.

#include "kernels/operators/prefill_hopper_design.h"

namespace fleetsim::kernels::hopper {

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
  const PrefillBatch& a = p.arguments;
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
template <class D>
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
    shift[half] = D::kShift - base * scale_log2;
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

/// Scores' places are those that A of the next product wants in registers: with e4m3 up to the
/// order of keys, in which values are turned (prefill_hopper_producer.h).
template <class D>
FLEETSIM_DEVICE void pack(const float (&scores)[kTileKeys / 2],
                          std::uint32_t (&probabilities)[kTileKeys / D::kStep][4]) {
  FLEETSIM_UNROLL
  for (int k = 0; k < kTileKeys / D::kStep; ++k) {
    FLEETSIM_UNROLL
    for (int i = 0; i < 4; ++i) {
      if constexpr (D::kIsBf16) {
        probabilities[k][i] = pack_bf16(scores[8 * k + 2 * i], scores[8 * k + 2 * i + 1]);
      } else {
        const int at = 16 * k + i / 2 * 8 + i % 2 * 2;
        probabilities[k][i] = pack_e4m3(scores[at], scores[at + 1], scores[at + 4], scores[at + 5]);
      }
    }
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
    queries = shared_operand(shared + (D::kIsBf16 ? 0 : D::kCodes) +
                             Place().consumer * 64 * kPanelRowBytes);
    keys = shared_operand(shared + D::kKeys);
    values = D::kIsBf16 ? shared_operand(shared + D::kValues, D::kTilePanel)
                        : shared_operand(shared + D::kTurned);
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

  /// Makes codes of this consumer's queries. They are its own: nobody else reads them, and products
  /// of the piece before have ended.
  FLEETSIM_DEVICE void quantise_queries() {
    unsigned char* const shared = dynamic_shared_memory();
    const Place at;
    const int first = at.row - at.lane / 4;  // of the warp's 16 rows
    FLEETSIM_UNROLL
    for (int i = at.lane; i < 16 * 8; i += kWarpLanes) {
      const int row = first + i / 8, piece = i % 8;  // of codes; two pieces of bf16
      const unsigned char* const from = shared + piece / 4 * D::kQueryPanel;
      uint4 codes;
      std::uint32_t words[8];
      FLEETSIM_UNROLL
      for (int half = 0; half < 2; ++half) {
        const uint4 pairs =
            *reinterpret_cast<const uint4*>(from + panel_offset(row, piece % 4 * 2 + half));
        words[4 * half] = pairs.x;
        words[4 * half + 1] = pairs.y;
        words[4 * half + 2] = pairs.z;
        words[4 * half + 3] = pairs.w;
      }
      const auto four = [&](int word) {
        const float2 low = unpack_bf16(words[word]), high = unpack_bf16(words[word + 1]);
        return pack_e4m3(low.x * p.query_codes, low.y * p.query_codes, high.x * p.query_codes,
                         high.y * p.query_codes);
      };
      codes.x = four(0);
      codes.y = four(2);
      codes.z = four(4);
      codes.w = four(6);
      store_16(shared + D::kCodes + panel_offset(row, piece), codes);
    }
    fence_before_matrix_reads();
    arrive(&control->query_empty);
    sync_threads(kOwn + static_cast<unsigned>(at.consumer), kWarpgroupThreads);
  }

  /// Issues scores = Q K^T of the tile of keys in turn.
  FLEETSIM_DEVICE void issue_scores(float (&scores)[kTileKeys / 2]) {
    const SharedOperand tile = keys + key_turn.slot * D::kTileBytes;
    warpgroup_fence();
    FLEETSIM_UNROLL
    for (int k = 0; k < D::kHeadDim / D::kStep; ++k)
      warpgroup_multiply<typename D::Element, kTileKeys>(
          scores, queries + (k / 4 * D::kQueryPanel + k % 4 * 32),
          tile + (k / 4 * D::kTilePanel + k % 4 * 32), k > 0);
    warpgroup_commit();
  }
  /// Issues out += P V of the tile of values in turn.
  FLEETSIM_DEVICE void issue_out(const std::uint32_t (&probabilities)[kTileKeys / D::kStep][4]) {
    const SharedOperand tile = values + value_turn.slot * D::kTileBytes;
    warpgroup_fence();
    FLEETSIM_UNROLL
    for (int k = 0; k < kTileKeys / D::kStep; ++k) {
      if constexpr (D::kIsBf16)
        warpgroup_multiply<Bf16, D::kHeadDim, Major::n>(out, probabilities[k],
                                                        tile + k * D::kStep * kPanelRowBytes, true);
      else
        warpgroup_multiply<E4m3, D::kHeadDim>(out, probabilities[k], tile + k * D::kStep, true);
    }
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
      std::uint32_t probabilities[kTileKeys / D::kStep][4];
      wait_keys();
      issue_scores(scores);
      warpgroup_wait<0>();
      keep_behind(scores);
      release_keys();
      if (D::kIsBf16 && tile + 1 == tiles) arrive(&control->query_empty);
      mask_edges(order, tile, scores);
      take_maxima<D>(scores, p.scale_log2, rows, factor, shift);
      take_exponentials(scores, p.scale_log2, shift, rows);
      pack<D>(scores, probabilities);
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
    std::uint32_t probabilities[kTileKeys / D::kStep][4];
    const unsigned own = kTurn + static_cast<unsigned>(Place().consumer);
    wait_keys();
    issue_scores(scores);
    warpgroup_wait<0>();
    keep_behind(scores);
    release_keys();
    mask_edges(order, 0, scores);
    take_maxima<D>(scores, p.scale_log2, rows, factor, shift);
    take_exponentials(scores, p.scale_log2, shift, rows);
    pack<D>(scores, probabilities);
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
      take_maxima<D>(scores, p.scale_log2, rows, factor, shift);
      take_exponentials(scores, p.scale_log2, shift, rows);
      warpgroup_wait<0>();
      keep_behind(out);
      release_values();
      pack<D>(scores, probabilities);
      rescale(factor);
    }
    if (D::kIsBf16) arrive(&control->query_empty);
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

  /// The log-sum-exp of a row.
  FLEETSIM_DEVICE float log_of(float largest, float sum) const {
    return (largest * p.scale_log2 - D::kShift) * kLn2 + logf(sum);
  }

  /// Normalises and writes a tile that is whole: through shared memory, so that stores are of whole
  /// rows. A warp writes its own 16 rows.
  FLEETSIM_DEVICE void write_out(const Order& order) {
    constexpr int kPieces = D::kQueryRowBytes / 16;
    const Place at;
    const TileRows tile_rows(0, p.group);
    unsigned char* const staged =
        dynamic_shared_memory() + D::kOut + (at.row - at.lane / 4) * D::kQueryRowBytes;
    FLEETSIM_UNROLL
    for (int half = 0; half < 2; ++half) {
      const float inverse = p.value_scale / rows.sum[half];
      const int own = at.lane / 4 + 8 * half;  // of the warp's rows
      FLEETSIM_UNROLL
      for (int j = 0; j < D::kHeadDim / 8; ++j)
        *reinterpret_cast<std::uint32_t*>(staged + own * D::kQueryRowBytes +
                                          ((j ^ (own & 7)) * 16) + at.lane % 4 * 4) =
            pack_bf16(out[4 * j + 2 * half] * inverse, out[4 * j + 2 * half + 1] * inverse);
      const int row = at.row + 8 * half;
      if (p.arguments.log_sum_exp != nullptr && at.lane % 4 == 0 && row < order.rows)
        p.arguments.log_sum_exp[row_of_out(order, tile_rows, row)] =
            log_of(rows.largest[half], rows.sum[half]);
    }
    sync_warp();
    const int first = at.row - at.lane / 4;
    FLEETSIM_UNROLL
    for (int i = at.lane; i < 16 * kPieces; i += kWarpLanes) {
      const int own = i / kPieces, piece = i % kPieces;
      if (first + own >= order.rows) continue;
      store_16(
          p.arguments.out + row_of_out(order, tile_rows, first + own) * D::kHeadDim + piece * 8,
          *reinterpret_cast<const uint4*>(staged + own * D::kQueryRowBytes +
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
      const float inverse = p.value_scale / total.sum;
      const std::size_t to = row_of_out(order, tile_rows, row);
      *reinterpret_cast<uint2*>(p.arguments.out + to * D::kHeadDim + dimension) = {
          pack_bf16(sum[0] * inverse, sum[1] * inverse),
          pack_bf16(sum[2] * inverse, sum[3] * inverse)};
      if (dimension == 0 && p.arguments.log_sum_exp != nullptr)
        p.arguments.log_sum_exp[to] = log_of(total.largest, total.sum);
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
        if constexpr (!D::kIsBf16) quantise_queries();
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

}  // namespace fleetsim::kernels::hopper
