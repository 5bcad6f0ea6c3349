// A complete binary tree of minima: an update walks one path up, a search one path down.

#include "sim/fleet/outstanding.h"

#include <algorithm>
#include <limits>

#include "hw_models/check.h"

namespace fleetsim {

OutstandingCounts::OutstandingCounts(std::int32_t replicas) : size_(replicas), leaves_(1) {
  CHECK(replicas >= 1);
  while (leaves_ < replicas) leaves_ *= 2;
  tree_.assign(static_cast<std::size_t>(2 * leaves_), std::numeric_limits<std::int32_t>::max());
  for (std::int32_t i = 0; i < replicas; ++i) tree_[static_cast<std::size_t>(leaves_ + i)] = 0;
  for (std::int32_t i = leaves_ - 1; i >= 1; --i) {
    const std::size_t node = static_cast<std::size_t>(i);
    tree_[node] = std::min(tree_[2 * node], tree_[2 * node + 1]);
  }
}

void OutstandingCounts::add(std::int32_t replica, std::int32_t change) {
  std::size_t node = static_cast<std::size_t>(leaves_ + replica);
  tree_[node] += change;
  CHECK(tree_[node] >= 0);
  total_ += change;
  for (node /= 2; node >= 1; node /= 2) {
    const std::int32_t least = std::min(tree_[2 * node], tree_[2 * node + 1]);
    if (tree_[node] == least) break;
    tree_[node] = least;
  }
}

std::int32_t OutstandingCounts::least(std::int32_t start) const {
  const std::int32_t bound = tree_[1];
  const std::int32_t after = first_at_most(start, size_, bound);
  return after >= 0 ? after : first_at_most(0, start, bound);
}

// The first leaf in [from, to) with a count of at most `bound`, or -1.
std::int32_t OutstandingCounts::first_at_most(std::int32_t from, std::int32_t to,
                                              std::int32_t bound) const {
  if (from >= to) return -1;
  std::size_t node = static_cast<std::size_t>(leaves_ + from);
  // Go right, climbing where a subtree is exhausted, until one holds an answer; then descend into
  // it.
  while (tree_[node] > bound) {
    while (node % 2 == 1) node /= 2;
    if (node == 0) return -1;
    ++node;
  }
  while (node < static_cast<std::size_t>(leaves_)) {
    node = tree_[2 * node] <= bound ? 2 * node : 2 * node + 1;
  }
  const std::int32_t leaf = static_cast<std::int32_t>(node) - leaves_;
  return leaf < to ? leaf : -1;
}

}  // namespace fleetsim
