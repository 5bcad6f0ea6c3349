#pragma once
// The answer of a run in words: the sentence that opens the report and the terminal summary.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace fleetsim {

/// "300 × H100: SLO met in the worst minute, p95 e2e 2.9 s of 3 s; missed from +2 % load".
/// `data` is a report_data document.
std::string headline(const nlohmann::ordered_json& data);

/// The reasons beside it, one a line: how sure it is over seeds, what limits, what was lost.
std::vector<std::string> reasons(const nlohmann::ordered_json& data);

/// "300 × H100", pools joined by " + ".
std::string fleet_text(const nlohmann::ordered_json& data);
/// "h100-sxm" -> "H100".
std::string gpu_short_name(const std::string& gpu);
/// A percentile of seconds that may be null, beside its limit: "2.9 s of 3 s", "not reached (limit
/// 3 s)".
std::string of_limit_text(const nlohmann::ordered_json& limit);
/// "missed from +2 % load"; empty when the headroom was not searched.
std::string headroom_text(const nlohmann::ordered_json& data);
/// True when a hardware model priced the run (fixed and linear take the hardware out).
bool hardware_priced(const nlohmann::ordered_json& data);

}  // namespace fleetsim
