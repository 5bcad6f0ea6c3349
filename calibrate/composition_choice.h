#pragma once
// Which iterations of a log are replayed: a stratified sample, so that rare kinds are measured as
// well as common ones, and built ones at the edges of what the log reaches.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "calibrate/composition.h"

namespace fleetsim {

struct ChosenComposition {
  Composition composition;
  std::string stratum;  // "decode, batch 64 to 127", "built: one long among many short"
};

/// Looks at a log's iterations one by one and keeps a few of each stratum. Strata: decodes by
/// octave of their number; ragged decodes; chunks alone, first ones by octave of their tokens and
/// later ones; chunks beside decodes by octave of the decodes; and, across kinds, those that hold
/// nearly as many KV tokens as any. What is kept depends on the seed and on the set of iterations
/// alone, not on their order or how often one occurs. Memory: a few hundred iterations.
class CompositionChoice {
 public:
  /// `count`: how many choose() returns at most, 1 or more.
  CompositionChoice(std::int64_t count, std::uint64_t seed);

  void add(const Composition& composition);

  std::int64_t seen() const { return seen_; }
  /// The sample: kinds by turns, inside a kind strata by turns, so that a small `count` has some of
  /// each; no composition twice. In an order that begins with one of each kind.
  std::vector<ChosenComposition> choose() const;
  /// Ten built from the log's maxima: of tokens in a sequence, of sequences, of new tokens in an
  /// iteration. `page_tokens`: of a KV block. Empty when nothing was added.
  std::vector<ChosenComposition> adversarial(std::int64_t page_tokens) const;

 private:
  /// The compositions with the least hashes, ascending.
  using Kept = std::set<std::pair<std::uint64_t, Composition>>;
  /// (place of the kind in the turns, place of the stratum in the kind).
  using StratumKey = std::pair<int, std::int64_t>;
  void keep(Kept& kept, std::uint64_t hash, const Composition& composition) const;

  std::int64_t count_;
  std::uint64_t seed_;
  std::int64_t seen_ = 0;
  std::map<StratumKey, Kept> strata_;
  std::map<std::int64_t, Kept> fullest_;  // by size of the KV, the highest two classes alone
  std::int64_t longest_ = 0, most_sequences_ = 0, most_new_ = 0;
};

}  // namespace fleetsim
