#pragma once
// The breakdown on the terminal: one screen, or with every operator.

#include <string>

#include "sim/breakdown/breakdown.h"

namespace fleetsim {

struct BreakdownTextOptions {
  bool operators = false;  // every operator of both phases, with rates and provenance
  bool color = false;
};

std::string breakdown_text(const Breakdown& breakdown, const BreakdownTextOptions& options);

}  // namespace fleetsim
