#include "kernels/reference/draft_tree.h"

#include "hw_models/check.h"

namespace fleetsim::kernels {

DraftTree chain_tree(int nodes) { return level_tree(nodes, 1); }

DraftTree star_tree(int nodes) { return level_tree(nodes, nodes); }

DraftTree random_tree(int nodes, RandomInputs& random) {
  DraftTree tree = {-1};
  for (int node = 1; node < nodes; ++node)
    tree.push_back(static_cast<int>(random.below(static_cast<std::uint32_t>(node))));
  return tree;
}

DraftTree level_tree(int nodes, int children) {
  CHECK(nodes >= 1 && children >= 1);
  DraftTree tree = {-1};
  for (int node = 1; node < nodes; ++node) tree.push_back((node - 1) / children);
  return tree;
}

std::vector<std::uint64_t> tree_masks(const DraftTree& tree) {
  CHECK(!tree.empty() && tree.size() <= 64 && tree[0] == -1);
  std::vector<std::uint64_t> masks = {1};
  for (std::size_t node = 1; node < tree.size(); ++node) {
    CHECK(tree[node] >= 0 && tree[node] < static_cast<int>(node));
    masks.push_back(masks[static_cast<std::size_t>(tree[node])] | std::uint64_t{1} << node);
  }
  return masks;
}

}  // namespace fleetsim::kernels
