#pragma once
// The comparison of a replay on the terminal.

#include <string>

#include "sim/validation/replay_scores.h"

namespace fleetsim {

/// Headline, tables by kind and operator, the five worst iterations operator by operator, findings.
/// Ends with a line end. `color`: for a terminal.
std::string replay_text(const ReplayScores& scores, bool color);

}  // namespace fleetsim
