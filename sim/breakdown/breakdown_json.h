#pragma once
// breakdown.json: the whole answer for programs (schema "fleetsim.breakdown/1"). Seconds, bytes,
// FLOPs; shares and utilisations as fractions. What does not apply is absent.

#include <nlohmann/json.hpp>

#include "sim/breakdown/breakdown.h"

namespace fleetsim {

nlohmann::ordered_json breakdown_json(const Breakdown& breakdown);

}  // namespace fleetsim
