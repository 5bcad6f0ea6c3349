#pragma once
// The KV-block pool written the obvious way, block by block, with a hash per block: what KvBlocks
// must be indistinguishable from. Slow on purpose.

#include <algorithm>
#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "sim/engine/kv_blocks.h"

namespace fleetsim::test {

class PlainKvBlocks {
 public:
  struct Table {
    std::vector<int> blocks;
    int registered = 0;
  };

  PlainKvBlocks(int usable, int block_size, bool caching, bool unhashed_first)
      : block_size_(block_size), caching_(caching), unhashed_first_(unhashed_first) {
    blocks_.resize(static_cast<std::size_t>(usable));
    for (int i = 0; i < usable; ++i) free_.push_back(i);
  }

  int free() const { return static_cast<int>(free_.size()); }

  /// The content of the first `blocks` blocks, one text a block, each including all before it.
  std::string content(const TokenSequence& tokens, int blocks) const {
    std::string text;
    int left = blocks * block_size_;
    auto add = [&](StreamId stream, int from, int length) {
      for (int i = 0; i < std::min(left, length); ++i) {
        text += std::to_string(stream) + ":" + std::to_string(from + i) + " ";
      }
      left -= std::min(left, length);
    };
    for (const Stretch& stretch : *tokens.prompt)
      add(stretch.stream, stretch.from, stretch.length());
    add(tokens.output_stream, 0, tokens.generated);
    return text;
  }

  std::vector<int> look_up(const TokenSequence& tokens, int max_tokens) const {
    std::vector<int> hits;
    if (!caching_) return hits;
    const int limit = std::min(max_tokens, tokens.length()) / block_size_;
    for (int i = 1; i <= limit; ++i) {
      const auto found = cached_.find(content(tokens, i));
      if (found == cached_.end()) break;
      hits.push_back(found->second.front());
    }
    return hits;
  }

  int free_among(const std::vector<int>& hits) const {
    int count = 0;
    for (int block : hits) count += blocks_[static_cast<std::size_t>(block)].owners == 0;
    return count;
  }

  void touch(Table& table, const std::vector<int>& hits) {
    for (int block : hits) {
      if (blocks_[static_cast<std::size_t>(block)].owners++ == 0) free_.remove(block);
      table.blocks.push_back(block);
    }
    table.registered = static_cast<int>(hits.size());
  }

  void take(Table& table, int count) {
    for (int i = 0; i < count; ++i) {
      const int block = free_.front();
      free_.pop_front();
      Block& entry = blocks_[static_cast<std::size_t>(block)];
      if (!entry.content.empty()) {
        std::vector<int>& copies = cached_[entry.content];
        copies.erase(std::find(copies.begin(), copies.end(), block));
        if (copies.empty()) cached_.erase(entry.content);
        entry.content.clear();
      }
      entry.owners = 1;
      table.blocks.push_back(block);
    }
  }

  void register_content(Table& table, const TokenSequence& tokens, int blocks) {
    if (!caching_) return;
    for (; table.registered < blocks; ++table.registered) {
      const int block = table.blocks[static_cast<std::size_t>(table.registered)];
      Block& entry = blocks_[static_cast<std::size_t>(block)];
      entry.content = content(tokens, table.registered + 1);
      cached_[entry.content].push_back(block);
    }
  }

  void release(Table& table) {
    std::vector<int> unhashed;
    for (auto block = table.blocks.rbegin(); block != table.blocks.rend(); ++block) {
      Block& entry = blocks_[static_cast<std::size_t>(*block)];
      if (--entry.owners > 0) continue;
      if (entry.content.empty() && unhashed_first_) {
        unhashed.push_back(*block);
      } else {
        free_.push_back(*block);
      }
    }
    free_.insert(free_.begin(), unhashed.begin(), unhashed.end());
    table = Table{};
  }

 private:
  struct Block {
    int owners = 0;
    std::string content;
  };
  int block_size_;
  bool caching_, unhashed_first_;
  std::vector<Block> blocks_;
  std::list<int> free_;
  std::map<std::string, std::vector<int>> cached_;  // content -> copies in order of registration
};

}  // namespace fleetsim::test
