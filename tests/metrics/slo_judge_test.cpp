// Verdicts worked out by hand, and the folded judgement against the exact one.

#include "sim/metrics/slo_judge.h"

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/catch.h"

namespace fleetsim {
namespace {

constexpr SimTime kSecond = kNanosecondsPerSecond;

LoggedRequest answered(SimTime arrival, SimTime e2e) {
  LoggedRequest request;
  request.arrival = arrival;
  request.first_scheduled = arrival;
  request.first_token = arrival + e2e / 2;
  request.last_token = arrival + e2e;
  request.output_tokens = 11;
  request.pool = 0;
  request.status = RequestStatus::completed;
  return request;
}

LoggedRequest missed(SimTime arrival, RequestStatus status) {
  LoggedRequest request;
  request.arrival = arrival;
  request.status = status;
  return request;
}

Slo e2e_slo(SimTime limit, double percentile, SimTime window) {
  Slo slo;
  slo.e2e = limit;
  slo.percentile = percentile;
  slo.window = window;
  return slo;
}

SloSection judge(const Slo& slo, const std::vector<LoggedRequest>& requests, SimTime from,
                 SimTime to, bool fold = false) {
  SloJudge judge("", slo, {true}, from);
  RequestLog log(1, static_cast<std::int64_t>(requests.size()) + 1);
  for (const LoggedRequest& request : requests) {
    log.add(request);
    if (fold && judge.covers(request)) judge.tally(request);
  }
  if (fold) log.fold();
  std::vector<double> scratch;
  return judge.verdict(log, GapHistogram(), to, scratch).value();
}

TEST_CASE("the worst window decides, not the whole run", "[unit]") {
  // Two windows of 10 s after a warm-up of 5 s. p50: first window 1 s, second 3 s; overall 1 s.
  std::vector<LoggedRequest> requests;
  for (int i = 0; i < 7; ++i) requests.push_back(answered((5 + i) * kSecond, kSecond));
  for (int i = 0; i < 3; ++i) requests.push_back(answered((16 + i) * kSecond, 3 * kSecond));
  const SloSection section =
      judge(e2e_slo(2 * kSecond, 50, 10 * kSecond), requests, 5 * kSecond, 25 * kSecond);
  REQUIRE_FALSE(section.met);
  REQUIRE(section.attainment == Approx(0.7).epsilon(1e-12));
  REQUIRE(section.limits.size() == 1);
  REQUIRE(section.limits[0].metric == "e2e");
  REQUIRE(section.limits[0].worst_s == 3);
  REQUIRE(section.limits[0].overall_s == 1);
  REQUIRE(section.limits[0].worst_window_start == 15 * kSecond);
  REQUIRE(section.limits[0].population == 3);
  REQUIRE(section.windows.size() == 2);
  REQUIRE(section.windows[0].attainment == 1);
  REQUIRE(section.windows[1].percentile_s == std::vector<double>{3});
}

TEST_CASE("every kind of miss counts as infinite, and as not attained", "[unit]") {
  for (const auto status : {RequestStatus::rejected, RequestStatus::timed_out, RequestStatus::lost,
                            RequestStatus::unfinished}) {
    // Nine answers and a miss: p80 is at position 7.2, among answers; p90 at 8.1, touching the
    // miss.
    std::vector<LoggedRequest> requests;
    for (int i = 0; i < 9; ++i) requests.push_back(answered(i, kSecond));
    requests.push_back(missed(9, status));
    const SloSection p80 = judge(e2e_slo(kSecond, 80, 10), requests, 0, 10);
    REQUIRE(p80.met);
    REQUIRE(p80.attainment == Approx(0.9).epsilon(1e-12));
    const SloSection p90 = judge(e2e_slo(kSecond, 90, 10), requests, 0, 10);
    REQUIRE_FALSE(p90.met);
    REQUIRE(std::isinf(p90.limits[0].worst_s));
  }
}

TEST_CASE("a last part shorter than half a window joins the one before", "[unit]") {
  std::vector<LoggedRequest> requests;
  for (int i = 0; i < 14; ++i) requests.push_back(answered(i * kSecond, kSecond));
  const Slo slo = e2e_slo(kSecond, 95, 10 * kSecond);
  const SloSection merged = judge(slo, requests, 0, 14 * kSecond);
  REQUIRE(merged.windows.size() == 1);
  REQUIRE(merged.windows[0].arrivals == 14);
  requests.push_back(answered(14 * kSecond, kSecond));
  const SloSection own = judge(slo, requests, 0, 15 * kSecond);
  REQUIRE(own.windows.size() == 2);
  REQUIRE(own.windows[1].arrivals == 5);
  const SloSection short_run = judge(slo, requests, 0, 15 * kSecond, true);
  REQUIRE(short_run.windows.size() == 2);
  const SloSection only = judge(e2e_slo(kSecond, 95, 100 * kSecond), requests, 0, 15 * kSecond);
  REQUIRE(only.windows.size() == 1);
}

TEST_CASE("response-cache hits are judged only when the objective says so", "[unit]") {
  std::vector<LoggedRequest> requests{answered(0, 10 * kSecond)};
  for (int i = 0; i < 3; ++i) {
    LoggedRequest hit = answered(1, kSecond / 100);
    hit.status = RequestStatus::cache_hit;
    hit.pool = -1;
    requests.push_back(hit);
  }
  Slo slo = e2e_slo(kSecond, 50, 10 * kSecond);
  REQUIRE(judge(slo, requests, 0, 10).attainment == 0);
  REQUIRE(judge(slo, requests, 0, 10).limits[0].population == 1);
  slo.include_cache_hits = true;
  REQUIRE(judge(slo, requests, 0, 10).attainment == 0.75);
  REQUIRE(judge(slo, requests, 0, 10).met);
}

TEST_CASE("a limit passes requests that it does not apply to", "[unit]") {
  Slo slo;
  slo.tpot = 10;
  slo.ttft = kSecond;
  slo.percentile = 50;
  LoggedRequest one_token = answered(0, kSecond);
  one_token.output_tokens = 1;
  LoggedRequest prefill_only = answered(0, 100 * kSecond);
  prefill_only.output_tokens = 0;
  prefill_only.first_token = -1;
  const LoggedRequest slow = answered(0, kSecond);  // TPOT 50 ms against a limit of 10 ns
  const SloSection section = judge(slo, {one_token, prefill_only, slow}, 0, 10);
  REQUIRE(section.attainment == Approx(2.0 / 3).epsilon(1e-12));
  REQUIRE(section.limits[0].metric == "ttft");
  REQUIRE(section.limits[0].population == 2);
  REQUIRE(section.limits[0].met);
  REQUIRE(section.limits[1].metric == "tpot");
  REQUIRE(section.limits[1].population == 1);
  REQUIRE_FALSE(section.limits[1].met);
}

TEST_CASE("an ITL limit is judged on all gaps of the run and not by request", "[unit]") {
  Slo slo;
  slo.itl = 100;
  slo.percentile = 90;
  SloJudge judge("", slo, {true}, 0);
  RequestLog log(1, 10);
  log.add(answered(0, 5));
  GapHistogram gaps;
  gaps.add(50, 95);
  gaps.add(400, 5);
  std::vector<double> scratch;
  auto section = judge.verdict(log, gaps, 10, scratch);
  REQUIRE(section->met);
  REQUIRE(section->attainment == 1);
  REQUIRE(section->limits[0].population == 100);
  gaps.add(400, 20);
  section = judge.verdict(log, gaps, 10, scratch);
  REQUIRE_FALSE(section->met);
  REQUIRE(section->limits[0].worst_s == Approx(4e-7).epsilon(1e-12));
}

TEST_CASE("nothing judged gives no verdict", "[unit]") {
  SloJudge judge("", e2e_slo(1, 95, 10), {true}, 0);
  RequestLog log(1, 10);
  std::vector<double> scratch;
  REQUIRE_FALSE(judge.verdict(log, GapHistogram(), 10, scratch).has_value());
}

TEST_CASE("the folded judgement has the exact verdict, and percentiles within 0.098 %",
          "[invariant]") {
  std::mt19937_64 random(33);
  const auto uniform = [&] { return static_cast<double>(random() >> 11) / 9007199254740992.0; };
  int met = 0, missed_limits = 0;
  for (int round = 0; round < 150; ++round) {
    std::vector<LoggedRequest> requests;
    const std::size_t count = 1 + random() % 400;
    const double misses = round % 3 == 0 ? 0 : 0.1 * uniform();
    for (std::size_t i = 0; i < count; ++i) {
      const auto arrival = static_cast<SimTime>(uniform() * 47e9);
      const auto latency = static_cast<SimTime>(5e8 - 5e8 * std::log(1 - uniform()));
      requests.push_back(uniform() < misses ? missed(arrival, RequestStatus::timed_out)
                                            : answered(arrival, latency));
    }
    // Limits set at an observed latency, where rounding could turn the verdict.
    Slo slo = e2e_slo(requests.front().last_token - requests.front().arrival, 50 + 49 * uniform(),
                      10 * kSecond);
    if (requests.front().status != RequestStatus::completed) slo.e2e = 2 * kSecond;
    slo.ttft = *slo.e2e / 2;
    const SloSection exact = judge(slo, requests, 0, 47 * kSecond);
    const SloSection folded = judge(slo, requests, 0, 47 * kSecond, true);
    REQUIRE(folded.attainment == exact.attainment);
    REQUIRE(folded.windows.size() == exact.windows.size());
    for (std::size_t l = 0; l < exact.limits.size(); ++l) {
      REQUIRE(folded.limits[l].met == exact.limits[l].met);
      (exact.limits[l].met ? met : missed_limits) += 1;
      for (std::size_t w = 0; w < exact.windows.size(); ++w) {
        const double a = exact.windows[w].percentile_s[l], b = folded.windows[w].percentile_s[l];
        if (std::isinf(a)) {
          REQUIRE(std::isinf(b));
        } else {
          REQUIRE(b == Approx(a).epsilon(1.0 / 1024));
        }
      }
    }
  }
  REQUIRE(met > 10);
  REQUIRE(missed_limits > 10);
}

}  // namespace
}  // namespace fleetsim
