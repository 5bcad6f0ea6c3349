#pragma once
// validation.json: scores and rows for programs (schema "fleetsim.validation/1").

#include <string>

#include "sim/validation/validation.h"

namespace fleetsim {

/// The whole file. Seconds, shares; the same bytes on every run.
std::string validation_json(const Validation& validation);

}  // namespace fleetsim
