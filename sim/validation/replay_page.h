#pragma once
// The page of a replay: predicted against measured iterations, one self-contained file.

#include <string>

#include "sim/validation/replay_scores.h"

namespace fleetsim {

/// A pure function of `scores`; depends on nothing outside itself.
std::string replay_html(const ReplayScores& scores);

}  // namespace fleetsim
