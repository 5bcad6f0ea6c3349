#pragma once
// The KV-block pool of one replica: who owns how many blocks, which content is cached in them, and
// in which order free blocks are reused. Exact as vLLM's block pool, but held as runs of blocks
// with one owner set, one content and one place in the free list, so that work per request does not
// grow with its number of blocks.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "sim/workload/request.h"

namespace fleetsim {

/// The tokens of a request so far: its prompt, then `generated` tokens of its output stream.
struct TokenSequence {
  const std::vector<Stretch>* prompt = nullptr;
  std::int32_t prompt_tokens = 0;
  StreamId output_stream = 0;
  std::int32_t generated = 0;
  std::int32_t length() const { return prompt_tokens + generated; }
};

/// The blocks of one request: first those whose content is registered (and thus shareable), then
/// anonymous ones that are not full yet; apart from these a fixed reserve for sliding-window
/// layers.
struct BlockTable {
  struct Held {
    std::int32_t run = -1;  // first piece; later pieces follow by Run::split_next
    std::int32_t end = 0;   // block position in the chain where this hold ends
  };
  std::int32_t registered = 0;
  std::int32_t anonymous = 0;
  std::int32_t reserved = 0;
  std::vector<Held> held;
  std::int32_t blocks() const { return registered + anonymous; }
};

/// What a prefix lookup found; valid until the pool changes.
struct PrefixHit {
  std::int32_t blocks = 0;  // leading full blocks present
  std::int32_t free_blocks =
      0;  // of these, blocks nobody owns: they leave the free list when touched
};

/// The pool. Positions and sizes are in blocks of `block_size` tokens.
class KvBlocks {
 public:
  /// `usable` blocks (null block not counted). `unhashed_first`: freed blocks without registered
  /// content go to the front of the free list (vLLM since 2026-06), else to the back in release
  /// order.
  KvBlocks(std::int32_t usable, std::int32_t block_size, bool caching, bool unhashed_first);

  std::int32_t usable() const { return usable_; }
  std::int32_t free() const { return free_; }
  std::int32_t used() const { return usable_ - free_; }
  std::int32_t block_size() const { return block_size_; }
  bool caching() const { return caching_; }

  /// Longest run of cached full blocks at the head of `tokens`, at most (max_tokens / block_size).
  /// Changes nothing; remembers the path for the touch() that may follow at once.
  PrefixHit look_up(const TokenSequence& tokens, std::int32_t max_tokens);
  /// Takes the blocks of the last look_up() into `table` (which must be empty).
  void touch(BlockTable& table);
  /// Takes `count` blocks from the front of the free list into `table`, evicting what they cached.
  void take(BlockTable& table, std::int32_t count);
  /// Takes `count` blocks as the fixed reserve of the request.
  void reserve(BlockTable& table, std::int32_t count);
  /// Registers the content of the table's blocks up to `blocks` (all of them full). No-op without
  /// caching. Content that only its own request can ask for again may be registered late, but
  /// before release().
  void register_content(BlockTable& table, const TokenSequence& tokens, std::int32_t blocks);
  /// Gives every block back, tail first, and empties the table. `private_full` of the blocks that
  /// are not registered hold full content that nobody will ever look up again: they are reused as
  /// late as registered ones, without their content being kept.
  void release(BlockTable& table, std::int32_t private_full = 0);

  /// Runs every internal consistency check; O(runs). For tests and random scenarios.
  void check_consistency() const;
  /// Number of content runs and nodes alive: the memory this pool really uses.
  std::size_t node_count() const { return nodes_.size() - free_nodes_.size(); }

 private:
  static constexpr std::int32_t kNone = -1;

  // A stretch of a chain of blocks that every copy shares; the prefix tree's node. One cache line:
  // content of up to two stretches stands in it, longer content in more_[more].
  struct alignas(64) Node {
    std::int32_t parent = kNone;
    std::int32_t first = 0, last = 0;  // block positions [first, last)
    std::int32_t first_copy = kNone;   // runs with this content, in order of registration
    std::int32_t children = 0;
    std::int32_t stretches = 0;  // they cover at least (last - first) * block_size tokens
    std::int32_t more = kNone;
    std::array<Stretch, 2> few{};
  };
  static_assert(sizeof(Node) == 64);
  // Consecutive physical blocks with one owner set: a copy of [node.first, end) or anonymous.
  struct Run {
    std::int32_t node = kNone;  // kNone: anonymous blocks, `end` counts them
    std::int32_t begin = 0, end = 0;
    std::int32_t owners = 0;
    std::int32_t next_copy = kNone;
    std::int32_t split_next = kNone;  // where the tail went when the run was split
    std::int32_t free_previous = kNone, free_next = kNone;
    bool in_free_list = false;
  };
  struct PathStep {
    std::int32_t node = kNone;
    std::int32_t blocks = 0;  // matched from node.first
  };
  // A place in a TokenSequence: stretch index (prompt size = the output stretch) and offset in it.
  struct Cursor {
    std::size_t stretch = 0;
    std::int32_t offset = 0;
  };

  Cursor cursor_at(const TokenSequence& tokens, std::int32_t position) const;
  static Stretch rest_at(const TokenSequence& tokens, const Cursor& cursor);
  static void advance(const TokenSequence& tokens, Cursor& cursor, std::int32_t count);
  std::uint64_t key_of_block(std::int32_t parent, const TokenSequence& tokens, Cursor cursor) const;
  std::uint64_t key_of(std::int32_t node) const;
  std::int32_t common_tokens(std::int32_t node, const TokenSequence& tokens, Cursor cursor,
                             std::int32_t limit) const;
  std::span<const Stretch> content_of(std::int32_t node) const;
  std::span<Stretch> content_of(std::int32_t node);
  void add_stretch(std::int32_t node, const Stretch& stretch);
  void resize_content(std::int32_t node, std::int32_t stretches);
  std::int32_t find_child(std::int32_t parent, const TokenSequence& tokens, const Cursor& cursor);

  std::int32_t new_node();
  std::int32_t new_run();
  void insert_child(std::int32_t node);
  void remove_child(std::int32_t node);
  void place(std::uint64_t key, std::int32_t node);
  void grow_table();
  void split(std::int32_t node, std::int32_t position);
  bool continues(std::int32_t upper_run, std::int32_t lower_run) const;
  void merge(std::int32_t upper_run, std::int32_t lower_run);
  void add_copy(std::int32_t node, std::int32_t run);
  void append_content(std::int32_t node, const TokenSequence& tokens, Cursor& cursor,
                      std::int32_t count);
  std::int32_t last_node(const BlockTable& table) const;
  void hold(BlockTable& table, std::int32_t run, std::int32_t end);
  void collect_pieces(const BlockTable::Held& held);

  void push_back(std::int32_t run);
  void push_front(std::int32_t run);
  void insert_before(std::int32_t run, std::int32_t next);
  void pop_front(std::int32_t count);
  void settle();
  void unlink(std::int32_t run);
  void free_anonymous(std::int32_t count, bool at_front);
  void drop_run(std::int32_t run);

  std::int32_t usable_, block_size_;
  bool caching_, unhashed_first_;
  std::int32_t free_ = 0;
  std::int32_t owed_ = 0;  // blocks taken but not yet popped from the free list
  std::int32_t free_head_ = kNone, free_tail_ = kNone;
  std::vector<Node> nodes_;
  std::vector<Run> runs_;
  std::vector<std::int32_t> free_nodes_, free_runs_;
  std::vector<std::vector<Stretch>> more_;
  std::vector<std::int32_t> free_more_;
  // Nodes by (parent, first block): open addressing, at most half full.
  struct Slot {
    std::uint64_t key = 0;
    std::int32_t node = kNone;
  };
  std::vector<Slot> table_;
  std::uint64_t missed_key_ = 0;        // of the last child that was not found
  bool missed_ = false;                 // and has not been inserted since
  std::vector<PathStep> path_;          // of the last look_up
  std::vector<std::int32_t> pieces_;    // scratch
  std::vector<Stretch> split_content_;  // scratch
};

}  // namespace fleetsim
