#pragma once
// SHA-256 (FIPS 180-4): names a resolved scenario, and a profile's tables, by their content.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace fleetsim {

/// The digest of bytes that come piece by piece.
class Sha256 {
 public:
  void add(std::string_view bytes);
  /// Of everything added so far, 64 hexadecimal digits, lower case; more may follow.
  std::string hex() const;

 private:
  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::string rest_;  // less than a block
  std::uint64_t bytes_ = 0;
};

/// 64 hexadecimal digits, lower case.
std::string sha256_hex(std::string_view bytes);

}  // namespace fleetsim
