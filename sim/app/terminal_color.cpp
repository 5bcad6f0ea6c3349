#include "sim/app/terminal_color.h"

#include <unistd.h>

#include <cstdlib>

namespace fleetsim {

bool color_wanted(int descriptor) {
  const char* no_color = std::getenv("NO_COLOR");
  return isatty(descriptor) != 0 && (no_color == nullptr || *no_color == '\0');
}

}  // namespace fleetsim
