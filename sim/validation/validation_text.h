#pragma once
// A validation for the terminal, for VALIDATION.md, and as one CSV line a row.

#include <string>

#include "sim/validation/validation.h"

namespace fleetsim {

/// Tables for people, columns aligned.
std::string validation_text(const Validation& validation);

/// VALIDATION.md: every class and family, the weak ones too. Nothing in it depends on the machine
/// or the day.
std::string validation_markdown(const Validation& validation);

/// A CSV table, one line a simulated row: what was measured and predicted, the error, and where the
/// time of the mean iteration goes.
std::string rows_csv(const ServiceValidation& validation);

}  // namespace fleetsim
