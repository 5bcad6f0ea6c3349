#pragma once
// replay.json: the comparison of a replay for programs (schema fleetsim.replay/1).

#include <string>

#include "sim/validation/replay_scores.h"

namespace fleetsim {

/// Seconds and shares. Ends with a line end.
std::string replay_json(const ReplayScores& scores);

}  // namespace fleetsim
