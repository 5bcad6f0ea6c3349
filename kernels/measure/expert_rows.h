#pragma once
// What the points of experts have in common: the choices of their tokens on the device, and the
// memory of the order that follows from them.

#include <vector>

#include "kernels/measure/arena.h"
#include "kernels/measure/expert_choices.h"
#include "kernels/operators/expert_permutation.h"

namespace fleetsim::kernels {

/// Choices and their order; the busiest GPU's experts come first.
struct ExpertRows {
  ExpertLayer layer;
  std::vector<std::int32_t> choices;  // [tokens][experts_per_token]
  LocalRows here;
  ExpertOrderArguments order;  // ids on the device, outputs and workspace

  int tokens() const { return static_cast<int>(layer.tokens); }
  int picks() const { return static_cast<int>(layer.experts_per_token); }
  std::size_t slots() const { return choices.size(); }
};
/// Errors: ArenaFull; NotSupportedHere for more choices than the order can count.
ExpertRows take_expert_rows(const Point& point, Arena& arena);

/// Entries of the order on the device that are not as they should be.
double wrong_places(const ExpertRows& rows);

}  // namespace fleetsim::kernels
