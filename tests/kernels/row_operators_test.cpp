// RMSNorm, SiLU·mul and embedding do what their references say, and their checks notice when not.

#include "kernels/reference/row_operators.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/checks/operator_checks.h"
#include "kernels/checks/row_comparison.h"
#include "kernels/operators/embedding.h"
#include "kernels/operators/rms_norm.h"
#include "kernels/operators/silu_mul.h"
#include "kernels/reference/random_inputs.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

void require_passed(std::vector<CheckReport> (*check)(std::uint64_t, Scale)) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    emulation::set_schedule_seed(seed);
    for (const CheckReport& report : check(seed, Scale::emulated)) {
      INFO(report.what << ": " << report.error << " " << report.problem);
      CHECK(report.passed());
    }
  }
}

void put_codes(const RowOutputBuffer& buffer, const QuantisedRows& rows) {
  copy_to_device(buffer.output().codes, rows.codes.data(), rows.codes.size());
  std::vector<float> scales;
  for (const double scale : rows.scales) scales.push_back(static_cast<float>(scale));
  copy_to_device(buffer.output().token_scales, scales.data(), scales.size() * sizeof(float));
}

}  // namespace

TEST_CASE("RMSNorm agrees with float64, residual and quantisation included", "[kernels][rows]") {
  require_passed(check_rms_norm);
}

TEST_CASE("SiLU mul agrees with float64, quantisation included", "[kernels][rows]") {
  require_passed(check_silu_mul);
}

TEST_CASE("quantisation with one scale gives the nearest codes", "[kernels][rows]") {
  require_passed(check_quantise);
}

TEST_CASE("embedding copies rows bit by bit and gives zeros for ids of other ranks",
          "[kernels][rows]") {
  require_passed(check_embedding);
}

TEST_CASE("the float64 references give what the formulas give by hand", "[kernels][rows]") {
  const auto bf16 = [](std::vector<float> values) {
    std::vector<Bf16> out;
    for (const float value : values) out.push_back(to_bf16(value));
    return out;
  };
  // s = (3, 4): mean square 12.5
  const ReferenceNorm norm = reference_rms_norm(bf16({1, 1}), bf16({2, 3}), bf16({1, 2}), 0.0);
  CHECK(to_float(norm.sums[1]) == 4.0F);
  CHECK(norm.values[0] == Approx(3 / std::sqrt(12.5)));
  CHECK(norm.values[1] == Approx(2 * 4 / std::sqrt(12.5)));
  // silu(1) = 0.731059, silu(-2) = -0.238406
  const std::vector<double> silu = reference_silu_mul(bf16({1, -2, 2, 4}), 2);
  CHECK(silu[0] == Approx(2 * 0.7310585786));
  CHECK(silu[1] == Approx(4 * -0.2384058440));
  const std::vector<Bf16> rows = reference_embedding({6, 4, 5}, bf16({1, 2, 3, 4}), 2, 5);
  CHECK(to_float(rows[0]) == 3.0F);
  CHECK(to_float(rows[2]) == 0.0F);
  CHECK(to_float(rows[5]) == 2.0F);
}

TEST_CASE("the reference rounds to e4m3 as the device does", "[kernels][rows]") {
  for (int i = 0; i < 200'000; ++i) {
    const float x = std::ldexp(1.0F + static_cast<float>(i % 4096) / 4096.0F, i / 4096 - 30);
    REQUIRE(nearest_e4m3(static_cast<double>(x)).bits == to_e4m3(x).bits);
    REQUIRE(nearest_e4m3(static_cast<double>(-x)).bits == to_e4m3(-x).bits);
  }
  CHECK(nearest_e4m3(0.0).bits == 0);
  CHECK(nearest_e4m3(1e9).bits == 0x7e);
}

TEST_CASE("the comparison of codes lets neighbours pass rarely and nothing else",
          "[kernels][rows]") {
  // 0x30 is 0.5, its neighbours 0.5625 and 0.46875
  const std::vector<double> scaled(20'000, 0.51);
  const std::vector<E4m3> nearest(20'000, E4m3{0x30});
  std::string problem;
  std::vector<E4m3> codes = nearest;
  CHECK(share_of_other_codes(codes, scaled, problem) == 0);
  codes[7].bits = 0x31;
  codes[8].bits = 0x2f;
  CHECK(share_of_other_codes(codes, scaled, problem) == Approx(1e-4));
  CHECK(problem.empty());
  codes[9].bits = 0x31;
  CHECK(share_of_other_codes(codes, scaled, problem) > 1e-4);
  CHECK(problem.empty());
  for (const std::uint8_t wrong : {0x32, 0xb0, 0x7f}) {  // two away, the sign, poison
    problem.clear();
    codes[9].bits = wrong;
    share_of_other_codes(codes, scaled, problem);
    CHECK_FALSE(problem.empty());
  }
  // a NaN left from poisoning has the code behind the largest value
  problem.clear();
  share_of_other_codes({E4m3{0x7f}}, {448.0}, problem);
  CHECK_FALSE(problem.empty());
}

TEST_CASE("on the border between two codes either is right, beside it only one",
          "[kernels][rows]") {
  std::string problem;
  const double border = 0.53125;  // between 0x30 and 0x31
  for (const std::uint8_t code : {0x30, 0x31})
    CHECK(share_of_other_codes({E4m3{code}}, {border}, problem) == 0);
  CHECK(share_of_other_codes({E4m3{0x31}}, {border * (1 - 3e-6)}, problem) > 0);
  CHECK(share_of_other_codes({E4m3{0x30}}, {border * (1 + 3e-6)}, problem) > 0);
}

TEST_CASE("a wrong scale, a wrong row or an unwritten output fails the comparison of rows",
          "[kernels][rows]") {
  const int tokens = 3, width = 64;
  RandomInputs random(1, "rows");
  std::vector<double> values;
  for (const float value : random.normals(tokens * width))
    values.push_back(static_cast<double>(value));
  const QuantisedRows rows =
      reference_quantise_rows(values, width, std::nullopt, static_cast<double>(kE4m3ScaleMin));
  RowOutputBuffer buffer(RowFormat::token_e4m3, tokens, width, 0);
  CHECK_FALSE(buffer.compared("poison", values).passed());
  put_codes(buffer, rows);
  CHECK(buffer.compared("right", values).passed());
  QuantisedRows wrong = rows;
  wrong.scales[1] *= 1.00001;
  put_codes(buffer, wrong);
  CHECK_FALSE(buffer.compared("scale", values).passed());
  wrong = rows;
  for (int i = 0; i < width; ++i) std::swap(wrong.codes[i], wrong.codes[width + i]);
  put_codes(buffer, wrong);
  CHECK_FALSE(buffer.compared("rows", values).passed());

  RowOutputBuffer plain(RowFormat::bf16, tokens, width, 0);
  CHECK_FALSE(plain.compared("poison", values).passed());
  std::vector<Bf16> rounded;
  for (const double value : values) rounded.push_back(to_bf16(static_cast<float>(value)));
  copy_to_device(plain.output().values, rounded.data(), rounded.size() * sizeof(Bf16));
  CHECK(plain.compared("right", values).passed());
  rounded[100] = to_bf16(to_float(rounded[100]) + 0.25F);
  copy_to_device(plain.output().values, rounded.data(), rounded.size() * sizeof(Bf16));
  CHECK_FALSE(plain.compared("one element", values).passed());
}
