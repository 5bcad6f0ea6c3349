#pragma once
// Vega-Lite specs from plots/: loaded, given their data, their parameters set.

#include <nlohmann/json.hpp>
#include <string>

namespace fleetsim {

/// A file of plots/ by name. CHECK: it is embedded.
std::string plot_file(const std::string& name);

/// A spec of plots/ with its data sets by name; layers whose data set is empty go away (an axis has
/// no extent over nothing). CHECK: the file is embedded.
nlohmann::ordered_json spec_with(const std::string& file, nlohmann::ordered_json datasets);

/// Sets a parameter that the spec declares under `params`. CHECK: it does.
void set_parameter(nlohmann::ordered_json& spec, const std::string& name,
                   nlohmann::ordered_json value);

}  // namespace fleetsim
