#pragma once
// The answers of a breakdown in sentences, for the terminal and the page.

#include <string>
#include <vector>

#include "sim/breakdown/breakdown.h"

namespace fleetsim {

/// One sentence: what prefill and decode wait for.
std::string breakdown_headline(const Breakdown& breakdown);

/// What follows from the figures, most important first; each a sentence.
std::vector<std::string> breakdown_findings(const Breakdown& breakdown);

/// A common claim about where an LLM's resources go, beside this deployment's figure.
struct CheckedClaim {
  std::string claim, here;
};
/// The claims that are quoted most, each with what this deployment does.
std::vector<CheckedClaim> checked_claims(const Breakdown& breakdown);

/// Binary sizes down to bytes: "4 KiB", "15 GiB".
std::string size_text(double bytes);
/// FLOPs or rates in powers of thousand: "13.9 G", "1.02 P".
std::string si_text(double value);
/// "decode-bound" words for a share list: "memory-bound 92 %, latency-bound 8 %".
std::string bounds_text(const PhaseBreakdown& phase);

}  // namespace fleetsim
