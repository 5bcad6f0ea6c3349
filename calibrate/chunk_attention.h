#pragma once
// What the causal mask and a sliding window leave of one request's prompt chunk.

#include <algorithm>

namespace fleetsim {

/// `queries` new tokens behind `cached` ones; a query sees at most the last `window` tokens, itself
/// included; 0: all of them. Valid: whole numbers, queries 1 or more.
struct ChunkAttention {
  double queries = 1, cached = 0, window = 0;

  /// Whether the window keeps any query from a key that it would see without.
  bool cut_by_window() const { return window > 0 && cached + queries > window; }

  /// (query, key) pairs.
  double pairs() const {
    const double all = queries * cached + queries * (queries + 1) / 2;
    if (!cut_by_window()) return all;
    // queries that see less than a full window: those with cached + i < window, i from 1
    const double growing = std::clamp(window - cached - 1, 0.0, queries);
    return growing * cached + growing * (growing + 1) / 2 + (queries - growing) * window;
  }

  /// Tokens of KV that some query sees.
  double keys_in_reach() const {
    return queries + (window > 0 ? std::min(cached, window - 1) : cached);
  }
};

}  // namespace fleetsim
