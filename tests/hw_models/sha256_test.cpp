// SHA-256 against the examples that NIST publishes for FIPS 180-4.

#include "hw_models/sha256.h"

#include "tests/catch.h"

using namespace fleetsim;

TEST_CASE("SHA-256 gives the digests of FIPS 180-4's examples", "[unit]") {
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256_hex(std::string(1'000'000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("a digest does not depend on how the bytes were cut, and can be read on the way",
          "[unit]") {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 7 % 251);
  for (const std::size_t piece : {1, 3, 63, 64, 65, 500}) {
    Sha256 digest;
    for (std::size_t at = 0; at < text.size(); at += piece) {
      digest.add(std::string_view(text).substr(at, piece));
      const std::size_t so_far = std::min(at + piece, text.size());
      REQUIRE(digest.hex() == sha256_hex(std::string_view(text).substr(0, so_far)));
    }
    CAPTURE(piece);
    CHECK(digest.hex() == sha256_hex(text));
  }
}
