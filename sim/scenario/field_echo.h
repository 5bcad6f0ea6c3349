#pragma once
// The second visitor: writes the values behind a description as canonical YAML.

#include <string>

#include "sim/scenario/field.h"

namespace fleetsim {

/// Block style, two spaces a level, every given key in the order of the description.
std::string echo_record(const Record& description);

/// A text as a YAML scalar: plain where that is unambiguous, else double-quoted.
std::string yaml_text(const std::string& text);

}  // namespace fleetsim
