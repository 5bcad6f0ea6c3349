#pragma once
// The file form of a fitted GPU (schema fleetsim.fitted/1): what `fleetsim calibrate fit` writes
// and what is linked into the program. Surfaces stand in few long texts, so that reading a file
// takes milliseconds: integers in thousandths of a neper (0.1 % of a time), a line for each row of
// the last axis, `?` behind those that no measurement supports;
// a mere `?` repeats the number before it.

#include <string>
#include <string_view>

#include "hw_models/fitted_gpu.h"

namespace fleetsim {

/// The same bytes for the same fit. What the file cannot hold (rates beyond four digits) is the
/// fit's to round: as_in_file.
std::string fitted_text(const FittedGpu& fitted);

/// Rounds what the file rounds, so that reading gives back exactly this.
void round_as_in_file(OperatorFamily& family);

/// Errors: InternalError, since these files are ours. `name` is for its message.
FittedGpu read_fitted(std::string_view text, const std::string& name);

}  // namespace fleetsim
