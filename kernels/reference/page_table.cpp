#include "kernels/reference/page_table.h"

#include <algorithm>

#include "hw_models/check.h"

namespace fleetsim::kernels {
namespace {

/// Tokens that are held, page by page.
std::vector<int> tokens_held(const PageTable& table) {
  std::vector<int> held(static_cast<std::size_t>(table.pool_pages), 0);
  for (int sequence = 0; sequence < table.sequences(); ++sequence) {
    const int length = table.lengths[static_cast<std::size_t>(sequence)];
    for (int token = 0; token < length; token += table.page_tokens) {
      int& tokens = held[static_cast<std::size_t>(table.page_of(sequence, token))];
      tokens = std::max(tokens, std::min(table.page_tokens, length - token));
    }
  }
  return held;
}

}  // namespace

PageTable shuffled_page_table(const std::vector<int>& lengths, int page_tokens,
                              RandomInputs& random, int spare_pages) {
  CHECK(page_tokens >= 1 && spare_pages >= 0);
  PageTable table;
  table.page_tokens = page_tokens;
  table.lengths = lengths;
  table.row_pages = 1;
  table.pool_pages = spare_pages;
  for (const int length : lengths) {
    CHECK(length >= 0);
    const int pages = ceil_div(length, page_tokens);
    table.row_pages = std::max(table.row_pages, pages + 1);
    table.pool_pages += pages;
  }
  table.pages.assign(lengths.size() * static_cast<std::size_t>(table.row_pages), kNoPage);
  const std::vector<int> order = random.shuffled(table.pool_pages);
  std::size_t next = 0;
  for (std::size_t sequence = 0; sequence < lengths.size(); ++sequence)
    for (int page = 0; page < ceil_div(lengths[sequence], page_tokens); ++page)
      table.pages[sequence * table.row_pages + page] = order[next++];
  table.valid_tokens = tokens_held(table);
  return table;
}

void share_first_pages(PageTable& table, int from, int to, int pages) {
  CHECK(from != to && pages >= 0);
  for (const int sequence : {from, to})
    CHECK(table.lengths.at(static_cast<std::size_t>(sequence)) >= pages * table.page_tokens);
  const auto row = [&](int sequence) { return table.pages.begin() + sequence * table.row_pages; };
  std::copy(row(from), row(from) + pages, row(to));
  table.valid_tokens = tokens_held(table);
}

}  // namespace fleetsim::kernels
