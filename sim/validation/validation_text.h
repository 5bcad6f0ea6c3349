#pragma once
// Scores as text: tables for the terminal and for VALIDATION.md, one CSV line a row.

#include <string>

#include "sim/validation/service_validation.h"

namespace fleetsim {

/// Tables for people, widths aligned, at most 120 columns.
std::string services_text(const ServiceValidation& validation);

/// A CSV table, one line a simulated row: what was measured and predicted, the error, and where the
/// time of the mean iteration goes.
std::string rows_csv(const ServiceValidation& validation);

}  // namespace fleetsim
