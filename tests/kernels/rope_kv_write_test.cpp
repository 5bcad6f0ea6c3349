// Rotary embedding and the write into the paged cache: the check holds on the emulated device and
// finds planted faults; frequencies are the models' own.

#include <cmath>
#include <vector>

#include "kernels/checks/operator_checks.h"
#include "kernels/checks/rope_kv_write_check.h"
#include "kernels/device/number_formats.h"
#include "kernels/emulation/emulated_device.h"
#include "kernels/reference/rope.h"
#include "kernels/reference/rounding.h"
#include "kernels/reference/row_operators.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

TEST_CASE("rotated Q and cached K and V are the stated bytes, and float64's codes",
          "[kernels][rope]") {
  for (const int compute_capability : {90, 80}) {
    emulation::device_traits().compute_capability = compute_capability;
    emulation::set_schedule_seed(static_cast<std::uint64_t>(compute_capability));
    for (const CheckReport& report : check_rope_kv_write(11, Scale::emulated)) {
      INFO(report.what << ": " << report.error << " of " << report.limit << " " << report.problem);
      CHECK(report.passed());
    }
  }
  emulation::device_traits().compute_capability = 90;
}

TEST_CASE("the check of the cache write finds two swapped slots and a position off by one",
          "[kernels][rope]") {
  const RopeCase shape{6, 4, 2, 64, 16, false, 1, 1};
  for (const RopeFault fault : {RopeFault::swapped_slots, RopeFault::shifted_position}) {
    for (const CheckReport& report : check_rope_case<Bf16>(shape, 3, fault))
      CHECK_FALSE(report.passed());
    for (const CheckReport& report : check_rope_case<E4m3>(shape, 3, fault))
      CHECK_FALSE(report.passed());
  }
}

TEST_CASE("plain rotary frequencies are powers of the base", "[kernels][rope]") {
  RotaryEmbedding embedding;
  embedding.head_dim = 8;
  embedding.theta = 10'000;
  const std::vector<double> frequencies = inverse_frequencies(embedding);
  REQUIRE(frequencies.size() == 4);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(frequencies[i] == Approx(std::pow(10.0, -static_cast<double>(i))).epsilon(1e-12));
}

TEST_CASE("Llama 3.1 keeps short wavelengths, divides long ones by 8 and mixes between",
          "[kernels][rope]") {
  RotaryEmbedding plain, stretched;
  stretched.stretch = 8;
  const std::vector<double> before = inverse_frequencies(plain);
  const std::vector<double> after = inverse_frequencies(stretched);
  int mixed = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    const double wavelength = 2 * 3.14159265358979323846 / before[i];
    const double kept = after[i] / before[i];
    if (wavelength < 2048)
      CHECK(kept == 1.0);
    else if (wavelength > 8192)
      CHECK(kept == Approx(0.125).epsilon(1e-12));
    else {
      // linear in 8192 / wavelength between 1 (an eighth) and 4 (all)
      CHECK(kept == Approx(0.125 + 0.875 * (8192 / wavelength - 1) / 3).epsilon(1e-12));
      ++mixed;
    }
  }
  CHECK(mixed >= 3);
}

TEST_CASE("a rotation keeps lengths, and the scalar product knows only the distance",
          "[kernels][rope]") {
  RotaryEmbedding embedding;
  embedding.head_dim = 4;
  const std::vector<double> frequencies = inverse_frequencies(embedding);
  const std::vector<double> q = {1, 2, -3, 0.5}, k = {0.25, -1, 2, 4};
  const auto product = [](const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  };
  CHECK(product(rotated(q, 77, frequencies), rotated(q, 77, frequencies)) ==
        Approx(product(q, q)).epsilon(1e-12));
  CHECK(
      product(rotated(q, 12, frequencies), rotated(k, 5, frequencies)) ==
      Approx(product(rotated(q, 1007, frequencies), rotated(k, 1000, frequencies))).epsilon(1e-9));
  // a quarter turn of the first pair
  const std::vector<double> turned = rotated({1, 0, 0, 0}, 1, {3.14159265358979323846 / 2, 0});
  CHECK(turned[0] == Approx(0).margin(1e-15));
  CHECK(turned[2] == Approx(1));
}

TEST_CASE("float64 is rounded once, not by way of fp32", "[kernels][rope]") {
  // 1 + 2^-8 is the tie between two bf16; a hair above it must go up, though fp32 forgets the hair
  CHECK(nearest_bf16(1 + 0x1p-8).bits == 0x3f80);
  CHECK(nearest_bf16(1 + 0x1p-8 + 0x1p-40).bits == 0x3f81);
  CHECK(to_bf16(static_cast<float>(1 + 0x1p-8 + 0x1p-40)).bits == 0x3f80);
  CHECK(nearest_bf16(-1 - 0x1p-8 - 0x1p-40).bits == 0xbf81);
  CHECK(nearest_bf16(1 + 0x3p-8 - 0x1p-40).bits == 0x3f81);
  CHECK(nearest_e4m3(1.0625 + 0x1p-40).bits == 0x39);
  CHECK(nearest_e4m3(1.0625).bits == 0x38);
  CHECK(nearest_bf16(0.0).bits == 0);
}
