#pragma once
// What `fleetsim list` and `fleetsim show` print: everything that is built in, with its sources.

#include <string>

namespace fleetsim {

/// Tables, one line an entry, ending in a newline.
std::string gpu_list();
std::string model_list();
std::string policy_list();
std::string scenario_list();

/// One entry in full. Errors: ConfigError naming the nearest name when there is none.
std::string gpu_page(const std::string& name);
std::string model_page(const std::string& name);
std::string scenario_page(const std::string& name);

}  // namespace fleetsim
