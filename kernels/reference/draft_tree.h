#pragma once
// Draft trees of speculative decoding: which tokens a draft model proposes behind which.
//
// A tree of n nodes is the list of their parents. Node 0 is the root: the last token that is
// certain. Nodes stand behind their parents; children of a node are tried in the order in which
// they stand. A chain is the tree in which each node's parent is the one before it.

#include <cstdint>
#include <vector>

#include "kernels/reference/random_inputs.h"

namespace fleetsim::kernels {

/// Parents of nodes 0 to n - 1; that of the root is -1.
using DraftTree = std::vector<int>;

/// n >= 1 nodes behind each other.
DraftTree chain_tree(int nodes);
/// A root and its children.
DraftTree star_tree(int nodes);
/// Every node's parent is one of the nodes before it, by chance.
DraftTree random_tree(int nodes, RandomInputs& random);
/// Every node has up to `children` children, level after level.
DraftTree level_tree(int nodes, int children);

/// What a node sees of its tree, itself and its ancestors: bit j of mask i is node j. At most 64
/// nodes; CHECK, as for a parent that does not stand before its node.
std::vector<std::uint64_t> tree_masks(const DraftTree& tree);

}  // namespace fleetsim::kernels
