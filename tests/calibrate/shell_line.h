#pragma once
// The program as a user starts it from a shell, with a script in place of fleetsim-kernels.

#include <string>

#include "tests/calibrate/synthetic_profile.h"

namespace fleetsim {

struct Ended {
  int exit_code = 0;
  std::string out, err;
};

/// Runs a shell line with $FLEETSIM, $KERNELS (a script with `script` in it) and $DIR set.
Ended shell(const ScratchFolder& scratch, const std::string& line, const std::string& script = "");

void check_contains(const std::string& text, const std::string& part);

}  // namespace fleetsim
