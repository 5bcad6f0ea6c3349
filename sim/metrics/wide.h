#pragma once
// A 128-bit sum: nanoseconds times blocks or requests pass 2^63 within minutes of a large fleet.

#include <cstdint>

namespace fleetsim {

/// Signed 128-bit integer; exact for every sum of the meters (292 years x 2^63 of anything).
__extension__ using Wide = __int128;

}  // namespace fleetsim
