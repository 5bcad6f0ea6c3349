// Content is a tree: a node is a stretch of a chain of full blocks, its children continue the
// chain. Every physical copy of a node's blocks is a run; equal content computed twice stays twice,
// and a lookup takes the copy that was registered first. Blocks leave a free run at its tail
// (eviction) or at its head (a hit), so a free run never falls apart in the middle. A cached
// block's parent is always released after it, hence evicted after it: what is cached is a tree at
// every moment.

#include "sim/engine/kv_blocks.h"

#include <algorithm>

#include "hw_models/check.h"

namespace fleetsim {

namespace {

constexpr std::uint64_t kHashMultiplier = 0x9E3779B97F4A7C15ULL;  // 2^64 / golden ratio

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * kHashMultiplier;
  return hash ^ (hash >> 29);
}

std::uint64_t mix(std::uint64_t hash, StreamId stream, std::int32_t from, std::int32_t length) {
  const auto span = (static_cast<std::uint64_t>(static_cast<std::uint32_t>(from)) << 32) |
                    static_cast<std::uint32_t>(length);
  return mix(mix(hash, stream), span);
}

}  // namespace

KvBlocks::KvBlocks(std::int32_t usable, std::int32_t block_size, bool caching, bool unhashed_first)
    : usable_(usable), block_size_(block_size), caching_(caching), unhashed_first_(unhashed_first) {
  CHECK(usable >= 1 && block_size >= 1);
  table_.resize(64);
  free_anonymous(usable, false);
}

// --- token sequences --------------------------------------------------------------------------

KvBlocks::Cursor KvBlocks::cursor_at(const TokenSequence& tokens, std::int32_t position) const {
  if (position >= tokens.prompt_tokens) {
    return {tokens.prompt->size(), position - tokens.prompt_tokens};
  }
  Cursor cursor;
  for (const Stretch& stretch : *tokens.prompt) {
    if (position < stretch.length()) break;
    position -= stretch.length();
    ++cursor.stretch;
  }
  cursor.offset = position;
  return cursor;
}

Stretch KvBlocks::rest_at(const TokenSequence& tokens, const Cursor& cursor) {
  if (cursor.stretch < tokens.prompt->size()) {
    const Stretch& stretch = (*tokens.prompt)[cursor.stretch];
    return {stretch.stream, stretch.from + cursor.offset, stretch.to};
  }
  return {tokens.output_stream, cursor.offset, tokens.generated};
}

void KvBlocks::advance(const TokenSequence& tokens, Cursor& cursor, std::int32_t count) {
  while (count > 0) {
    const std::int32_t step = std::min(count, rest_at(tokens, cursor).length());
    cursor.offset += step;
    count -= step;
    if (cursor.stretch < tokens.prompt->size() &&
        cursor.offset == (*tokens.prompt)[cursor.stretch].length()) {
      ++cursor.stretch;
      cursor.offset = 0;
    }
    CHECK(step > 0, "a block reaches past the tokens of its request");
  }
}

std::uint64_t KvBlocks::key_of_block(std::int32_t parent, const TokenSequence& tokens,
                                     Cursor cursor) const {
  std::uint64_t hash = mix(0, static_cast<std::uint64_t>(parent + 1));
  for (std::int32_t left = block_size_; left > 0;) {
    const Stretch rest = rest_at(tokens, cursor);
    const std::int32_t length = std::min(left, rest.length());
    hash = mix(hash, rest.stream, rest.from, length);
    advance(tokens, cursor, length);
    left -= length;
  }
  return hash;
}

std::uint64_t KvBlocks::key_of(std::int32_t node) const {
  std::uint64_t hash = mix(0, static_cast<std::uint64_t>(nodes_[node].parent + 1));
  std::int32_t left = block_size_;
  for (const Stretch& stretch : content_of(node)) {
    const std::int32_t length = std::min(left, stretch.length());
    hash = mix(hash, stretch.stream, stretch.from, length);
    left -= length;
    if (left == 0) break;
  }
  return hash;
}

std::int32_t KvBlocks::common_tokens(std::int32_t node, const TokenSequence& tokens, Cursor cursor,
                                     std::int32_t limit) const {
  const std::span<const Stretch> content = content_of(node);
  std::int32_t common = 0;
  std::int32_t used = 0;  // of the content stretch
  for (std::size_t i = 0; i < content.size() && common < limit;) {
    const Stretch rest = rest_at(tokens, cursor);
    const Stretch& stretch = content[i];
    if (rest.length() <= 0 || rest.stream != stretch.stream || rest.from != stretch.from + used) {
      break;
    }
    const std::int32_t length = std::min({rest.length(), stretch.length() - used, limit - common});
    common += length;
    used += length;
    advance(tokens, cursor, length);
    if (used == stretch.length()) {
      ++i;
      used = 0;
    }
  }
  return common;
}

// --- content of nodes -------------------------------------------------------------------------

std::span<const Stretch> KvBlocks::content_of(std::int32_t node) const {
  const Node& entry = nodes_[node];
  const Stretch* first = entry.more == kNone ? entry.few.data() : more_[entry.more].data();
  return {first, static_cast<std::size_t>(entry.stretches)};
}

std::span<Stretch> KvBlocks::content_of(std::int32_t node) {
  Node& entry = nodes_[node];
  Stretch* first = entry.more == kNone ? entry.few.data() : more_[entry.more].data();
  return {first, static_cast<std::size_t>(entry.stretches)};
}

void KvBlocks::add_stretch(std::int32_t node, const Stretch& stretch) {
  Node& entry = nodes_[node];
  if (entry.more == kNone && entry.stretches < static_cast<std::int32_t>(entry.few.size())) {
    entry.few[static_cast<std::size_t>(entry.stretches++)] = stretch;
    return;
  }
  if (entry.more == kNone) {
    if (free_more_.empty()) {
      free_more_.push_back(static_cast<std::int32_t>(more_.size()));
      more_.emplace_back();
    }
    entry.more = free_more_.back();
    free_more_.pop_back();
    more_[entry.more].assign(entry.few.begin(), entry.few.end());
  }
  more_[entry.more].push_back(stretch);
  ++entry.stretches;
}

void KvBlocks::resize_content(std::int32_t node, std::int32_t stretches) {
  Node& entry = nodes_[node];
  entry.stretches = stretches;
  if (entry.more != kNone) more_[entry.more].resize(static_cast<std::size_t>(stretches));
}

// --- the tree ---------------------------------------------------------------------------------

std::int32_t KvBlocks::find_child(std::int32_t parent, const TokenSequence& tokens,
                                  const Cursor& cursor) {
  const std::uint64_t key = key_of_block(parent, tokens, cursor);
  if (missed_ && key == missed_key_) return kNone;  // an admission asks twice
  const std::size_t mask = table_.size() - 1;
  for (std::size_t slot = key & mask; table_[slot].node != kNone; slot = (slot + 1) & mask) {
    if (table_[slot].key != key) continue;
    const Node& entry = nodes_[table_[slot].node];
    if (entry.parent == parent &&
        common_tokens(table_[slot].node, tokens, cursor, block_size_) == block_size_) {
      return table_[slot].node;
    }
  }
  missed_ = true;
  missed_key_ = key;
  return kNone;
}

std::int32_t KvBlocks::new_node() {
  if (free_nodes_.empty()) {
    nodes_.emplace_back();
    return static_cast<std::int32_t>(nodes_.size()) - 1;
  }
  const std::int32_t node = free_nodes_.back();
  free_nodes_.pop_back();
  if (nodes_[node].more != kNone) {
    more_[nodes_[node].more].clear();
    free_more_.push_back(nodes_[node].more);
  }
  nodes_[node] = Node{};
  return node;
}

std::int32_t KvBlocks::new_run() {
  if (free_runs_.empty()) {
    runs_.emplace_back();
    return static_cast<std::int32_t>(runs_.size()) - 1;
  }
  const std::int32_t run = free_runs_.back();
  free_runs_.pop_back();
  runs_[run] = Run{};
  return run;
}

void KvBlocks::place(std::uint64_t key, std::int32_t node) {
  const std::size_t mask = table_.size() - 1;
  std::size_t slot = key & mask;
  while (table_[slot].node != kNone) slot = (slot + 1) & mask;
  table_[slot] = {key, node};
}

void KvBlocks::grow_table() {
  std::vector<Slot> old(table_.size() * 2);
  old.swap(table_);
  for (const Slot& slot : old) {
    if (slot.node != kNone) place(slot.key, slot.node);
  }
}

void KvBlocks::insert_child(std::int32_t node) {
  if (2 * (node_count() + 1) > table_.size()) grow_table();
  place(key_of(node), node);
  missed_ = false;
  const std::int32_t parent = nodes_[node].parent;
  if (parent != kNone) ++nodes_[parent].children;
}

// Linear probing without tombstones: what follows the gap moves back where it may.
void KvBlocks::remove_child(std::int32_t node) {
  const std::size_t mask = table_.size() - 1;
  std::size_t gap = key_of(node) & mask;
  while (table_[gap].node != node) {
    CHECK(table_[gap].node != kNone, "a cached node is missing from the table");
    gap = (gap + 1) & mask;
  }
  for (std::size_t next = (gap + 1) & mask; table_[next].node != kNone; next = (next + 1) & mask) {
    const std::size_t home = table_[next].key & mask;
    if (((next - home) & mask) < ((next - gap) & mask)) continue;
    table_[gap] = table_[next];
    gap = next;
  }
  table_[gap] = Slot{};
  const std::int32_t parent = nodes_[node].parent;
  if (parent != kNone) --nodes_[parent].children;
}

// Splits a node and all its copies at `position`. The new node takes the head, so that children
// keep their parent; every run keeps its index for the head, so that holders find their blocks.
void KvBlocks::split(std::int32_t node, std::int32_t position) {
  CHECK(nodes_[node].first < position && position < nodes_[node].last);
  remove_child(node);
  const std::int32_t head = new_node();
  Node& upper = nodes_[head];
  Node& lower = nodes_[node];
  upper.parent = lower.parent;
  upper.first = lower.first;
  upper.last = position;
  split_content_.assign(content_of(node).begin(), content_of(node).end());
  resize_content(node, 0);
  std::int32_t left = (position - lower.first) * block_size_;
  for (Stretch stretch : split_content_) {
    const std::int32_t length = std::min(left, stretch.length());
    if (length > 0) add_stretch(head, {stretch.stream, stretch.from, stretch.from + length});
    left -= length;
    stretch.from += length;
    if (stretch.length() > 0) add_stretch(node, stretch);
  }
  lower.first = position;
  lower.parent = head;

  std::int32_t copy = lower.first_copy;
  lower.first_copy = kNone;
  upper.first_copy = kNone;
  std::int32_t last_upper = kNone, last_lower = kNone;
  while (copy != kNone) {
    const std::int32_t next = runs_[copy].next_copy;
    runs_[copy].node = head;
    runs_[copy].next_copy = kNone;
    (last_upper == kNone ? nodes_[head].first_copy : runs_[last_upper].next_copy) = copy;
    last_upper = copy;
    if (runs_[copy].end > position) {
      const std::int32_t tail = new_run();
      Run& upper_run = runs_[copy];
      Run& lower_run = runs_[tail];
      lower_run.node = node;
      lower_run.begin = position;
      lower_run.end = upper_run.end;
      lower_run.owners = upper_run.owners;
      lower_run.split_next = upper_run.split_next;
      upper_run.end = position;
      upper_run.split_next = tail;
      if (upper_run.in_free_list) insert_before(tail, copy);
      (last_lower == kNone ? nodes_[node].first_copy : runs_[last_lower].next_copy) = tail;
      last_lower = tail;
    }
    copy = next;
  }
  insert_child(head);
  insert_child(node);
}

// True when two neighbours of the free list are one stretch of blocks that was split for a request
// long gone.
bool KvBlocks::continues(std::int32_t upper_run, std::int32_t lower_run) const {
  if (lower_run == kNone) return false;
  const Run& upper = runs_[upper_run];
  const Run& lower = runs_[lower_run];
  if (upper.node == kNone || lower.node == kNone) return false;
  const Node& upper_node = nodes_[upper.node];
  return nodes_[lower.node].parent == upper.node && upper_node.children == 1 &&
         upper.next_copy == kNone && upper_node.first_copy == upper_run &&
         lower.next_copy == kNone && nodes_[lower.node].first_copy == lower_run;
}

// Undoes a split of unowned blocks: without it, hits of all lengths would cut a shared prefix into
// single blocks for good. The lower node stays, so that its children keep their parent.
void KvBlocks::merge(std::int32_t upper_run, std::int32_t lower_run) {
  const std::int32_t upper = runs_[upper_run].node;
  const std::int32_t lower = runs_[lower_run].node;
  remove_child(lower);
  remove_child(upper);
  split_content_.clear();
  std::int32_t left = (nodes_[upper].last - nodes_[upper].first) * block_size_;
  for (Stretch stretch : content_of(upper)) {
    stretch.to = stretch.from + std::min(left, stretch.length());
    left -= stretch.length();
    if (stretch.length() > 0) split_content_.push_back(stretch);
  }
  for (const Stretch& stretch : content_of(lower)) {
    Stretch& last = split_content_.back();
    if (last.stream == stretch.stream && last.to == stretch.from) {
      last.to = stretch.to;
    } else {
      split_content_.push_back(stretch);
    }
  }
  resize_content(lower, 0);
  for (const Stretch& stretch : split_content_) add_stretch(lower, stretch);
  nodes_[lower].first = nodes_[upper].first;
  nodes_[lower].parent = nodes_[upper].parent;
  runs_[lower_run].begin = runs_[upper_run].begin;
  nodes_[upper].first_copy = kNone;
  unlink(upper_run);
  free_runs_.push_back(upper_run);
  nodes_[upper].last = nodes_[upper].first;
  free_nodes_.push_back(upper);
  insert_child(lower);
}

void KvBlocks::add_copy(std::int32_t node, std::int32_t run) {
  std::int32_t* link = &nodes_[node].first_copy;
  while (*link != kNone) link = &runs_[*link].next_copy;
  *link = run;
}

void KvBlocks::append_content(std::int32_t node, const TokenSequence& tokens, Cursor& cursor,
                              std::int32_t count) {
  // Eviction shortens a node without touching its content: cut what is gone before adding to it.
  std::int32_t kept = (nodes_[node].last - nodes_[node].first) * block_size_;
  std::int32_t stretches = 0;
  for (Stretch& stretch : content_of(node)) {
    if (kept == 0) break;
    stretch.to = stretch.from + std::min(kept, stretch.length());
    kept -= stretch.length();
    ++stretches;
  }
  resize_content(node, stretches);
  while (count > 0) {
    Stretch piece = rest_at(tokens, cursor);
    piece.to = piece.from + std::min(count, piece.length());
    const std::span<Stretch> content = content_of(node);
    if (!content.empty() && content.back().stream == piece.stream &&
        content.back().to == piece.from) {
      content.back().to = piece.to;
    } else {
      add_stretch(node, piece);
    }
    count -= piece.length();
    advance(tokens, cursor, piece.length());
  }
}

// --- the free list ------------------------------------------------------------------------------

void KvBlocks::insert_before(std::int32_t run, std::int32_t next) {
  const std::int32_t previous = next == kNone ? free_tail_ : runs_[next].free_previous;
  runs_[run].free_previous = previous;
  runs_[run].free_next = next;
  runs_[run].in_free_list = true;
  (previous == kNone ? free_head_ : runs_[previous].free_next) = run;
  (next == kNone ? free_tail_ : runs_[next].free_previous) = run;
}
void KvBlocks::push_back(std::int32_t run) { insert_before(run, kNone); }
void KvBlocks::push_front(std::int32_t run) { insert_before(run, free_head_); }

void KvBlocks::unlink(std::int32_t run) {
  Run& entry = runs_[run];
  (entry.free_previous == kNone ? free_head_ : runs_[entry.free_previous].free_next) =
      entry.free_next;
  (entry.free_next == kNone ? free_tail_ : runs_[entry.free_next].free_previous) =
      entry.free_previous;
  entry.in_free_list = false;
}

void KvBlocks::free_anonymous(std::int32_t count, bool at_front) {
  if (count == 0) return;
  free_ += count;
  const std::int32_t edge = at_front ? free_head_ : free_tail_;
  if (edge != kNone && runs_[edge].node == kNone) {
    runs_[edge].end += count;
    return;
  }
  const std::int32_t run = new_run();
  runs_[run].end = count;
  if (at_front) {
    push_front(run);
  } else {
    push_back(run);
  }
}

// Forgets an emptied run: it leaves the free list and, if it cached something, its node's copies.
void KvBlocks::drop_run(std::int32_t run) {
  unlink(run);
  const std::int32_t node = runs_[run].node;
  if (node != kNone) {
    std::int32_t* link = &nodes_[node].first_copy;
    while (*link != run) link = &runs_[*link].next_copy;
    *link = runs_[run].next_copy;
  }
  free_runs_.push_back(run);
}

// Which blocks a request gets, and what they cached, matters only when somebody looks content up or
// blocks come back: until then taking is counting.
void KvBlocks::take(BlockTable& table, std::int32_t count) {
  CHECK(count >= 0 && count <= free_);
  free_ -= count;
  owed_ += count;
  table.anonymous += count;
}

void KvBlocks::reserve(BlockTable& table, std::int32_t count) {
  take(table, count);
  table.anonymous -= count;
  table.reserved += count;
}

void KvBlocks::settle() {
  if (owed_ > 0) pop_front(owed_);
  owed_ = 0;
}

// Takes blocks from the front of the free list; what they cached is gone.
void KvBlocks::pop_front(std::int32_t count) {
  while (count > 0) {
    const std::int32_t front = free_head_;
    Run& run = runs_[front];
    const std::int32_t step = std::min(count, run.end - run.begin);
    run.end -= step;
    count -= step;
    const std::int32_t node = run.node;
    const bool emptied = run.end == run.begin;
    if (emptied) drop_run(front);
    if (node == kNone) continue;
    Node& entry = nodes_[node];
    std::int32_t last = entry.first;
    for (std::int32_t copy = entry.first_copy; copy != kNone; copy = runs_[copy].next_copy) {
      last = std::max(last, runs_[copy].end);
    }
    if (last == entry.last) continue;
    CHECK(entry.children == 0, "a cached block outlived its parent");
    entry.last = last;
    if (last == entry.first) {
      remove_child(node);
      free_nodes_.push_back(node);
    }
  }
}

// --- the three things a scheduler does
// ------------------------------------------------------------

PrefixHit KvBlocks::look_up(const TokenSequence& tokens, std::int32_t max_tokens) {
  path_.clear();
  PrefixHit hit;
  if (!caching_) return hit;
  settle();
  const std::int32_t limit = std::min(max_tokens, tokens.length()) / block_size_;
  Cursor cursor;
  std::int32_t parent = kNone;
  while (hit.blocks < limit) {
    const std::int32_t node = find_child(parent, tokens, cursor);
    if (node == kNone) break;
    const Node& entry = nodes_[node];
    const std::int32_t wanted = std::min(entry.last - entry.first, limit - hit.blocks);
    const std::int32_t matched =
        common_tokens(node, tokens, cursor, wanted * block_size_) / block_size_;
    path_.push_back({node, matched});
    std::int32_t position = entry.first;
    const std::int32_t end = entry.first + matched;
    for (std::int32_t copy = entry.first_copy; copy != kNone && position < end;
         copy = runs_[copy].next_copy) {
      const std::int32_t reach = std::min(end, runs_[copy].end);
      if (reach <= position) continue;
      if (runs_[copy].owners == 0) hit.free_blocks += reach - position;
      position = reach;
    }
    CHECK(position == end, "a node has a block without a copy");
    hit.blocks += matched;
    if (matched < entry.last - entry.first) break;
    advance(tokens, cursor, matched * block_size_);
    parent = node;
  }
  return hit;
}

void KvBlocks::hold(BlockTable& table, std::int32_t run, std::int32_t end) {
  Run& entry = runs_[run];
  if (entry.owners++ == 0 && entry.in_free_list) {
    unlink(run);
    free_ -= entry.end - entry.begin;
  }
  table.held.push_back({run, end});
  table.registered = end;
}

void KvBlocks::touch(BlockTable& table) {
  CHECK(table.blocks() == 0);
  for (const PathStep& step : path_) {
    // `node` keeps the tail when it is split: walk it head by head until `end` is reached.
    const std::int32_t node = step.node;
    const std::int32_t end = nodes_[node].first + step.blocks;
    while (nodes_[node].first < end) {
      const std::int32_t copy = nodes_[node].first_copy;
      const std::int32_t reach = std::min(end, runs_[copy].end);
      if (reach == nodes_[node].last) {
        hold(table, copy, reach);
        break;
      }
      split(node, reach);  // `copy` now covers [first, reach) of the new head
      hold(table, copy, reach);
    }
  }
  path_.clear();
}

// Lists the pieces of a hold, in chain order.
void KvBlocks::collect_pieces(const BlockTable::Held& held) {
  pieces_.clear();
  std::int32_t run = held.run;
  pieces_.push_back(run);
  while (runs_[run].end < held.end) {
    run = runs_[run].split_next;
    CHECK(run != kNone, "a hold reaches past its run");
    pieces_.push_back(run);
  }
}

std::int32_t KvBlocks::last_node(const BlockTable& table) const {
  if (table.held.empty()) return kNone;
  std::int32_t run = table.held.back().run;
  while (runs_[run].end < table.held.back().end) run = runs_[run].split_next;
  return runs_[run].node;
}

void KvBlocks::register_content(BlockTable& table, const TokenSequence& tokens,
                                std::int32_t blocks) {
  if (!caching_ || blocks <= table.registered) return;
  settle();
  CHECK(blocks <= table.blocks() && blocks * block_size_ <= tokens.length());
  Cursor cursor = cursor_at(tokens, table.registered * block_size_);
  while (table.registered < blocks) {
    const std::int32_t parent = last_node(table);
    std::int32_t count = blocks - table.registered;
    const bool may_continue = parent != kNone && nodes_[parent].children == 0 &&
                              runs_[nodes_[parent].first_copy].next_copy == kNone &&
                              runs_[nodes_[parent].first_copy].owners == 1;
    const bool may_exist = parent == kNone || nodes_[parent].children > 0;
    const std::int32_t same = may_exist ? find_child(parent, tokens, cursor) : kNone;
    if (same != kNone) {
      // Content that somebody else registered before: ours is a further copy of it.
      const Node& entry = nodes_[same];
      const std::int32_t wanted = std::min(entry.last - entry.first, count);
      count = common_tokens(same, tokens, cursor, wanted * block_size_) / block_size_;
      std::int32_t node = same;
      if (count < entry.last - entry.first) {
        split(same, entry.first + count);
        node = nodes_[same].parent;
      }
      const std::int32_t run = new_run();
      runs_[run].node = node;
      runs_[run].begin = nodes_[node].first;
      runs_[run].end = nodes_[node].last;
      add_copy(node, run);
      hold(table, run, runs_[run].end);
      advance(tokens, cursor, count * block_size_);
    } else if (may_continue) {
      Run& run = runs_[nodes_[parent].first_copy];
      append_content(parent, tokens, cursor, count * block_size_);
      run.end += count;
      nodes_[parent].last += count;
      table.held.back().end = run.end;
      table.registered = run.end;
    } else {
      const std::int32_t node = new_node();
      const std::int32_t run = new_run();
      nodes_[node].parent = parent;
      nodes_[node].first = nodes_[node].last = table.registered;
      nodes_[node].first_copy = run;
      append_content(node, tokens, cursor, count * block_size_);
      nodes_[node].last += count;
      runs_[run].node = node;
      runs_[run].begin = nodes_[node].first;
      runs_[run].end = nodes_[node].last;
      insert_child(node);
      hold(table, run, runs_[run].end);
    }
    table.anonymous -= count;
  }
}

void KvBlocks::release(BlockTable& table, std::int32_t private_full) {
  CHECK(private_full >= 0 && private_full <= table.anonymous);
  settle();
  free_anonymous(table.anonymous - private_full + table.reserved, unhashed_first_);
  free_anonymous(private_full, false);
  for (auto held = table.held.rbegin(); held != table.held.rend(); ++held) {
    collect_pieces(*held);
    for (auto piece = pieces_.rbegin(); piece != pieces_.rend(); ++piece) {
      Run& run = runs_[*piece];
      CHECK(run.owners > 0);
      if (--run.owners > 0) continue;
      push_back(*piece);
      free_ += run.end - run.begin;
      const std::int32_t neighbour = run.free_previous;
      if (continues(*piece, neighbour)) merge(*piece, neighbour);
    }
  }
  table.held.clear();
  table.registered = 0;
  table.anonymous = 0;
  table.reserved = 0;
}

void KvBlocks::check_consistency() const {
  std::int32_t free_blocks = 0;
  std::int32_t previous = kNone;
  for (std::int32_t run = free_head_; run != kNone; run = runs_[run].free_next) {
    CHECK(runs_[run].in_free_list && runs_[run].owners == 0);
    CHECK(runs_[run].free_previous == previous);
    CHECK(runs_[run].end > runs_[run].begin);
    free_blocks += runs_[run].end - runs_[run].begin;
    previous = run;
  }
  CHECK(previous == free_tail_);
  CHECK(free_blocks == free_ + owed_ && free_blocks <= usable_);
  std::vector<std::int32_t> children(nodes_.size(), 0);
  std::size_t reachable = 0;
  for (const Slot& slot : table_) {
    if (slot.node == kNone) continue;
    const Node& entry = nodes_[slot.node];
    ++reachable;
    CHECK(key_of(slot.node) == slot.key);
    if (entry.parent != kNone) {
      ++children[entry.parent];
      CHECK(nodes_[entry.parent].last == entry.first);
    }
    std::int32_t last = entry.first;
    for (std::int32_t copy = entry.first_copy; copy != kNone; copy = runs_[copy].next_copy) {
      CHECK(runs_[copy].node == slot.node && runs_[copy].begin == entry.first);
      CHECK(runs_[copy].in_free_list == (runs_[copy].owners == 0));
      last = std::max(last, runs_[copy].end);
    }
    CHECK(last == entry.last && entry.last > entry.first);
  }
  CHECK(reachable == node_count());
  for (std::size_t node = 0; node < nodes_.size(); ++node) {
    if (nodes_[node].last > nodes_[node].first && nodes_[node].first_copy != kNone) {
      CHECK(children[node] == nodes_[node].children);
    }
  }
}

}  // namespace fleetsim
