#pragma once
// Requests outstanding at each replica of a group, with the least loaded one found in O(log n).

#include <cstdint>
#include <vector>

namespace fleetsim {

/// Counts of routed and not yet ended requests; a tournament tree over their minimum.
class OutstandingCounts {
 public:
  explicit OutstandingCounts(std::int32_t replicas);

  std::int32_t size() const { return size_; }
  std::int32_t operator[](std::int32_t replica) const {
    return tree_[static_cast<std::size_t>(leaves_ + replica)];
  }
  std::int64_t total() const { return total_; }
  void add(std::int32_t replica, std::int32_t change);
  /// The replica with the fewest outstanding requests; among equals the first at or after `start`,
  /// going round.
  std::int32_t least(std::int32_t start) const;

 private:
  std::int32_t first_at_most(std::int32_t from, std::int32_t to, std::int32_t bound) const;

  std::int32_t size_, leaves_;
  std::int64_t total_ = 0;
  std::vector<std::int32_t> tree_;  // node i has children 2i and 2i+1; leaves from leaves_
};

}  // namespace fleetsim
