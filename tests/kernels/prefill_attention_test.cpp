// Prefill attention is what float64 says, whatever order threads run in, and its tiles are all
// computed once, the longest first.

#include "kernels/operators/prefill_attention.h"

#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/checks/operator_checks.h"
#include "kernels/checks/prefill_attention_check.h"
#include "kernels/device/device_memory.h"
#include "kernels/operators/prefill_pieces.h"
#include "kernels/operators/prefill_tiles.h"
#include "kernels/reference/draft_tree.h"
#include "kernels/reference/random_inputs.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

/// Query starts, cached lengths and what they mean.
struct Batch {
  std::vector<int> starts{0}, cached;
  int group;
  bool causal;
  int window;  // 0: none

  Batch(const std::vector<int>& new_lengths, std::vector<int> cached_lengths, int of_group,
        bool is_causal, int of_window = 0)
      : cached(std::move(cached_lengths)), group(of_group), causal(is_causal), window(of_window) {
    for (const int tokens : new_lengths) starts.push_back(starts.back() + tokens);
  }
  PrefillLengths lengths() const {
    PrefillLengths all = {starts.data(), cached.data(), static_cast<int>(cached.size()), group,
                          causal};
    if (window > 0) all.key_tiles_most = window_key_tiles(window, group);
    return all;
  }
  int blocks() const {
    return query_tiles_max(starts.back(), static_cast<int>(cached.size()), group);
  }
  /// Key tiles of a query tile, from its last row; no more than a window lets any tile see.
  int key_tiles(const QueryTile& tile) const {
    return std::min(causal_key_tiles(tile), lengths().key_tiles_most);
  }
  /// Key tiles from the first that the tile's first row sees through the window.
  int windowed_key_tiles(const QueryTile& tile) const {
    const auto i = static_cast<std::size_t>(tile.sequence);
    const int first_row_sees = cached[i] + tile.number * kQueryTileRows / group + 1;
    return causal_key_tiles(tile) - std::max(0, first_row_sees - window) / kKeyTileTokens;
  }
  int causal_key_tiles(const QueryTile& tile) const {
    const auto i = static_cast<std::size_t>(tile.sequence);
    const int tokens = starts[i + 1] - starts[i];
    const int last_row = std::min((tile.number + 1) * kQueryTileRows, tokens * group) - 1;
    const int keys = cached[i] + (causal ? last_row / group + 1 : tokens);
    return ceil_div(keys, kKeyTileTokens);
  }
  /// Tiles of a sequence, and keys that one sees, where tiles are of whole tokens.
  std::size_t whole_tiles(int sequence) const {
    return static_cast<std::size_t>(
        ceil_div(lengths().new_tokens(sequence), kQueryTileRows / group));
  }
  int keys_of(int sequence, int number) const {
    const int tokens = lengths().new_tokens(sequence);
    const int last = std::min((number + 1) * (kQueryTileRows / group), tokens);
    return cached[static_cast<std::size_t>(sequence)] + (causal ? last : tokens);
  }
};

Batch random_batch(RandomInputs& random) {
  const int sequences = 1 + static_cast<int>(random.below(80));
  std::vector<int> new_lengths, cached;
  for (int i = 0; i < sequences; ++i) {
    const std::uint32_t most = random.below(4) == 0 ? 2000 : 40;
    new_lengths.push_back(random.below(5) == 0 ? 0 : static_cast<int>(random.below(most)));
    cached.push_back(random.below(3) == 0 ? 0 : static_cast<int>(random.below(5000)));
  }
  const int groups[] = {1, 2, 4, 5, 7, 8, 16, 64};
  const int group = groups[random.below(8)];
  const bool causal = random.below(2) == 0;
  const int window = causal && random.below(2) == 0 ? 1 + static_cast<int>(random.below(700)) : 0;
  return {new_lengths, cached, group, causal, window};
}

/// Every tile once, the longest first, then nothing.
void require_exact_cover(const Batch& batch, const std::vector<QueryTile>& tiles) {
  std::map<std::pair<int, int>, int> seen;
  int longest = 1 << 30;
  bool ended = false;
  for (const QueryTile& tile : tiles) {
    if (tile.sequence < 0) {
      ended = true;
      continue;
    }
    REQUIRE_FALSE(ended);
    ++seen[{tile.sequence, tile.number}];
    const int here = batch.key_tiles(tile);
    REQUIRE(here <= longest);
    if (batch.window > 0) REQUIRE(batch.windowed_key_tiles(tile) <= here);
    longest = here;
  }
  std::size_t expected = 0;
  for (int i = 0; i < static_cast<int>(batch.cached.size()); ++i) {
    const int rows = batch.lengths().new_tokens(i) * batch.group;
    for (int number = 0; number * kQueryTileRows < rows; ++number, ++expected)
      REQUIRE(seen[{i, number}] == 1);
  }
  REQUIRE(seen.size() == expected);
}

void require_passed(const std::vector<CheckReport>& reports) {
  REQUIRE_FALSE(reports.empty());
  for (const CheckReport& report : reports) {
    INFO(report.what << ": error " << report.error << ", limit " << report.limit << " "
                     << report.problem);
    CHECK(report.passed());
  }
}

bool any_failed(const std::vector<CheckReport>& reports) {
  return std::any_of(reports.begin(), reports.end(),
                     [](const CheckReport& report) { return !report.passed(); });
}

/// Kernels choose their path by what the device is; afterwards it is what it was.
struct OnDevice {
  explicit OnDevice(int compute_capability) {
    emulation::device_traits().compute_capability = compute_capability;
  }
  ~OnDevice() { emulation::device_traits() = before; }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  emulation::DeviceTraits before = emulation::device_traits();
};

/// A piece, and what its plan says of it.
struct FoundPiece {
  hopper::Piece piece;
  int id, begin, piece_tiles;
};

/// One block plans for all, and finds the piece of each id.
void list_pieces(hopper::TileLengths lengths, int kv_heads, int places, FoundPiece* found,
                 int* ids) {
  auto* const plan = reinterpret_cast<hopper::PiecePlan*>(dynamic_shared_memory());
  constexpr int kBlocks = 4;
  make_plan(plan, lengths, kv_heads, kBlocks, places);
  if (threadIdx.x >= 32) return;
  int number = plan->numbers - 1;
  for (int id = 0; id < plan->ids; ++id) {
    const hopper::Piece piece = find_piece(*plan, lengths, kv_heads, id, number);
    if (threadIdx.x == 0) found[id] = {piece, id, plan->begins[piece.number], plan->piece_tiles};
  }
  if (threadIdx.x == 0) *ids = plan->ids;
}

std::vector<FoundPiece> find_pieces(const Batch& batch, int kv_heads, int places) {
  const DeviceBuffer<int> starts(batch.starts), cached(batch.cached), ids(1);
  std::size_t most = static_cast<std::size_t>(places);
  for (int i = 0; i < static_cast<int>(batch.cached.size()); ++i)
    most += batch.whole_tiles(i) * static_cast<std::size_t>(kv_heads);
  const DeviceBuffer<FoundPiece> found(most);
  LaunchShape shape;
  shape.grid = dim3{1, 1, 1};
  shape.block = dim3{96, 1, 1};
  shape.shared_bytes = sizeof(hopper::PiecePlan);
  launch(list_pieces, shape,
         hopper::TileLengths{starts.data(), cached.data(), static_cast<int>(batch.cached.size()),
                             kQueryTileRows / batch.group, 1 << 30, batch.causal},
         kv_heads, places, found.data(), ids.data());
  std::vector<FoundPiece> pieces = found.values();
  pieces.resize(static_cast<std::size_t>(ids.values()[0]));
  return pieces;
}

/// A warp finds the tile of each rank.
void find_tiles(PrefillLengths lengths, QueryTile* tiles) {
  tiles[blockIdx.x] = find_query_tile(lengths, static_cast<int>(blockIdx.x), WholeWarp{});
}

}  // namespace

TEST_CASE("prefill attention is what float64 says", "[kernels][prefill_attention]") {
  for (const int compute_capability : {80, 90}) {
    const OnDevice device(compute_capability);
    // the portable kernel has one schedule less: no roles, no order among its warps
    for (std::uint64_t seed = 1; seed <= (compute_capability == 90 ? 2 : 1); ++seed) {
      emulation::set_schedule_seed(seed);
      require_passed(check_prefill_attention(seed, Scale::emulated));
    }
  }
}

TEST_CASE("every stage of the Hopper kernel computes the same attention",
          "[kernels][prefill_attention]") {
  for (const PrefillVariant variant :
       {PrefillVariant::portable, PrefillVariant::one_consumer, PrefillVariant::two_consumers}) {
    // edges of tiles of 64 and 128 rows, keys that blocks share, a window, a tree
    PrefillCase c{4, 2, 128, 16, {33, 1, 16, 17}, {100, 1100, 0, 128}};
    c.variant = variant;
    require_passed(check_prefill_case(c, 7));
    c.window = 150;
    require_passed(check_prefill_case(c, 7));
    c.window = 0;
    c.drafts = DraftShape::random;
    require_passed(check_prefill_case(c, 7));
  }
}

TEST_CASE("every key of every tile is in one piece, and cut tiles have places in the workspace",
          "[kernels][prefill_attention]") {
  RandomInputs random(6, "prefill pieces");
  int cut_batches = 0;
  for (int round = 0; round < 16; ++round) {
    std::vector<int> new_lengths, cached;
    for (std::uint32_t i = 0; i < 1 + random.below(40); ++i) {
      new_lengths.push_back(static_cast<int>(random.below(random.below(6) == 0 ? 400 : 3)));
      cached.push_back(random.below(3) == 0 ? 0 : static_cast<int>(random.below(5000)));
    }
    // at times one context that is much longer than all others
    if (random.below(2) == 0) {
      new_lengths[0] = 1;
      cached[0] = 100000;
    }
    const int groups[] = {1, 4, 5, 48};
    const Batch batch(new_lengths, cached, groups[random.below(4)], random.below(2) == 0);
    const int kv_heads = 1 + static_cast<int>(random.below(3));
    const int places = 4 + static_cast<int>(random.below(100));
    const std::vector<FoundPiece> found = find_pieces(batch, kv_heads, places);

    std::map<std::array<int, 3>, std::vector<FoundPiece>> by_tile;
    for (const FoundPiece& piece : found)
      by_tile[{piece.piece.tile.sequence, piece.piece.tile.number, piece.piece.kv_head}].push_back(
          piece);
    std::size_t tiles = 0;
    int cut = 0;
    for (int i = 0; i < static_cast<int>(batch.cached.size()); ++i) tiles += batch.whole_tiles(i);
    REQUIRE(by_tile.size() == tiles * static_cast<std::size_t>(kv_heads));
    for (auto& [tile, pieces] : by_tile) {
      const int keys = batch.keys_of(tile[0], tile[1]);
      const int key_tiles = ceil_div(keys, hopper::kTileKeys);
      REQUIRE(static_cast<int>(pieces.size()) == ceil_div(key_tiles, pieces[0].piece_tiles));
      std::sort(pieces.begin(), pieces.end(), [](const FoundPiece& a, const FoundPiece& b) {
        return a.piece.number < b.piece.number;
      });
      for (std::size_t m = 0; m < pieces.size(); ++m) {
        REQUIRE(pieces[m].piece.number == static_cast<int>(m));
        REQUIRE(pieces[m].piece.place == pieces[0].piece.place);
        // the place of a piece is its id
        REQUIRE(pieces[m].begin + pieces[m].piece.place == pieces[m].id);
      }
      if (pieces.size() == 1) continue;
      cut += static_cast<int>(pieces.size());
      for (const FoundPiece& piece : pieces) REQUIRE(piece.id < places);
    }
    REQUIRE(cut <= places);
    cut_batches += cut > 0 ? 1 : 0;
  }
  CHECK(cut_batches >= 5);
}

TEST_CASE("the check of prefill attention notices what is wrong", "[kernels][prefill_attention]") {
  const PrefillCase c{4, 1, 64, 16, {20, 9}, {30, 50}};
  require_passed(check_prefill_case(c, 5));
  SECTION("two pages swapped") {
    CHECK(any_failed(check_prefill_case(
        c, 5, [](PrefillOperands& o) { std::swap(o.page_table[0], o.page_table[1]); })));
  }
  SECTION("a mask one key off") {
    CHECK(any_failed(check_prefill_case(c, 5, [](PrefillOperands& o) { --o.cached_lengths[1]; })));
  }
  SECTION("one key of 59 wrong in one element by a fifth") {
    CHECK(any_failed(check_prefill_case(c, 5, [](PrefillOperands& o) {
      Bf16& element = o.keys[static_cast<std::size_t>(o.page_table[0]) * 16 * 64 + 7];
      element = to_bf16(to_float(element) + 0.2F);
    })));
  }
  SECTION("a NaN among the values") {
    CHECK(any_failed(check_prefill_case(c, 5, [](PrefillOperands& o) {
      o.values[static_cast<std::size_t>(o.page_table[0]) * 16 * 64] = Bf16{0x7fc0};
    })));
  }
  SECTION("a sequence that ends one row early") {
    CHECK(any_failed(check_prefill_case(c, 5, [](PrefillOperands& o) { --o.query_starts[2]; })));
  }
}

TEST_CASE("the check of prefill attention notices what is wrong with e4m3",
          "[kernels][prefill_attention]") {
  PrefillCase c{4, 1, 128, 16, {20, 9}, {30, 150}};
  c.e4m3 = true;
  require_passed(check_prefill_case(c, 5));
  SECTION("two pages swapped") {
    CHECK(any_failed(check_prefill_case(
        c, 5, [](PrefillOperands& o) { std::swap(o.page_table[0], o.page_table[1]); })));
  }
  SECTION("two tokens' values swapped") {
    // within the 32 keys whose order the kernel changes
    CHECK(any_failed(check_prefill_case(c, 5, [](PrefillOperands& o) {
      const auto token = o.values.begin() + o.page_table[0] * 16 * 128;
      std::swap_ranges(token + 2 * 128, token + 3 * 128, token + 8 * 128);
    })));
  }
  SECTION("two elements of a value swapped") {
    CHECK(any_failed(check_prefill_case(c, 5, [](PrefillOperands& o) {
      for (int token = 0; token < 16; ++token) {
        const auto value = o.values.begin() + (o.page_table[0] * 16 + token) * 128;
        std::swap(value[16], value[17]);
      }
    })));
  }
  SECTION("a mask one key off") {
    CHECK(any_failed(check_prefill_case(c, 5, [](PrefillOperands& o) { --o.cached_lengths[0]; })));
  }
}

TEST_CASE("the check of prefill attention notices what is wrong with a draft tree",
          "[kernels][prefill_attention]") {
  const PrefillCase c{4, 1, 64, 16, {9, 70, 1}, {30, 50, 20}, true, 0, 0, 1, 0, DraftShape::random};
  require_passed(check_prefill_case(c, 5));
  SECTION("a node that sees one that is no ancestor") {
    CHECK(any_failed(check_prefill_case(c, 5, [](PrefillOperands& o) {
      std::uint64_t& mask = o.tree_masks[8];
      mask |= ~mask & (mask + 1);  // the lowest bit that is not set
      REQUIRE(mask < 1 << 9);
    })));
  }
  SECTION("a node that does not see the root") {
    CHECK(any_failed(check_prefill_case(c, 5, [](PrefillOperands& o) { o.tree_masks[8] &= ~1; })));
  }
  SECTION("masks of the sequence before") {
    CHECK(any_failed(check_prefill_case(c, 5, [](PrefillOperands& o) {
      std::rotate(o.tree_masks.begin(), o.tree_masks.begin() + 1, o.tree_masks.begin() + 9);
    })));
  }
  SECTION("not those of a chunk that is no tree, nor bits behind the node itself") {
    require_passed(check_prefill_case(c, 5, [](PrefillOperands& o) {
      for (std::size_t i = 9; i < 79; ++i) o.tree_masks[i] = i;
      for (std::size_t i = 0; i < 9; ++i) o.tree_masks[i] |= ~std::uint64_t{1} << i;
    }));
  }
}

TEST_CASE("the check of prefill attention notices what is wrong with a window",
          "[kernels][prefill_attention]") {
  const PrefillCase c{4, 1, 64, 16, {20, 1}, {30, 50}, true, 0, 0, 1, 17};
  require_passed(check_prefill_case(c, 5));
  SECTION("a window one key off") {
    CHECK(any_failed(check_prefill_case(c, 5, [](PrefillOperands& o) { --o.cached_lengths[1]; })));
  }
  SECTION("a page within reach that is gone") {
    // tokens 32 to 47 of the second sequence, of which token 50 sees those from 34 on
    CHECK(any_failed(check_prefill_case(c, 5, [](PrefillOperands& o) {
      const std::size_t row = o.page_table.size() / 2;
      o.page_table[row + 2] = o.page_table[row + 3];
    })));
  }
}

TEST_CASE("a node of a draft tree sees itself and its ancestors", "[kernels][draft_tree]") {
  using Masks = std::vector<std::uint64_t>;
  CHECK(chain_tree(4) == DraftTree{-1, 0, 1, 2});
  CHECK(tree_masks(chain_tree(4)) == Masks{1, 3, 7, 15});
  CHECK(tree_masks(star_tree(4)) == Masks{1, 3, 5, 9});
  CHECK(level_tree(6, 2) == DraftTree{-1, 0, 0, 1, 1, 2});
  CHECK(tree_masks(level_tree(6, 2)) == Masks{1, 3, 5, 11, 19, 37});
  CHECK(tree_masks(chain_tree(64)).back() == ~std::uint64_t{0});
  CHECK(star_tree(1) == DraftTree{-1});
  CHECK_THROWS(tree_masks({-1, 0, 2}));  // behind itself
  CHECK_THROWS(tree_masks({-1, -1}));    // two roots
  CHECK_THROWS(tree_masks(chain_tree(65)));
  RandomInputs random(6, "draft trees");
  for (const std::uint64_t mask : tree_masks(random_tree(64, random))) CHECK((mask & 1) == 1);
}

TEST_CASE("each query tile has one rank, the longest the first", "[kernels][prefill_attention]") {
  RandomInputs random(3, "prefill tiles");
  for (int round = 0; round < 200; ++round) {
    const Batch batch = random_batch(random);
    std::vector<QueryTile> tiles;
    for (int rank = 0; rank < batch.blocks() + 3; ++rank)
      tiles.push_back(find_query_tile(batch.lengths(), rank, OneThread{}));
    require_exact_cover(batch, tiles);
    REQUIRE(tiles[static_cast<std::size_t>(batch.blocks())].sequence == -1);
  }
}

TEST_CASE("a warp finds the same tiles as one thread", "[kernels][prefill_attention]") {
  RandomInputs random(4, "prefill tiles of warps");
  for (int round = 0; round < 6; ++round) {
    const Batch batch = random_batch(random);
    const DeviceBuffer<int> starts(batch.starts), cached(batch.cached);
    const DeviceBuffer<QueryTile> found(static_cast<std::size_t>(batch.blocks()) + 1);
    PrefillLengths lengths = batch.lengths();
    lengths.query_starts = starts.data();
    lengths.cached_lengths = cached.data();
    LaunchShape shape;
    shape.grid = dim3{static_cast<unsigned>(found.size()), 1, 1};
    shape.block = dim3{32, 1, 1};
    launch(find_tiles, shape, lengths, found.data());
    const std::vector<QueryTile> tiles = found.values();
    for (std::size_t rank = 0; rank < tiles.size(); ++rank) {
      const QueryTile alone = find_query_tile(batch.lengths(), static_cast<int>(rank), OneThread{});
      REQUIRE(tiles[rank].sequence == alone.sequence);
      REQUIRE(tiles[rank].number == alone.number);
    }
  }
}

TEST_CASE("rows of a tile are the heads of one token after those of the one before",
          "[kernels][prefill_attention]") {
  for (int group = 1; group <= kPrefillGroupMax; ++group)
    for (const int tile : {0, 1, 2, 3, 63, 1000, 100000})
      for (int row = 0; row < kQueryTileRows; ++row) {
        const TileRows rows(tile, group);
        REQUIRE(rows.token(row) == (tile * kQueryTileRows + row) / group);
        REQUIRE(rows.head(row) == (tile * kQueryTileRows + row) % group);
      }
}

TEST_CASE("a grid has room for every tile of any batch", "[kernels][prefill_attention]") {
  // the worst: each sequence begins a tile with its last row
  const Batch batch(std::vector<int>(9, 129), std::vector<int>(9, 0), 1, true);
  int tiles = 0;
  for (int i = 0; i < 9; ++i) tiles += batch.lengths().tiles(i);
  CHECK(tiles == 18);
  CHECK(query_tiles_max(batch.starts.back(), 9, 1) == 18);
}

TEST_CASE("prefill attention refuses shapes that it was not made for",
          "[kernels][prefill_attention]") {
  PrefillAttentionArguments sound;
  sound.sequences = 1;
  sound.query_heads = 4;
  sound.kv_heads = 1;
  sound.head_dim = 64;
  sound.page_tokens = 16;
  sound.softmax_scale = 1;
  REQUIRE_NOTHROW(launch_prefill_attention(sound, {}));  // no tokens: no launch
  const auto refused = [&](auto change) {
    PrefillAttentionArguments changed = sound;
    change(changed);
    CHECK_THROWS(launch_prefill_attention(changed, {}));
  };
  refused([](PrefillAttentionArguments& a) { a.head_dim = 96; });
  refused([](PrefillAttentionArguments& a) { a.page_tokens = 24; });
  refused([](PrefillAttentionArguments& a) { a.page_tokens = 8; });
  refused([](PrefillAttentionArguments& a) { a.query_heads = 5, a.kv_heads = 2; });
  refused([](PrefillAttentionArguments& a) { a.query_heads = 65; });
  refused([](PrefillAttentionArguments& a) { a.softmax_scale = 0; });
  refused([](PrefillAttentionArguments& a) { a.total_tokens = 1 << 30; });
  const std::uint64_t mask = 1;
  refused([](PrefillAttentionArguments& a) { a.window = -1; });
  refused([](PrefillAttentionArguments& a) { a.window = 8, a.causal = false; });
  refused([&](PrefillAttentionArguments& a) { a.tree_masks = &mask, a.causal = false; });
  refused([&](PrefillAttentionArguments& a) { a.tree_masks = &mask, a.window = 8; });
  refused([](PrefillAttentionArguments& a) { a.variant = PrefillVariant::one_consumer; });
}
