#pragma once
// Whether a stream wants colours.

namespace fleetsim {

/// `descriptor` is a terminal, and the user does not refuse colours ($NO_COLOR set and not empty:
/// https://no-color.org).
bool color_wanted(int descriptor);

}  // namespace fleetsim
