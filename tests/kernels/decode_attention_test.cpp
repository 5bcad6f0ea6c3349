// Decode attention is what float64 says, whatever order threads run in and however contexts are
// cut, and its schedule shares every token out once.

#include "kernels/operators/decode_attention.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "hw_models/check.h"
#include "kernels/checks/decode_attention_check.h"
#include "kernels/checks/operator_checks.h"
#include "kernels/operators/decode_schedule.h"
#include "kernels/reference/attention.h"
#include "tests/kernels/check_reports.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

/// The emulated device of one compute capability, until the end of a test.
class EmulatedCapability {
 public:
  explicit EmulatedCapability(int capability)
      : before_(emulation::device_traits().compute_capability) {
    emulation::device_traits().compute_capability = capability;
  }
  ~EmulatedCapability() { emulation::device_traits().compute_capability = before_; }

 private:
  int before_;
};

/// Two sequences, the first of them cut.
DecodeCase small_case() {
  DecodeCase c;
  c.query_heads = 4, c.kv_heads = 2, c.head_dim = 128;
  c.lengths = {340, 50};
  return c;
}

struct Batch {
  std::vector<int> lengths;
  int kv_heads, tile_tokens, blocks;
  DecodeBlocks use = DecodeBlocks::fewest;
};

Batch random_batch(RandomInputs& random, bool long_units) {
  const int heads[] = {1, 2, 8}, tiles[] = {64, 128}, blocks[] = {1, 2, 7, 64, 264};
  Batch batch{{},
              heads[random.below(3)],
              tiles[random.below(2)],
              blocks[random.below(5)],
              random.below(3) == 0 ? DecodeBlocks::all : DecodeBlocks::fewest};
  const std::uint32_t sequences = 1 + random.below(40);
  for (std::uint32_t i = 0; i < sequences; ++i) {
    const int shortest = long_units ? kWholeUnitTiles * batch.tile_tokens + 1 : 1;
    const std::uint32_t spread = random.below(3) == 0 ? 9000 : 300;
    batch.lengths.push_back(
        random.below(4) == 0 ? 0 : shortest + static_cast<int>(random.below(spread)));
  }
  return batch;
}

std::string text_of(const Batch& batch) {
  std::string text = std::to_string(batch.kv_heads) + " KV heads, tiles of " +
                     std::to_string(batch.tile_tokens) + ", " + std::to_string(batch.blocks) +
                     " blocks, lengths";
  for (const int length : batch.lengths) text += " " + std::to_string(length);
  return text;
}

std::vector<std::vector<DecodePiece>> plan_of(const Batch& batch) {
  return decode_plan(batch.lengths, batch.kv_heads, batch.tile_tokens, batch.blocks, batch.use);
}

int total_of(const Batch& batch) {
  int total = 0;
  for (const int length : batch.lengths)
    total += batch.kv_heads * decode_unit_cost(length, batch.tile_tokens);
  return total;
}

/// Every tile of every unit once, in ascending pieces of ascending blocks; parts know each other.
void require_exact_cover(const Batch& batch) {
  std::map<std::pair<int, int>, std::vector<std::pair<int, DecodePiece>>> units;  // block, piece
  const auto plan = plan_of(batch);
  for (std::size_t block = 0; block < plan.size(); ++block) {
    int cut_behind = 0, cut_ahead = 0;
    for (const DecodePiece& piece : plan[block]) {
      REQUIRE(piece.tiles >= 1);
      REQUIRE(piece.length == batch.lengths.at(static_cast<std::size_t>(piece.sequence)));
      units[{piece.sequence, piece.kv_head}].emplace_back(static_cast<int>(block), piece);
      if (piece.is_whole()) continue;
      (piece.first_block == static_cast<int>(block) ? cut_ahead : cut_behind) += 1;
    }
    // the workspace has a slot for one of each
    REQUIRE(cut_ahead <= 1);
    REQUIRE(cut_behind <= 1);
  }
  std::size_t expected_units = 0;
  for (int sequence = 0; sequence < static_cast<int>(batch.lengths.size()); ++sequence) {
    const int tiles =
        decode_unit_tiles(batch.lengths[static_cast<std::size_t>(sequence)], batch.tile_tokens);
    for (int head = 0; tiles > 0 && head < batch.kv_heads; ++head) {
      ++expected_units;
      int next_tile = 0;
      const auto& pieces = units[{sequence, head}];
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        const auto& [block, piece] = pieces[i];
        REQUIRE(piece.first_tile == next_tile);
        next_tile += piece.tiles;
        REQUIRE(piece.first_block + static_cast<int>(i) == block);
        REQUIRE(piece.last_block - piece.first_block + 1 == static_cast<int>(pieces.size()));
      }
      REQUIRE(next_tile == tiles);
      if (tiles <= kWholeUnitTiles) REQUIRE(pieces.size() == 1);
    }
  }
  REQUIRE(units.size() == expected_units);
}

int tiles_of(const std::vector<DecodePiece>& pieces) {
  int tiles = 0;
  for (const DecodePiece& piece : pieces) tiles += piece.tiles;
  return tiles;
}

int busiest(const std::vector<std::vector<DecodePiece>>& plan) {
  int most = 0;
  for (const auto& pieces : plan) most = std::max(most, tiles_of(pieces));
  return most;
}

}  // namespace

TEST_CASE("decode attention is what float64 says, with bulk copies and without",
          "[kernels][decode_attention]") {
  const int capability = GENERATE(90, 80);
  const EmulatedCapability emulated(capability);
  emulation::set_schedule_seed(static_cast<std::uint64_t>(capability));
  require_all_passed(
      check_decode_attention(static_cast<std::uint64_t>(capability), Scale::emulated));
}

TEST_CASE("decode attention's bits do not depend on the order in which threads run",
          "[kernels][decode_attention]") {
  const EmulatedCapability emulated(GENERATE(90, 80));
  DecodeCase c = small_case();
  c.e4m3 = GENERATE(false, true);
  c.lengths = {600, 50, 0};
  AttentionResult first;
  for (const std::uint64_t seed : {1, 2, 3}) {
    emulation::set_schedule_seed(seed);
    AttentionResult result;
    require_all_passed(check_decode_case(c, 7, nullptr, &result));
    if (seed == 1) first = result;
    REQUIRE(result == first);
  }
}

TEST_CASE("decode attention cut in 1 to 16 parts gives one result", "[kernels][decode_attention]") {
  DecodeCase c;
  c.query_heads = 4, c.head_dim = 64, c.page_tokens = 64;
  c.lengths = {33 * decode_tile_tokens<Bf16>(64) - 60};
  std::vector<double> whole;
  for (c.blocks = 1; c.blocks <= 16; ++c.blocks) {
    const auto plan =
        decode_plan(c.lengths, 1, decode_tile_tokens<Bf16>(64), c.blocks, DecodeBlocks::all);
    REQUIRE(std::count_if(plan.begin(), plan.end(),
                          [](const auto& pieces) { return !pieces.empty(); }) == c.blocks);
    AttentionResult result;
    require_all_passed(check_decode_case(c, 5, nullptr, &result));
    std::vector<float> out;
    for (const Bf16 value : result.out) out.push_back(to_float(value));
    if (c.blocks == 1) whole.assign(out.begin(), out.end());
    // probabilities are rounded under other maxima: each is as far from the other as from float64
    REQUIRE(compare(out, whole).relative_error < 5e-3);
  }
}

TEST_CASE("the decode check sees a wrong page, a wrong length, a wrong query and a wrong value",
          "[kernels][decode_attention]") {
  const DecodeCase c = small_case();
  REQUIRE_FALSE(any_failed(check_decode_case(c, 1)));
  void (*const faults[])(DecodeOperands&) = {
      [](DecodeOperands& o) { o.page_table[0] = o.page_table[o.page_table.size() / 2]; },
      [](DecodeOperands& o) { o.lengths[0] -= 1; },
      [](DecodeOperands& o) { o.lengths[1] += 1; },  // reads a token that nobody wrote
      [](DecodeOperands& o) { o.lengths[1] = 0; },
      [](DecodeOperands& o) { o.query[5].bits ^= 0x8000; },
      [](DecodeOperands& o) {  // the first token's value: its sign, in all dimensions
        const std::size_t token =
            static_cast<std::size_t>(o.page_table[0]) * 2 * 16 * 128 * sizeof(Bf16);
        for (std::size_t i = 0; i < 128; ++i) o.values[token + 2 * i + 1] ^= 0x80;
      },
  };
  for (std::size_t i = 0; i < std::size(faults); ++i) {
    INFO("fault " << i);
    CHECK(any_failed(check_decode_case(c, 1, faults[i])));
  }
}

TEST_CASE("a sequence whose cache is not finite spoils nobody else's result",
          "[kernels][decode_attention]") {
  const EmulatedCapability emulated(GENERATE(90, 80));
  DecodeCase c = small_case();
  c.e4m3 = GENERATE(false, true);
  c.blocks = 1;  // one block goes through all, so that stages are used again
  c.lengths = {300, 270, 9, 1, 140};
  AttentionResult sound, spoiled;
  check_decode_case(c, 3, nullptr, &sound);
  check_decode_case(
      c, 3,
      [](DecodeOperands& o) {  // all pages of sequence 1
        const std::size_t row = o.page_table.size() / o.lengths.size();
        const int pages = ceil_div(o.lengths[1], 16);
        const std::size_t pool = 3 + 19 + 17 + 1 + 1 + 9;  // spare pages, and each sequence's
        const std::size_t page_bytes = o.values.size() / pool;
        for (int page = 0; page < pages; ++page) {
          const std::size_t at =
              static_cast<std::size_t>(o.page_table[row + static_cast<std::size_t>(page)]) *
              page_bytes;
          std::fill_n(o.keys.begin() + static_cast<std::ptrdiff_t>(at), page_bytes,
                      std::uint8_t{0xff});
          std::fill_n(o.values.begin() + static_cast<std::ptrdiff_t>(at), page_bytes,
                      std::uint8_t{0xff});
        }
      },
      &spoiled);
  const std::size_t row = sound.out.size() / c.lengths.size();
  for (std::size_t i = 0; i < sound.out.size(); ++i) {
    const bool of_spoiled = i / row == 1;
    REQUIRE((sound.out[i].bits == spoiled.out[i].bits) == !of_spoiled);
  }
}

TEST_CASE("decode attention launches nothing for no sequences and refuses what it cannot compute",
          "[kernels][decode_attention]") {
  DecodeAttentionArguments<Bf16> arguments;
  launch_decode_attention(arguments, {});
  arguments.query_heads = 8, arguments.kv_heads = 2, arguments.head_dim = 64;
  arguments.page_tokens = 16, arguments.pages_per_sequence = 10, arguments.sequences = 3;
  REQUIRE(decode_attention_supports(arguments));
  const auto refused = [&](auto change) {
    auto changed = arguments;
    change(changed);
    return !decode_attention_supports(changed);
  };
  using Arguments = DecodeAttentionArguments<Bf16>;
  CHECK(refused([](Arguments& a) { a.head_dim = 96; }));
  CHECK(refused([](Arguments& a) { a.query_heads = 34; }));
  CHECK(refused([](Arguments& a) { a.query_heads = 7; }));
  CHECK(refused([](Arguments& a) { a.page_tokens = 8; }));
  CHECK(refused([](Arguments& a) { a.page_tokens = 48; }));
  CHECK(refused([](Arguments& a) { a.sequences = 1 << 30; }));
  arguments.head_dim = 96;
  CHECK_THROWS_AS(launch_decode_attention(arguments, {}), fleetsim::InternalError);
}

TEST_CASE("a decode schedule shares every token out exactly once", "[kernels][decode_schedule]") {
  RandomInputs random(1, "decode schedules");
  for (int i = 0; i < 400; ++i) {
    const Batch batch = random_batch(random, i % 2 == 0);
    INFO(text_of(batch));
    require_exact_cover(batch);
  }
  require_exact_cover({{0, 0, 0}, 8, 64, 264});
  require_exact_cover({{1}, 8, 64, 264});
  require_exact_cover({{1 << 20}, 8, 64, 264});
}

TEST_CASE("shares of a decode schedule differ by at most one tile, and short units by their own",
          "[kernels][decode_schedule]") {
  RandomInputs random(2, "decode schedules");
  for (int i = 0; i < 300; ++i) {
    const bool long_units = i % 2 == 0;
    const Batch batch = random_batch(random, long_units);
    INFO(text_of(batch));
    const int total = total_of(batch);
    const DecodeShares shares = decode_shares(total, batch.blocks, batch.use);
    REQUIRE(shares.blocks <= batch.blocks);
    if (total == 0) continue;
    // the longest share is as short as it can be
    const int longest = std::max(ceil_div(total, batch.blocks), kShareMin);
    std::vector<int> units_begun(static_cast<std::size_t>(shares.blocks), 0);
    int position = 0;
    for (const int length : batch.lengths)
      for (int head = 0; length > 0 && head < batch.kv_heads; ++head) {
        ++units_begun[static_cast<std::size_t>(decode_share_owner(shares, position))];
        position += decode_unit_cost(length, batch.tile_tokens);
      }
    const auto plan = plan_of(batch);
    for (int block = 0; block < shares.blocks; ++block) {
      const int begin = decode_share_begin(shares, block);
      const int share = decode_share_begin(shares, block + 1) - begin;
      REQUIRE(share <= longest);
      REQUIRE(share >= total / shares.blocks);
      REQUIRE(decode_share_owner(shares, begin) == block);
      REQUIRE(decode_share_owner(shares, begin + share - 1) == block);
      const auto& pieces = plan[static_cast<std::size_t>(block)];
      if (long_units)
        REQUIRE(tiles_of(pieces) ==
                share - kUnitCost * units_begun[static_cast<std::size_t>(block)]);
      else
        REQUIRE(tiles_of(pieces) <= share + kWholeUnitTiles);
    }
  }
}

TEST_CASE("a uniform batch that fits the blocks is not cut, a ragged one burdens no block more",
          "[kernels][decode_schedule]") {
  const int blocks = 264;  // of an H200
  // 32 sequences of 1k tokens, 8 KV heads: 256 units
  const Batch fitting{std::vector<int>(32, 1024), 8, 64, blocks};
  for (const auto& pieces : plan_of(fitting))
    for (const DecodePiece& piece : pieces) REQUIRE(piece.is_whole());

  Batch ragged{std::vector<int>(63, 512), 8, 64, blocks};
  ragged.lengths.insert(ragged.lengths.begin() + 17, 32768);
  const Batch uniform{std::vector<int>(64, (32768 + 63 * 512) / 64), 8, 64, blocks};
  REQUIRE(busiest(plan_of(ragged)) <= 1.1 * busiest(plan_of(uniform)));
}

TEST_CASE("page tables are shuffled, own their pages alone until they share, and say what is held",
          "[kernels][page_table]") {
  RandomInputs random(3, "page tables");
  PageTable table = shuffled_page_table({33, 0, 48, 1}, 16, random, 2);
  REQUIRE(table.pool_pages == 3 + 0 + 3 + 1 + 2);
  REQUIRE(table.row_pages == 4);
  std::vector<int> used;
  for (const int page : table.pages)
    if (page != kNoPage) used.push_back(page);
  REQUIRE(used.size() == 7);
  REQUIRE_FALSE(std::is_sorted(used.begin(), used.end()));
  std::sort(used.begin(), used.end());
  REQUIRE(std::unique(used.begin(), used.end()) == used.end());
  REQUIRE(used.back() < table.pool_pages);
  const auto held = [&](int page) { return table.valid_tokens[static_cast<std::size_t>(page)]; };
  CHECK(held(table.page_of(0, 16)) == 16);
  CHECK(held(table.page_of(0, 32)) == 1);
  CHECK(held(table.page_of(3, 0)) == 1);
  CHECK(std::count(table.valid_tokens.begin(), table.valid_tokens.end(), 0) == 2);

  share_first_pages(table, 0, 2, 2);
  CHECK(table.page_of(2, 31) == table.page_of(0, 31));
  CHECK(table.page_of(2, 32) != table.page_of(0, 32));
  CHECK(std::count(table.valid_tokens.begin(), table.valid_tokens.end(), 0) == 4);
  CHECK_THROWS_AS(share_first_pages(table, 0, 2, 3), fleetsim::InternalError);
}

TEST_CASE("attention's reference gives the mean of values for equal scores, and each row its own",
          "[kernels][attention_reference]") {
  RandomInputs random(4, "attention reference");
  AttentionInputs inputs;
  inputs.shape = {2, 1, 4, 0.5};
  inputs.table = shuffled_page_table({3, 2}, 2, random, 0);
  inputs.rows = prefill_rows({2, 1}, {1, 0}, true);
  REQUIRE(inputs.rows == std::vector<AttentionRow>{{0, 2}, {0, 3}, {1, 1}});
  REQUIRE(prefill_rows({2, 1}, {1, 0}, false) == std::vector<AttentionRow>{{0, 3}, {0, 3}, {1, 1}});
  REQUIRE(decode_rows({3, 0}) == std::vector<AttentionRow>{{0, 3}, {1, 0}});
  REQUIRE(windowed_rows({2, 1}, {1, 5}, 2) ==
          std::vector<AttentionRow>{{0, 2, 0}, {0, 3, 1}, {1, 6, 4}});
  const std::vector<AttentionRow> tree = tree_rows({3}, {2}, {1, 3, 5});
  REQUIRE(tree[2] == AttentionRow{0, 5, 0, 2, 5});
  REQUIRE((tree[2].sees(0) && tree[2].sees(2) && !tree[2].sees(3) && tree[2].sees(4)));
  REQUIRE_FALSE(tree[1].sees(4));

  inputs.rows.push_back({1, 0});
  inputs.queries.assign(4 * 2 * 4, 0.0F);  // every score is 0: weights are equal
  inputs.keys = random.normals(3 * 2 * 4);
  inputs.values.assign(3 * 2 * 4, 0.0F);
  const auto value_at = [&](int sequence, int token) -> float& {
    const int page = inputs.table.page_of(sequence, token);
    return inputs.values[static_cast<std::size_t>(page * 8 + token % 2 * 4)];  // dimension 0
  };
  value_at(0, 0) = 1, value_at(0, 1) = 3, value_at(0, 2) = 11, value_at(1, 0) = -2;
  const AttentionOutputs outputs = reference_attention(inputs);
  const double means[] = {2, 5, -2, 0}, tokens[] = {2, 3, 1, 0};
  for (std::size_t row = 0; row < 4; ++row)
    for (std::size_t head = 0; head < 2; ++head) {
      CHECK(outputs.out[(row * 2 + head) * 4] == Approx(means[row]).margin(1e-12));
      CHECK(outputs.out[(row * 2 + head) * 4 + 1] == 0.0);
      CHECK(outputs.lse[row * 2 + head] == Approx(std::log(tokens[row])));
    }

  // one token far ahead of the others takes it all: score 0.5 * 40 * 2 against at most a few
  inputs.queries[1] = 40;
  inputs.keys.assign(inputs.keys.size(), 0.0F);
  inputs.keys[static_cast<std::size_t>(inputs.table.page_of(0, 1) * 8 + 4 + 1)] = 2;
  const AttentionOutputs peaked = reference_attention(inputs);
  CHECK(peaked.out[0] == Approx(3).margin(1e-12));
  CHECK(peaked.lse[0] == Approx(40));
  CHECK(peaked.out[4] == Approx(2));  // the other head still sees two equal scores
}
