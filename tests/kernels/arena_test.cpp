// The arena gives aligned pieces that do not overlap, and refuses what it has not.

#include "kernels/measure/arena.h"

#include <cstring>

#include "tests/catch.h"

using namespace fleetsim::kernels;

TEST_CASE("pieces of the arena are aligned, apart, and as large as asked", "[kernels][arena]") {
  Arena arena(4096);
  auto* const first = arena.take<float>(3);
  auto* const second = arena.take<unsigned char>(257);
  auto* const third = arena.take<std::uint64_t>(1);
  for (const void* piece :
       {static_cast<void*>(first), static_cast<void*>(second), static_cast<void*>(third)})
    REQUIRE(reinterpret_cast<std::uintptr_t>(piece) % 256 == 0);
  REQUIRE(reinterpret_cast<unsigned char*>(second) - reinterpret_cast<unsigned char*>(first) ==
          256);
  REQUIRE(reinterpret_cast<unsigned char*>(third) - second == 512);
  REQUIRE(arena.used_bytes() == 256 + 512 + 256);
  std::memset(second, 1, 257);  // within the allocation: the address sanitizer agrees
}

TEST_CASE("an arena refuses what it has not and gives everything again after a reset",
          "[kernels][arena]") {
  Arena arena(1000);  // its end is ragged
  REQUIRE_THROWS_AS(arena.take<unsigned char>(1001), ArenaFull);
  auto* const whole = arena.take<unsigned char>(1000);
  REQUIRE(arena.free_bytes() == 0);
  REQUIRE_THROWS_AS(arena.take<unsigned char>(1), ArenaFull);
  REQUIRE(arena.take<unsigned char>(0) != nullptr);
  arena.reset();
  REQUIRE(arena.take<unsigned char>(900) == whole);
  REQUIRE(arena.free_bytes() == 0);  // the rest is shorter than an alignment
}

TEST_CASE("operand sets rotate over three times L2 and over 180 MB", "[kernels][arena]") {
  const std::size_t small = emulation::device_traits().l2_bytes;
  REQUIRE(rotated_bytes_min() == 180'000'000);
  REQUIRE(rotation_copies(180'000'000) == 1);
  REQUIRE(rotation_copies(179'999'999) == 2);
  REQUIRE(rotation_copies(60'000'000) == 3);
  REQUIRE(rotation_copies(1) == 64);
  REQUIRE(rotation_copies(1, 8) == 8);
  emulation::device_traits().l2_bytes = 126'000'000;
  REQUIRE(rotated_bytes_min() == 378'000'000);
  REQUIRE(rotation_copies(180'000'000) == 3);
  emulation::device_traits().l2_bytes = small;
}
