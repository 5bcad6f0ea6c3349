#pragma once
// The third visitor: writes a description as JSON Schema (draft 2020-12).

#include <string>

#include "sim/scenario/field.h"

namespace fleetsim {

/// `description` is bound to a value nobody needs: variants are tried on it.
std::string json_schema(const Record& description, const std::string& title,
                        const std::string& about);

}  // namespace fleetsim
