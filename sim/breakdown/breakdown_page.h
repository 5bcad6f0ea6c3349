#pragma once
// breakdown.html: one self-contained page that works offline, in the look of a run's report.

#include <string>

#include "sim/breakdown/breakdown.h"

namespace fleetsim {

/// The page as a pure function of the breakdown. Everything it needs is inside it.
std::string breakdown_html(const Breakdown& breakdown);

}  // namespace fleetsim
