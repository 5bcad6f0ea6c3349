// KvBlocks by hand and against the plain implementation on random sequences of what schedulers do.

#include "sim/engine/kv_blocks.h"

#include "sim/core/random.h"
#include "tests/engine/plain_kv_blocks.h"

#include "tests/catch.h"

using namespace fleetsim;
using namespace fleetsim::test;

namespace {

// A request of the random comparison, with a block table in both implementations.
struct Tenant {
  std::vector<Stretch> prompt;
  std::int32_t prompt_tokens = 0, generated = 0, computed = 0;
  StreamId output = 0;
  BlockTable table;
  PlainKvBlocks::Table plain;
  TokenSequence tokens() const { return {&prompt, prompt_tokens, output, generated}; }
};

class Comparison {
 public:
  Comparison(std::uint64_t seed, int usable, int block_size, bool unhashed_first)
      : random_(seed, "kv comparison"),
        block_size_(block_size),
        extents_(usable, block_size, true, unhashed_first),
        plain_(usable, block_size, true, unhashed_first) {}

  void run(int operations) {
    for (int i = 0; i < operations; ++i) {
      const std::uint64_t what = draw(10);
      if (what < 4 || tenants_.empty()) {
        admit();
      } else if (what < 8) {
        grow(tenants_[draw(tenants_.size())]);
      } else {
        const std::size_t leaving = draw(tenants_.size());
        leave(leaving);
      }
      extents_.check_consistency();
      REQUIRE(extents_.free() == plain_.free());
    }
  }
  int hits() const { return hits_; }
  int duplicates_possible() const { return full_hits_; }

 private:
  std::uint64_t draw(std::uint64_t count) { return random_.index(count, draws_++); }

  // Prompts share streams 1-3 at several depths, so that hits end inside and between stretches.
  void make_prompt(Tenant& tenant) {
    const std::uint64_t stretches = 1 + draw(3);
    for (std::uint64_t i = 0; i < stretches; ++i) {
      const auto length = static_cast<std::int32_t>(1 + draw(14));
      const StreamId stream = draw(4) == 0 ? 1000 + next_stream_++ : 1 + draw(3);
      if (!tenant.prompt.empty() && tenant.prompt.back().stream == stream) continue;
      tenant.prompt.push_back({stream, 0, length});
      tenant.prompt_tokens += length;
    }
    tenant.output = 1'000'000 + next_stream_++;
  }

  void admit() {
    Tenant tenant;
    if (!gone_.empty() && draw(3) == 0) {
      const Tenant& old = gone_[draw(gone_.size())];  // comes back, as after a preemption
      tenant.prompt = old.prompt;
      tenant.prompt_tokens = old.prompt_tokens;
      tenant.output = old.output;
      tenant.generated = old.generated;
    } else {
      make_prompt(tenant);
    }
    const std::int32_t length = tenant.prompt_tokens + tenant.generated;
    const PrefixHit hit = extents_.look_up(tenant.tokens(), length - 1);
    const std::vector<int> plain_hit = plain_.look_up(tenant.tokens(), length - 1);
    REQUIRE(hit.blocks == static_cast<std::int32_t>(plain_hit.size()));
    REQUIRE(hit.free_blocks == plain_.free_among(plain_hit));
    const std::int32_t chunk = static_cast<std::int32_t>(1 + draw(20));
    tenant.computed = std::min(length, hit.blocks * block_size_ + chunk);
    const std::int32_t blocks = (tenant.computed + block_size_ - 1) / block_size_;
    if (blocks - hit.blocks + hit.free_blocks > extents_.free()) return;
    hits_ += hit.blocks;
    full_hits_ += hit.blocks > 0 && (hit.blocks + 1) * block_size_ == length;
    extents_.touch(tenant.table);
    plain_.touch(tenant.plain, plain_hit);
    extents_.take(tenant.table, blocks - hit.blocks);
    plain_.take(tenant.plain, blocks - hit.blocks);
    add_content(tenant);
    tenants_.push_back(std::move(tenant));
  }

  void grow(Tenant& tenant) {
    const std::int32_t length = tenant.prompt_tokens + tenant.generated;
    const auto chunk = static_cast<std::int32_t>(1 + draw(9));
    if (tenant.computed == length) ++tenant.generated;
    const std::int32_t computed =
        std::min(tenant.computed + chunk, tenant.prompt_tokens + tenant.generated);
    const std::int32_t need = (computed + block_size_ - 1) / block_size_ - tenant.table.blocks();
    if (need > extents_.free()) return;
    tenant.computed = computed;
    extents_.take(tenant.table, need);
    plain_.take(tenant.plain, need);
    add_content(tenant);
  }

  void add_content(Tenant& tenant) {
    const std::int32_t full = tenant.computed / block_size_;
    extents_.register_content(tenant.table, tenant.tokens(), full);
    plain_.register_content(tenant.plain, tenant.tokens(), full);
    REQUIRE(tenant.table.blocks() == static_cast<std::int32_t>(tenant.plain.blocks.size()));
  }

  void leave(std::size_t index) {
    Tenant tenant = std::move(tenants_[index]);
    tenants_.erase(tenants_.begin() + static_cast<std::ptrdiff_t>(index));
    extents_.release(tenant.table);
    plain_.release(tenant.plain);
    gone_.push_back(std::move(tenant));
    if (gone_.size() > 12) gone_.erase(gone_.begin());
  }

  RandomStream random_;
  std::uint64_t draws_ = 0, next_stream_ = 0;
  std::int32_t block_size_;
  KvBlocks extents_;
  PlainKvBlocks plain_;
  std::vector<Tenant> tenants_, gone_;
  int hits_ = 0, full_hits_ = 0;
};

std::vector<Stretch> prompt_of(StreamId stream, std::int32_t tokens) {
  return {{stream, 0, tokens}};
}

}  // namespace

TEST_CASE("extents of blocks behave as single blocks do, whatever is asked of them",
          "[engine][kv]") {
  int hits = 0, full_hits = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const int usable = 8 + static_cast<int>(seed % 7) * 9;
    const int block_size = seed % 3 == 0 ? 1 : seed % 3 == 1 ? 4 : 3;
    CAPTURE(seed, usable, block_size);
    Comparison comparison(seed, usable, block_size, seed % 2 == 0);
    comparison.run(1500);
    hits += comparison.hits();
    full_hits += comparison.duplicates_possible();
  }
  // The comparison means something only if it met hits, and prompts whose last block is recomputed.
  CHECK(hits > 10'000);
  CHECK(full_hits > 100);
}

TEST_CASE("a fully cached prompt still computes its last block", "[engine][kv]") {
  KvBlocks blocks(8, 4, true, true);
  const std::vector<Stretch> prompt = prompt_of(7, 8);
  const TokenSequence tokens{&prompt, 8, 100, 0};
  BlockTable first;
  blocks.take(first, 2);
  blocks.register_content(first, tokens, 2);
  CHECK(blocks.look_up(tokens, 7).blocks == 1);
  CHECK(blocks.look_up(tokens, 8).blocks == 2);
  blocks.release(first);
  const PrefixHit hit = blocks.look_up(tokens, 8);
  CHECK(hit.blocks == 2);
  CHECK(hit.free_blocks == 2);
}

TEST_CASE("inside one request tail blocks are evicted before head blocks", "[engine][kv]") {
  KvBlocks blocks(4, 4, true, true);
  const std::vector<Stretch> prompt = prompt_of(7, 16);
  const TokenSequence tokens{&prompt, 16, 100, 0};
  BlockTable first, second;
  blocks.take(first, 4);
  blocks.register_content(first, tokens, 4);
  blocks.release(first);
  blocks.take(second, 1);
  CHECK(blocks.look_up(tokens, 16).blocks == 3);
  blocks.take(second, 2);
  CHECK(blocks.look_up(tokens, 16).blocks == 1);
}

TEST_CASE("work and memory follow the number of stretches, not of blocks", "[engine][kv]") {
  KvBlocks blocks(1 << 20, 16, true, true);
  const std::vector<Stretch> prompt = prompt_of(7, 16 << 16);
  const TokenSequence tokens{&prompt, 16 << 16, 100, 0};
  BlockTable table;
  blocks.take(table, 1 << 16);
  blocks.register_content(table, tokens, 1 << 16);
  CHECK(blocks.node_count() == 1);
  CHECK(blocks.used() == 1 << 16);
}

TEST_CASE("hits of all lengths leave a shared prefix in one piece once nobody holds it",
          "[engine][kv]") {
  KvBlocks blocks(64, 16, true, true);
  const std::vector<Stretch> prompt = prompt_of(7, 50 * 16);
  const TokenSequence tokens{&prompt, 50 * 16, 100, 0};
  BlockTable table;
  blocks.take(table, 50);
  blocks.register_content(table, tokens, 50);
  blocks.release(table);
  for (std::int32_t length = 1; length <= 50; ++length) {
    CHECK(blocks.look_up(tokens, length * 16).blocks == length);
    blocks.touch(table);
    blocks.release(table);
    blocks.check_consistency();
    CHECK(blocks.node_count() == 1);
  }
}
