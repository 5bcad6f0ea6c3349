// Sampling: its check holds on the emulated device, finds planted faults, and its statistics are
// right themselves.

#include "kernels/reference/sampling.h"

#include <cmath>
#include <vector>

#include "kernels/checks/operator_checks.h"
#include "kernels/checks/sampling_check.h"
#include "kernels/emulation/emulated_device.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

TEST_CASE("sampled tokens and kept sets are float64's", "[kernels][sampling]") {
  emulation::set_schedule_seed(1);
  for (const CheckReport& report : check_sampling(42, Scale::emulated)) {
    INFO(report.what << ": " << report.error << " of " << report.limit << " " << report.problem);
    CHECK(report.passed());
  }
}

TEST_CASE("sampled tokens do not depend on the schedule", "[kernels][sampling]") {
  for (const std::uint64_t schedule : {2, 3, 4}) {
    emulation::set_schedule_seed(schedule);
    const CheckReport report =
        check_sampling_case({LogitShape::coarse, 8, 600, 600, 3}, 40 + schedule);
    INFO(report.what << ": " << report.error << " " << report.problem);
    CHECK(report.passed());
  }
}

TEST_CASE("the check of kept sets finds a top-k off by one, a top-p off by 0.01 and a wrong tie",
          "[kernels][sampling]") {
  const SamplingCase shape{LogitShape::normal, 8, 1000, 1000, 2};
  CHECK(check_sampling_case(shape, 5).passed());
  CHECK(check_sampling_case(shape, 5, SamplingFault::one_more_kept).error > 0);
  CHECK(check_sampling_case(shape, 5, SamplingFault::larger_top_p).error > 0);
  const SamplingCase ties{LogitShape::flat, 8, 40, 40, 2};
  CHECK(check_sampling_case(ties, 5).passed());
  CHECK(check_sampling_case(ties, 5, SamplingFault::last_of_the_tie).error > 0);
}

// Power: see check_sampling(); 6000 draws give a noncentrality above 100, and the seed is fixed.
TEST_CASE("6000 draws tell a temperature from one 25 % higher", "[kernels][sampling]") {
  const SamplingRow row;
  const auto run = [&](SamplingFault fault) {
    return check_sampling_draws(row, SamplingMethod::gumbel, 12, 6000, 7, fault);
  };
  CHECK(run(SamplingFault::none).passed());
  CHECK_FALSE(run(SamplingFault::hotter).passed());
}

TEST_CASE("the tail of chi-square has its tabled quantiles", "[kernels][sampling]") {
  // Abramowitz and Stegun, table 26.8
  CHECK(chi_square_tail(3.84146, 1) == Approx(0.05).epsilon(1e-4));
  CHECK(chi_square_tail(18.3070, 10) == Approx(0.05).epsilon(1e-4));
  CHECK(chi_square_tail(29.5883, 10) == Approx(0.001).epsilon(1e-4));
  CHECK(chi_square_tail(124.342, 100) == Approx(0.05).epsilon(1e-4));
  CHECK(chi_square_tail(2.0, 2) == Approx(std::exp(-1.0)).epsilon(1e-12));
  CHECK(agreement({500, 500}, {0.5, 0.5}) == 1.0);
  CHECK(agreement({700, 300}, {0.5, 0.5}) < 1e-30);
  CHECK(agreement({999, 1}, {1.0, 0.0}) == 0.0);
}

TEST_CASE("the float64 reference keeps what top-k and top-p say, ties together",
          "[kernels][sampling]") {
  // probabilities 0.4, 0.2, 0.2, 0.1, 0.1
  const std::vector<float> logits = {std::log(0.2F), std::log(0.4F), std::log(0.1F), std::log(0.2F),
                                     std::log(0.1F)};
  const auto kept = [&](int top_k, double top_p) {
    const SamplingReference reference = sampling_reference(logits, {1.0, top_p, top_k});
    std::string text;
    for (const Kept k : reference.kept) text += k == Kept::yes ? 'y' : k == Kept::no ? 'n' : 'e';
    return text;
  };
  CHECK(kept(0, 1.0) == "yyyyy");
  CHECK(kept(1, 1.0) == "nynnn");
  CHECK(kept(2, 1.0) == "yynyn");  // the second and third are equal
  CHECK(kept(0, 0.3) == "nynnn");
  CHECK(kept(0, 0.5) == "yynyn");
  CHECK(kept(0, 0.79) == "yynyn");
  CHECK(kept(0, 0.85) == "yyyyy");
  CHECK(kept(3, 0.45) == "nynnn");  // of 0.4 / 0.8
  CHECK(kept(3, 0.55) == "yynyn");
  CHECK(kept(0, 0.4) == "eynen");  // at the cut
}

TEST_CASE("few rows are split over the device, many are not", "[kernels][sampling]") {
  SamplingArguments a;
  a.vocab = 128'256;
  emulation::device_traits().sms = 132;
  a.rows = 1;
  CHECK(sampling_splits(a) == 63);  // no less than 2048 logits each
  a.rows = 64;
  CHECK(sampling_splits(a) == 9);
  a.rows = 4096;
  CHECK(sampling_splits(a) == 1);
  a.method = SamplingMethod::greedy;
  a.rows = 64;
  CHECK(sampling_splits(a) == 17);
  emulation::device_traits().sms = 4;
}
