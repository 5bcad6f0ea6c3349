#pragma once
// report.html: one self-contained page that works offline, the answer first.

#include <nlohmann/json.hpp>
#include <string>

namespace fleetsim {

/// The page as a pure function of a report_data document. Everything it needs is inside it.
std::string report_html(const nlohmann::ordered_json& data);

}  // namespace fleetsim
