#pragma once
// The summary that `fleetsim run` prints: one screen, the answer first.

#include <nlohmann/json.hpp>
#include <string>

#include "sim/metrics/summary.h"

namespace fleetsim {

/// Text of about 30 lines. `data`: a report_data document; `color`: with ANSI colours.
std::string terminal_summary(const nlohmann::ordered_json& data, const WallSection& wall,
                             bool color);

}  // namespace fleetsim
