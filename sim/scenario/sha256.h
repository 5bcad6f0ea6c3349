#pragma once
// SHA-256 (FIPS 180-4): names a resolved scenario by its content.

#include <string>
#include <string_view>

namespace fleetsim {

/// 64 hexadecimal digits, lower case.
std::string sha256_hex(std::string_view bytes);

}  // namespace fleetsim
