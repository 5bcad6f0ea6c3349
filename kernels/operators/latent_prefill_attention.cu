// sm_90: one persistent block a multiprocessor; a warp copies, two warpgroups compute 64 of a
// tile's 128 query rows of one head each, in tiles of 128 keys.
//
// The warpgroups take turns on the tensor cores ("ping-pong", FlashAttention-3): in its turn one
// starts S of the next key tile and then P V of this one, 768 + 512 cycles; while the other one has
// its turn, it makes probabilities of the scores. Scores come first, so that the softmax begins
// while P V still runs.
//
// Shared memory, 208 KiB: queries 48, two tiles of keys 48 each, two of values 32 each; keys and
// values have barriers of their own. Registers: 64 (output) + 64 (scores) + 32 (P) + some 35, of
// 224.
//
// Query tiles of one head, longest first (prefill_tiles.h), then those of the next head: keys and
// values of the few heads under way stay in L2, which they would not if all heads' longest tiles
// came first. Blocks take the next tile from a counter, one ahead of its use.

#include <algorithm>

#include "kernels/device/device_memory.h"
#include "kernels/device/tensor_map.h"
#include "kernels/operators/latent_prefill_attention.h"
#include "kernels/operators/prefill_tiles.h"
#include "kernels/operators/warpgroup_softmax.h"

namespace fleetsim::kernels {
namespace {

constexpr int kTileKeys = 128;
constexpr int kPanelElements = 64;
constexpr int kPanelBytes = 128 * kPanelRowBytes;  // 128 rows of 64 elements
constexpr int kKeyPanels = kLatentKeyWidth / kPanelElements;
constexpr int kValuePanels = kLatentValueWidth / kPanelElements;
constexpr int kKeyBytes = kKeyPanels * kPanelBytes;
constexpr int kValueBytes = kValuePanels * kPanelBytes;
constexpr int kStages = 2;
constexpr int kConsumers = 2 * kWarpgroupThreads;
constexpr int kThreads = kConsumers + kWarpgroupThreads;
constexpr float kLog2E = 1.44269504088896340736F;

/// A query tile of one head; sequence -1: there are no more.
struct Item {
  int sequence, tile, head, padding;
};

struct SharedLayout {
  static constexpr int kQuery = 0;
  static constexpr int kKeys = kQuery + kKeyBytes;
  static constexpr int kValues = kKeys + kStages * kKeyBytes;
  // full and empty: keys of each stage, values of each stage, queries
  static constexpr int kBarriers = kValues + kStages * kValueBytes;
  static constexpr int kItems = kBarriers + 2 * (2 * kStages + 1) * 8;  // [2]
  static constexpr int kBytes = kItems + 2 * int{sizeof(Item)};
  static_assert(kBytes <= 227 * 1024, "a block of an H200");
};

struct Counters {
  unsigned taken;  // tiles that blocks took beyond their first
  unsigned done;   // blocks that found no more
};

struct Parameters {
  LatentPrefillArguments arguments;
  float scale_log2;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDACC__)

constexpr unsigned kConsumerWarps = kConsumers / kWarpLanes;
// a thread's: 168 each at the start, of which the copying warpgroup gives most away
constexpr int kCopyingRegisters = 56, kComputingRegisters = 224;
constexpr float kLn2 = 0.69314718055994530942F;

// Named barriers: 1 and 2 open the turn of a warpgroup, 3 and 4 are its own.
constexpr unsigned kTurn = 1, kWarpgroupMeets = 3;

struct Barriers {
  Mbarrier* first;
  FLEETSIM_DEVICE Mbarrier* key_full(int stage) const { return first + stage; }
  FLEETSIM_DEVICE Mbarrier* value_full(int stage) const { return first + kStages + stage; }
  FLEETSIM_DEVICE Mbarrier* query_full() const { return first + 2 * kStages; }
  FLEETSIM_DEVICE Mbarrier* empty_of(Mbarrier* full) const { return full + 2 * kStages + 1; }
};

FLEETSIM_DEVICE Barriers barriers_of(unsigned char* shared) {
  return {reinterpret_cast<Mbarrier*>(shared + SharedLayout::kBarriers)};
}

FLEETSIM_DEVICE PrefillLengths lengths_of(const LatentPrefillArguments& a) {
  return {a.query_starts, a.cached_lengths, a.sequences, 1, a.causal};
}

/// What a tile's rows see.
struct TileView {
  int first_query;   // of the sequence
  int queries;       // of the sequence
  int cached, keys;  // of the sequence
  int key_tiles;     // that its last row sees

  FLEETSIM_DEVICE TileView(const LatentPrefillArguments& a, const Item& item)
      : first_query(item.tile * kQueryTileRows),
        queries(a.query_starts[item.sequence + 1] - a.query_starts[item.sequence]),
        cached(a.cached_lengths[item.sequence]),
        keys(cached + queries) {
    const int behind = first_query + kQueryTileRows;
    const int seen = a.causal && behind < queries ? cached + behind : keys;
    key_tiles = ceil_div(seen, kTileKeys);
  }
  /// Keys that query `query` of the sequence sees; of one that does not exist, any.
  FLEETSIM_DEVICE int visible(bool causal, int query) const {
    return causal && query < queries ? cached + query + 1 : keys;
  }
};

/// The copying warp.
FLEETSIM_DEVICE void produce(const Parameters& p, const TensorMap& query_map,
                             const TensorMap& key_map, const TensorMap& value_map,
                             unsigned char* shared, int lane) {
  const auto& a = p.arguments;
  const Barriers barriers = barriers_of(shared);
  auto* items = reinterpret_cast<Item*>(shared + SharedLayout::kItems);
  auto* counters = static_cast<Counters*>(a.workspace);
  const PrefillLengths lengths = lengths_of(a);
  const WholeWarp team;
  if (lane == 0) {
    prefetch_tensor_map(query_map);
    prefetch_tensor_map(key_map);
    prefetch_tensor_map(value_map);
  }
  int tiles = 0;  // of each head
  for (int i = lane; i < a.sequences; i += kWarpLanes) tiles += lengths.tiles(i);
  tiles = team.sum(tiles);
  const int all_items = tiles * a.heads;

  int number = static_cast<int>(blockIdx.x);
  int stage = 0;
  unsigned parity = 0;  // of the stage's use
  for (unsigned turn = 0;; ++turn) {
    Item item = {-1, 0, 0, 0};
    if (number < all_items) {
      const QueryTile tile = find_query_tile(lengths, number % tiles, team);
      item = {tile.sequence, tile.number, number / tiles, 0};
      if (lane == 0) number = static_cast<int>(gridDim.x + atomic_add(&counters->taken, 1U));
      number = shuffle(number, 0);
    }
    barrier_wait(barriers.empty_of(barriers.query_full()), turn % 2 ^ 1);
    sync_warp();  // a lane that waits late could miss a phase
    if (lane == 0) {
      items[turn % 2] = item;
      barrier_arrive_expecting(barriers.query_full(), item.sequence < 0 ? 0 : kKeyBytes);
    }
    if (item.sequence < 0) break;
    if (lane == 0) {
      const TileView view(a, item);
      const int row = a.query_starts[item.sequence] + view.first_query;
      for (int panel = 0; panel < kKeyPanels; ++panel)
        copy_tensor_to_shared(shared + SharedLayout::kQuery + panel * kPanelBytes, query_map,
                              {panel * kPanelElements, item.head, row}, barriers.query_full());
      int key_row = a.key_starts[item.sequence];
      for (int i = 0; i < view.key_tiles; ++i, key_row += kTileKeys) {
        Mbarrier* full = barriers.key_full(stage);
        barrier_wait(barriers.empty_of(full), parity ^ 1);
        barrier_arrive_expecting(full, kKeyBytes);
        for (int panel = 0; panel < kKeyPanels; ++panel)
          copy_tensor_to_shared(
              shared + SharedLayout::kKeys + stage * kKeyBytes + panel * kPanelBytes, key_map,
              {panel * kPanelElements, item.head, key_row}, full);
        full = barriers.value_full(stage);
        barrier_wait(barriers.empty_of(full), parity ^ 1);
        barrier_arrive_expecting(full, kValueBytes);
        for (int panel = 0; panel < kValuePanels; ++panel)
          copy_tensor_to_shared(
              shared + SharedLayout::kValues + stage * kValueBytes + panel * kPanelBytes, value_map,
              {panel * kPanelElements, item.head, key_row}, full);
        if (++stage == kStages) {
          stage = 0;
          parity ^= 1;
        }
      }
    }
    sync_warp();
  }
  if (lane != 0) return;
  if (add_release(&counters->done, 1U) + 1 == gridDim.x) *counters = {0, 0};  // for the next launch
}

/// A computing warpgroup.
struct Consumer {
  unsigned char* shared;
  Barriers barriers;
  int number;  // of the warpgroup
  int thread;  // of it, 0 to 127
  int lane;
  int stage = 0;        // of the next tile of values
  unsigned parity = 0;  // of its use
  float out[kLatentValueWidth / 2];
  float scores[kTileKeys / 2];
  std::uint32_t packed[kTileKeys / 16][4];
  RowPair rows;

  FLEETSIM_DEVICE void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
  FLEETSIM_DEVICE void give_back(Mbarrier* full) const {
    sync_warp();
    if (lane == 0) barrier_arrive(barriers.empty_of(full));
  }
  FLEETSIM_DEVICE void wait_for_turn() const {
    sync_threads(kTurn + static_cast<unsigned>(number), kConsumers);
  }
  FLEETSIM_DEVICE void end_turn() const {
    arrive_threads(kTurn + static_cast<unsigned>(number ^ 1), kConsumers);
  }
};

FLEETSIM_DEVICE void start_scores(Consumer& c, int stage) {
  const SharedOperand query =
      shared_operand(c.shared + SharedLayout::kQuery + c.number * 64 * kPanelRowBytes);
  const SharedOperand keys = shared_operand(c.shared + SharedLayout::kKeys + stage * kKeyBytes);
  warpgroup_fence();
  FLEETSIM_UNROLL
  for (int step = 0; step < 4 * kKeyPanels; ++step) {
    const int at = step / 4 * kPanelBytes + step % 4 * 32;
    warpgroup_multiply<Bf16, kTileKeys>(c.scores, query + at, keys + at, step > 0);
  }
  warpgroup_commit();
}

FLEETSIM_DEVICE void start_values(Consumer& c) {
  const SharedOperand values =
      shared_operand(c.shared + SharedLayout::kValues + c.stage * kValueBytes, kPanelBytes);
  warpgroup_fence();
  FLEETSIM_UNROLL
  for (int step = 0; step < kTileKeys / 16; ++step)
    warpgroup_multiply<Bf16, kLatentValueWidth, Major::n>(
        c.out, c.packed[step], values + 16 * kPanelRowBytes * step, true);
  warpgroup_commit();
}

/// Values behind the last key become zeros: they belong to another sequence or to nobody, and NaN
/// times a probability of zero stays NaN. Both warpgroups do it, each before it multiplies; that
/// one writes zeros over the zeros that the other one reads does no harm.
FLEETSIM_DEVICE void clear_values_from(const Consumer& c, int first_row) {
  unsigned char* values = c.shared + SharedLayout::kValues + c.stage * kValueBytes;
  const int pieces = (kTileKeys - first_row) * 8;
  for (int panel = 0; panel < kValuePanels; ++panel)
    for (int i = c.thread; i < pieces; i += kWarpgroupThreads)
      store_16(values + panel * kPanelBytes + first_row * kPanelRowBytes + 16 * i,
               uint4{0, 0, 0, 0});
  fence_before_matrix_reads();
  sync_threads(kWarpgroupMeets + static_cast<unsigned>(c.number), kWarpgroupThreads);
}

FLEETSIM_DEVICE void write_tile(Consumer& c, const Parameters& p, const Item& item,
                                const TileView& view) {
  const auto& a = p.arguments;
  join_quad(c.rows.weight);
  Bf16* to[2];
  float factor[2];
  FLEETSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int query = view.first_query + c.number * 64 + warpgroup_row(c.thread, half);
    const bool exists = query < view.queries;
    const std::size_t head =
        static_cast<std::size_t>(a.query_starts[item.sequence] + query) * a.heads + item.head;
    factor[half] = 1.0F / c.rows.weight[half];
    to[half] = exists ? a.out + head * kLatentValueWidth : nullptr;
    if (exists && c.lane % 4 == 0 && a.log_sum_exp != nullptr)
      a.log_sum_exp[head] =
          (c.rows.largest[half] * p.scale_log2 + log2f(c.rows.weight[half])) * kLn2;
  }
  store_rows_bf16(to, c.out, factor, c.lane);
}

FLEETSIM_DEVICE void consume(const Parameters& p, unsigned char* shared, int number, int thread) {
  const auto& a = p.arguments;
  Consumer c;
  c.shared = shared;
  c.barriers = barriers_of(shared);
  c.number = number;
  c.thread = thread;
  c.lane = thread % kWarpLanes;
  if (number == 1) c.end_turn();  // the first turn is warpgroup 0's
  for (unsigned turn = 0;; ++turn) {
    barrier_wait(c.barriers.query_full(), turn % 2);
    const Item item = reinterpret_cast<const Item*>(shared + SharedLayout::kItems)[turn % 2];
    if (item.sequence < 0) return;
    const TileView view(a, item);
    const int first_query = view.first_query + number * 64;
    int visible[2];
    FLEETSIM_UNROLL
    for (int half = 0; half < 2; ++half) {
      visible[half] = view.visible(a.causal, first_query + warpgroup_row(thread, half));
      c.rows.largest[half] = minus_infinity();
      c.rows.weight[half] = 0;
    }
    const int edge = view.visible(a.causal, first_query);  // some row sees no more than these
    FLEETSIM_UNROLL
    for (int i = 0; i < kLatentValueWidth / 2; ++i) c.out[i] = 0;

    float factor[2];
    const auto take_scores = [&](int tile) {  // scores of a tile become probabilities
      const int first_key = tile * kTileKeys;
      if (first_key + kTileKeys > edge) {
        const int here[2] = {visible[0] - first_key, visible[1] - first_key};
        mask_columns(c.scores, here, c.lane);
      }
      const float before[2] = {c.rows.largest[0], c.rows.largest[1]};
      take_largest(c.rows.largest, c.scores);
      FLEETSIM_UNROLL
      for (int half = 0; half < 2; ++half) {
        factor[half] = rescaling(before[half], c.rows.largest[half], p.scale_log2);
        c.rows.weight[half] *= factor[half];
      }
      exponentiate(c.scores, c.rows, p.scale_log2);
    };
    const auto wait_for_values = [&](int tile) {
      barrier_wait(c.barriers.value_full(c.stage), c.parity);
      const int valid = view.keys - tile * kTileKeys;
      if (valid < kTileKeys) clear_values_from(c, valid);
    };
    const auto end_values = [&] {
      warpgroup_wait<0>();
      keep_behind(c.out);
      c.give_back(c.barriers.value_full(c.stage));
      c.advance();
    };

    barrier_wait(c.barriers.key_full(c.stage), c.parity);
    start_scores(c, c.stage);
    warpgroup_wait<0>();
    keep_behind(c.scores);
    c.give_back(c.barriers.key_full(c.stage));
    const int last = view.key_tiles - 1;
    if (last == 0) c.give_back(c.barriers.query_full());
    take_scores(0);
    pack_probabilities(c.packed, c.scores);
    for (int tile = 0; tile < last; ++tile) {
      const int next_stage = (c.stage + 1) % kStages;
      wait_for_values(tile);
      barrier_wait(c.barriers.key_full(next_stage), next_stage == 0 ? c.parity ^ 1 : c.parity);
      c.wait_for_turn();
      start_scores(c, next_stage);
      start_values(c);
      c.end_turn();
      warpgroup_wait<1>();
      keep_behind(c.scores);
      c.give_back(c.barriers.key_full(next_stage));
      if (tile + 1 == last) c.give_back(c.barriers.query_full());
      take_scores(tile + 1);
      end_values();
      rescale(c.out, factor);
      pack_probabilities(c.packed, c.scores);
    }
    wait_for_values(last);
    c.wait_for_turn();
    start_values(c);
    c.end_turn();
    end_values();
    write_tile(c, p, item, view);
  }
}

#endif

__global__ void __launch_bounds__(kThreads, 1)
    latent_prefill_kernel(const __grid_constant__ Parameters p,
                          const __grid_constant__ TensorMap query_map,
                          const __grid_constant__ TensorMap key_map,
                          const __grid_constant__ TensorMap value_map) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDACC__)
  unsigned char* shared = dynamic_shared_memory();
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    const Barriers barriers = barriers_of(shared);
    for (int i = 0; i < 2 * kStages + 1; ++i) {
      barrier_init(barriers.first + i, 1);
      barrier_init(barriers.empty_of(barriers.first + i), kConsumerWarps);
    }
    fence_barrier_init();
  }
  wait_for_kernel_before();
  sync_block();
  if (thread < kConsumers) {
    take_registers<kComputingRegisters>();
    consume(p, shared, thread / kWarpgroupThreads, thread % kWarpgroupThreads);
  } else {
    give_registers<kCopyingRegisters>();
    if (thread >= kConsumers + kWarpLanes) return;
    produce(p, query_map, key_map, value_map, shared, thread - kConsumers);
    let_next_kernel_start();
  }
#endif
}

/// [rows][heads][width], of which a copy takes 64 elements of 128 rows of a head.
TensorMap map_of(const Bf16* base, int rows, int heads, int width) {
  TensorShape shape;
  shape.base = base;
  shape.rank = 3;
  const std::int64_t sizes[] = {width, heads, rows};
  std::copy_n(sizes, 3, shape.sizes);
  shape.strides[1] = width * std::int64_t{sizeof(Bf16)};
  shape.strides[2] = heads * shape.strides[1];
  shape.box[0] = kPanelElements, shape.box[1] = 1, shape.box[2] = kTileKeys;
  return make_tensor_map(shape);
}

}  // namespace

bool latent_prefill_supports(const LatentPrefillArguments& a) {
  if (a.heads < 1 || a.heads > 128 || a.sequences < 0) return false;
  if (a.total_tokens < 0 || a.total_keys < (a.total_tokens > 0 ? 1 : 0)) return false;
  // tiles of all heads, and rows a tile beyond the last, are counted in 32 bits
  constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1 - kQueryTileRows;
  const std::int64_t tiles = a.total_tokens / kQueryTileRows + std::int64_t{a.sequences};
  return a.total_keys <= kMost && a.total_tokens <= kMost && tiles <= kMost / 2 / a.heads;
}

void prepare_latent_prefill_workspace(void* workspace, Stream stream) {
  device_fill(workspace, 0, kLatentPrefillWorkspaceBytes, stream);
}

void launch_latent_prefill(const LatentPrefillArguments& a, Stream stream) {
  CHECK(latent_prefill_supports(a));
  if (a.total_tokens == 0) return;
  CHECK(a.query != nullptr && a.keys != nullptr && a.values != nullptr && a.out != nullptr);
  CHECK(a.query_starts != nullptr && a.cached_lengths != nullptr && a.key_starts != nullptr);
  CHECK(a.workspace != nullptr && a.sequences > 0 && a.softmax_scale > 0 && a.blocks >= 0);
  if (device_facts().compute_capability != 90)
    throw NotSupportedHere("prefill attention on expanded latents is written for sm_90");
  const int items = query_tiles_max(a.total_tokens, a.sequences, 1) * a.heads;
  LaunchShape shape;
  shape.grid = dim3{
      static_cast<unsigned>(a.blocks > 0 ? a.blocks : std::min(device_facts().sms, items)), 1, 1};
  shape.block = dim3{kThreads, 1, 1};
  shape.shared_bytes = SharedLayout::kBytes;
  shape.stream = stream;
  shape.after_trigger = true;
  launch(latent_prefill_kernel, shape, Parameters{a, a.softmax_scale * kLog2E},
         map_of(a.query, a.total_tokens, a.heads, kLatentKeyWidth),
         map_of(a.keys, a.total_keys, a.heads, kLatentKeyWidth),
         map_of(a.values, a.total_keys, a.heads, kLatentValueWidth));
}

}  // namespace fleetsim::kernels
