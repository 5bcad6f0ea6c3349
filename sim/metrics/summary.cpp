// The verdict over all objectives of a run.

#include "sim/metrics/summary.h"

#include <algorithm>

namespace fleetsim {

bool Summary::slo_met() const {
  return std::all_of(slo.begin(), slo.end(), [](const SloSection& section) { return section.met; });
}

}  // namespace fleetsim
