#pragma once
// What one engine iteration asks of the GPU: the new and the cached tokens of each sequence.

#include <cstdint>
#include <string>
#include <vector>

namespace fleetsim {

/// Sequences in the order of scheduling; both lists have the same length. A sequence with one new
/// token counts as decode, as attention kernels see it; every other one is a chunk of a prompt.
struct Composition {
  std::vector<std::int64_t> fresh;  // q_i: tokens computed now, 1 or more
  std::vector<std::int64_t>
      cached;  // c_i: tokens whose keys and values are in the cache, 0 or more

  std::size_t sequences() const { return fresh.size(); }
  std::int64_t new_tokens() const;
  /// Of all sequences after the iteration: sum of c_i + q_i.
  std::int64_t kv_tokens() const;
  /// max of c_i + q_i.
  std::int64_t longest() const;
  std::int64_t decodes() const;
  /// The same when every sequence's KV is rounded up to whole pages.
  std::int64_t paged_kv_tokens(std::int64_t page_tokens) const;

  bool operator==(const Composition&) const = default;
  auto operator<=>(const Composition&) const = default;
};

/// Kinds whose costs follow different operators; scores are told apart by them.
enum class CompositionKind {
  decode,         // one new token each, contexts of one size
  ragged_decode,  // the longest has at least kRagged times the mean context
  prefill,        // chunks of prompts alone
  mixed,          // chunks beside decodes
};
inline constexpr int kCompositionKinds = 4;
inline constexpr double kRagged = 4;
const char* name_of(CompositionKind kind);
/// Valid: at least one sequence.
CompositionKind kind_of(const Composition& composition);

/// "64 decodes of 2,048 cached" for people: counts, and least to most where they differ.
std::string text_of(const Composition& composition);

}  // namespace fleetsim
