// A composition's place in the sample is a hash of its content and the seed: the same wherever it
// stands in the log.

#include "calibrate/composition_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

std::uint64_t mixed(std::uint64_t state, std::uint64_t number) {
  state += 0x9e3779b97f4a7c15u + number;
  state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9u;
  state = (state ^ (state >> 27)) * 0x94d049bb133111ebu;
  return state ^ (state >> 31);
}

std::uint64_t hash_of(const Composition& composition, std::uint64_t seed) {
  std::uint64_t state = mixed(0, seed);
  for (std::size_t i = 0; i < composition.sequences(); ++i) {
    state = mixed(state, static_cast<std::uint64_t>(composition.fresh[i]));
    state = mixed(state, static_cast<std::uint64_t>(composition.cached[i]));
  }
  return state;
}

/// 1 -> 0, 2 and 3 -> 1, 4 to 7 -> 2.
std::int64_t octave_of(std::int64_t n) {
  return std::bit_width(static_cast<std::uint64_t>(std::max<std::int64_t>(n, 1))) - 1;
}
std::string octave_text(std::int64_t octave) {
  const std::int64_t low = std::int64_t{1} << octave;
  return low == 1 ? "1" : fmt::format("{} to {}", low, 2 * low - 1);
}

constexpr std::int64_t kLaterChunks = 64;  // a stratum's place behind all octaves

/// Turns are taken in this order.
enum Turn { kDecodes, kPrompts, kMixed, kRagged, kNearlyFull, kTurns };

/// Classes of KV size are 5 % wide, so that the highest two are those within 5 to 10 % of the most.
constexpr double kKvClass = 1.05;
std::int64_t kv_class(const Composition& composition) {
  return static_cast<std::int64_t>(
      std::floor(std::log(static_cast<double>(composition.kv_tokens())) / std::log(kKvClass)));
}

std::pair<int, std::int64_t> stratum_of(const Composition& composition) {
  switch (kind_of(composition)) {
    case CompositionKind::decode:
      return {kDecodes, octave_of(composition.decodes())};
    case CompositionKind::ragged_decode:
      return {kRagged, octave_of(composition.decodes())};
    case CompositionKind::prefill: {
      const bool first = std::all_of(composition.cached.begin(), composition.cached.end(),
                                     [](std::int64_t cached) { return cached == 0; });
      return {kPrompts, (first ? 0 : kLaterChunks) + octave_of(composition.new_tokens())};
    }
    case CompositionKind::mixed:
      return {kMixed, octave_of(composition.decodes())};
  }
  CHECK(false, "kind of composition");
  return {};
}

std::string text_of_stratum(int turn, std::int64_t place) {
  switch (turn) {
    case kDecodes:
      return fmt::format("decode, batch {}", octave_text(place));
    case kRagged:
      return fmt::format("ragged decode, batch {}", octave_text(place));
    case kPrompts:
      return place < kLaterChunks
                 ? fmt::format("first chunks, {} tokens", octave_text(place))
                 : fmt::format("later chunks, {} tokens", octave_text(place - kLaterChunks));
    case kMixed:
      return fmt::format("chunks beside decodes, batch {}", octave_text(place));
    default:
      return "nearly full KV";
  }
}

/// Sequences of a composition that is built.
class Built {
 public:
  Built(const char* name) { chosen_.stratum = std::string("built: ") + name; }
  Built& add(std::int64_t sequences, std::int64_t fresh, std::int64_t cached) {
    for (std::int64_t i = 0; i < sequences; ++i) {
      chosen_.composition.fresh.push_back(fresh);
      chosen_.composition.cached.push_back(cached);
    }
    return *this;
  }
  ChosenComposition take() { return std::move(chosen_); }

 private:
  ChosenComposition chosen_;
};

}  // namespace

CompositionChoice::CompositionChoice(std::int64_t count, std::uint64_t seed)
    : count_(count), seed_(seed) {
  CHECK(count >= 1, std::to_string(count));
}

void CompositionChoice::keep(Kept& kept, std::uint64_t hash, const Composition& composition) const {
  if (static_cast<std::int64_t>(kept.size()) >= count_ && kept.rbegin()->first < hash) return;
  kept.emplace(hash, composition);
  if (static_cast<std::int64_t>(kept.size()) > count_) kept.erase(std::prev(kept.end()));
}

void CompositionChoice::add(const Composition& composition) {
  ++seen_;
  longest_ = std::max(longest_, composition.longest());
  most_sequences_ = std::max(most_sequences_, static_cast<std::int64_t>(composition.sequences()));
  most_new_ = std::max(most_new_, composition.new_tokens());
  const std::uint64_t hash = hash_of(composition, seed_);
  keep(strata_[stratum_of(composition)], hash, composition);
  const std::int64_t size = kv_class(composition);
  if (!fullest_.empty() && size < fullest_.rbegin()->first - 1) return;
  keep(fullest_[size], hash, composition);
  fullest_.erase(fullest_.begin(), fullest_.lower_bound(fullest_.rbegin()->first - 1));
}

std::vector<ChosenComposition> CompositionChoice::choose() const {
  struct Queue {
    std::string stratum;
    std::vector<const Composition*> left;  // last one next
  };
  std::vector<std::vector<Queue>> turns(kTurns);
  const auto queue_of = [](const Kept& kept, std::string stratum) {
    Queue queue{std::move(stratum), {}};
    for (auto one = kept.rbegin(); one != kept.rend(); ++one) queue.left.push_back(&one->second);
    return queue;
  };
  for (const auto& [key, kept] : strata_)
    turns[static_cast<std::size_t>(key.first)].push_back(
        queue_of(kept, text_of_stratum(key.first, key.second)));
  Kept fullest;
  for (const auto& [size, kept] : fullest_) fullest.insert(kept.begin(), kept.end());
  turns[kNearlyFull].push_back(queue_of(fullest, text_of_stratum(kNearlyFull, 0)));

  std::vector<ChosenComposition> chosen;
  std::set<Composition> taken;
  std::vector<std::size_t> next(kTurns, 0);  // stratum of each kind
  const auto take_one = [&](std::size_t turn) {
    std::vector<Queue>& queues = turns[turn];
    for (std::size_t tried = 0; tried < queues.size(); ++tried) {
      Queue& queue = queues[next[turn]++ % queues.size()];
      while (!queue.left.empty()) {
        const Composition& composition = *queue.left.back();
        queue.left.pop_back();
        if (!taken.insert(composition).second) continue;
        chosen.push_back({composition, queue.stratum});
        return true;
      }
    }
    return false;
  };
  for (bool any = true; any && static_cast<std::int64_t>(chosen.size()) < count_;) {
    any = false;
    for (std::size_t turn = 0; turn < kTurns; ++turn)
      if (static_cast<std::int64_t>(chosen.size()) < count_ && take_one(turn)) any = true;
  }
  return chosen;
}

std::vector<ChosenComposition> CompositionChoice::adversarial(std::int64_t page_tokens) const {
  if (seen_ == 0) return {};
  // The tiles that attention kernels cut queries and keys into.
  constexpr std::int64_t kTile = 128;
  const std::int64_t batch = std::max<std::int64_t>(most_sequences_, 2);
  const std::int64_t longest = std::max<std::int64_t>(longest_, 2);
  const std::int64_t chunk = std::max<std::int64_t>(most_new_, 1);
  const std::int64_t pages = std::max<std::int64_t>(longest / (2 * page_tokens), 1) * page_tokens;
  const auto of_three = [&](std::int64_t i) { return batch / 3 + (i < batch % 3 ? 1 : 0); };
  std::vector<ChosenComposition> built;
  const auto add = [&](Built& one) { built.push_back(one.take()); };
  add(Built("one sequence with the longest context").add(1, 1, longest - 1));
  add(Built("one long among many short").add(1, 1, longest - 1).add(batch - 1, 1, page_tokens));
  add(Built("most sequences, one cached token each").add(batch, 1, 1));
  add(Built("the new token ends a page").add(batch, 1, std::max<std::int64_t>(pages - 1, 1)));
  add(Built("the new token begins a page").add(batch, 1, pages));
  Built tiles("contexts of 127, 128 and 129 tokens");
  for (const std::int64_t i : {0, 1, 2})
    if (of_three(i) > 0) tiles.add(of_three(i), 1, kTile - 2 + i);
  add(tiles);
  add(Built("prompts of 127, 128 and 129 tokens")
          .add(1, kTile - 1, 0)
          .add(1, kTile, 0)
          .add(1, kTile + 1, 0));
  add(Built("one prompt of the most new tokens").add(1, chunk, 0));
  add(Built("a short last chunk behind the longest context")
          .add(1, kTile + 1, std::max<std::int64_t>(longest - kTile - 1, 0)));
  add(Built("the largest chunk beside most decodes")
          .add(1, std::max<std::int64_t>(chunk - batch + 1, 2), 0)
          .add(batch - 1, 1, std::max<std::int64_t>(longest / 2, 1)));
  return built;
}

}  // namespace fleetsim
