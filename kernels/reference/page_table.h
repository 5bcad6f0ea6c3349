#pragma once
// Page tables of paged KV caches: which pages of a pool hold the tokens of each sequence.

#include <vector>

#include "kernels/reference/random_inputs.h"

namespace fleetsim::kernels {

/// Stands where a row has no page: no pool is that large, so that a kernel which uses it as one
/// reads far outside the pool.
inline constexpr int kNoPage = 0x7fffffff;

struct PageTable {
  int page_tokens = 0;
  int row_pages = 0;              // entries of a row: at least 1, one more than the longest needs
  int pool_pages = 0;             // pages of the pool
  std::vector<int> lengths;       // [sequences], tokens each, 0 allowed
  std::vector<int> pages;         // [sequences][row_pages]: page numbers, then kNoPage
  std::vector<int> valid_tokens;  // [pool_pages]: tokens of a page that some sequence holds

  int sequences() const { return static_cast<int>(lengths.size()); }
  int page_of(int sequence, int token) const {
    return pages[static_cast<std::size_t>(sequence) * row_pages + token / page_tokens];
  }
};

/// Every sequence gets pages of its own, in random order, from a pool with `spare_pages` pages that
/// nobody owns. page_tokens >= 1, lengths >= 0.
PageTable shuffled_page_table(const std::vector<int>& lengths, int page_tokens,
                              RandomInputs& random, int spare_pages = 3);

/// Sequence `to` holds the first `pages` pages of sequence `from` instead of its own, as after a
/// hit of the prefix cache; both hold at least that many full pages. Its old pages become spare.
void share_first_pages(PageTable& table, int from, int to, int pages);

}  // namespace fleetsim::kernels
