#pragma once
// validation.html: one self-contained page that works offline and without JavaScript.

#include <string>

#include "sim/validation/validation.h"

namespace fleetsim {

std::string validation_html(const Validation& validation);

}  // namespace fleetsim
