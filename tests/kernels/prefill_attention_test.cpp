// Prefill attention is what float64 says, whatever order threads run in, and its tiles are all
// computed once, the longest first.

#include "kernels/operators/prefill_attention.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/checks/operator_checks.h"
#include "kernels/checks/prefill_attention_check.h"
#include "kernels/device/device_memory.h"
#include "kernels/operators/prefill_tiles.h"
#include "kernels/reference/random_inputs.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

/// Query starts, cached lengths and what they mean.
struct Batch {
  std::vector<int> starts{0}, cached;
  int group;
  bool causal;

  Batch(const std::vector<int>& new_lengths, std::vector<int> cached_lengths, int of_group,
        bool is_causal)
      : cached(std::move(cached_lengths)), group(of_group), causal(is_causal) {
    for (const int tokens : new_lengths) starts.push_back(starts.back() + tokens);
  }
  PrefillLengths lengths() const {
    return {starts.data(), cached.data(), static_cast<int>(cached.size()), group, causal};
  }
  int blocks() const {
    return query_tiles_max(starts.back(), static_cast<int>(cached.size()), group);
  }
  /// Key tiles of a query tile, from its last row.
  int key_tiles(const QueryTile& tile) const {
    const auto i = static_cast<std::size_t>(tile.sequence);
    const int tokens = starts[i + 1] - starts[i];
    const int last_row = std::min((tile.number + 1) * kQueryTileRows, tokens * group) - 1;
    const int keys = cached[i] + (causal ? last_row / group + 1 : tokens);
    return ceil_div(keys, kKeyTileTokens);
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
  return {new_lengths, cached, groups[random.below(8)], random.below(2) == 0};
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

/// A warp finds the tile of each rank.
void find_tiles(PrefillLengths lengths, QueryTile* tiles) {
  tiles[blockIdx.x] = find_query_tile(lengths, static_cast<int>(blockIdx.x), WholeWarp{});
}

}  // namespace

TEST_CASE("prefill attention is what float64 says", "[kernels][prefill_attention]") {
  for (const std::uint64_t seed : {1, 2}) {
    emulation::set_schedule_seed(seed);
    require_passed(check_prefill_attention(seed, Scale::emulated));
  }
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
}
