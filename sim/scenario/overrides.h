#pragma once
// `--set path.to.key=value` written into the tree of a scenario file before it is read.

#include <string>
#include <vector>

#include "hw_models/problems.h"
#include "hw_models/yaml_reader.h"

namespace fleetsim {

/// Applies each of `sets` in order. Nodes that override k brings carry the line -(k + 1), so that
/// the reader can blame the command line. A list is entered by index, or by its items' name or id.
void apply_overrides(YamlNode& root, const std::vector<std::string>& sets, Problems& problems);

/// How messages name an override: "--set a.b=c".
std::string override_name(const std::string& set);

}  // namespace fleetsim
