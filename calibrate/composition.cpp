#include "calibrate/composition.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

bool is_decode(const Composition& composition, std::size_t i) { return composition.fresh[i] == 1; }

/// "512" or "128 to 8192".
struct Range {
  std::int64_t least = 0, most = 0;
  bool empty = true;
  void add(std::int64_t value) {
    least = empty ? value : std::min(least, value);
    most = empty ? value : std::max(most, value);
    empty = false;
  }
  std::string text() const {
    return least == most ? fmt::format("{}", least) : fmt::format("{} to {}", least, most);
  }
};

}  // namespace

std::int64_t Composition::new_tokens() const {
  return std::accumulate(fresh.begin(), fresh.end(), std::int64_t{0});
}

std::int64_t Composition::kv_tokens() const {
  return std::accumulate(cached.begin(), cached.end(), new_tokens());
}

std::int64_t Composition::longest() const {
  std::int64_t most = 0;
  for (std::size_t i = 0; i < sequences(); ++i) most = std::max(most, fresh[i] + cached[i]);
  return most;
}

std::int64_t Composition::decodes() const {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < sequences(); ++i) count += is_decode(*this, i) ? 1 : 0;
  return count;
}

std::int64_t Composition::paged_kv_tokens(std::int64_t page_tokens) const {
  CHECK(page_tokens >= 1, std::to_string(page_tokens));
  std::int64_t pages = 0;
  for (std::size_t i = 0; i < sequences(); ++i)
    pages += (fresh[i] + cached[i] + page_tokens - 1) / page_tokens;
  return pages * page_tokens;
}

const char* name_of(CompositionKind kind) {
  switch (kind) {
    case CompositionKind::decode:
      return "decode";
    case CompositionKind::ragged_decode:
      return "ragged decode";
    case CompositionKind::prefill:
      return "prefill";
    case CompositionKind::mixed:
      return "mixed";
  }
  CHECK(false, "kind of composition");
  return "";
}

CompositionKind kind_of(const Composition& composition) {
  CHECK(composition.sequences() > 0, "an iteration without sequences");
  const auto all = static_cast<std::int64_t>(composition.sequences());
  const std::int64_t decodes = composition.decodes();
  if (decodes == 0) return CompositionKind::prefill;
  if (decodes < all) return CompositionKind::mixed;
  const double mean =
      static_cast<double>(composition.kv_tokens()) / static_cast<double>(composition.sequences());
  const bool ragged = static_cast<double>(composition.longest()) >= kRagged * mean;
  return ragged ? CompositionKind::ragged_decode : CompositionKind::decode;
}

std::string text_of(const Composition& composition) {
  Range fresh, behind, contexts;
  std::int64_t chunks = 0, decodes = 0;
  for (std::size_t i = 0; i < composition.sequences(); ++i) {
    if (is_decode(composition, i)) {
      ++decodes;
      contexts.add(composition.cached[i]);
    } else {
      ++chunks;
      fresh.add(composition.fresh[i]);
      behind.add(composition.cached[i]);
    }
  }
  std::string text;
  if (chunks > 0)
    text = fmt::format("{} chunk{} of {} over {} cached", chunks, chunks == 1 ? "" : "s",
                       fresh.text(), behind.text());
  if (decodes > 0)
    text += fmt::format("{}{} decode{} over {} cached", text.empty() ? "" : ", ", decodes,
                        decodes == 1 ? "" : "s", contexts.text());
  return text;
}

}  // namespace fleetsim
