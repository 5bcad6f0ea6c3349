// Two ways to the same judgement. While the log is whole, the values of a limit are sorted by
// window into one scratch vector (count, then place) and each window's percentile is selected in
// its part. After the log is folded, a small histogram a window and limit stands in, with exact
// counts of misses and of values within the limit, which overrule the histogram where its rounding
// would turn the verdict.

#include "sim/metrics/slo_judge.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "hw_models/check.h"
#include "sim/metrics/order_statistics.h"

namespace fleetsim {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNanoseconds = 1e9;

/// The percentile of `misses` infinities above the histogram's values.
double percentile_with_misses(const WindowHistogram& values, std::int64_t misses,
                              double probability) {
  const std::int64_t count = values.count();
  const double position = probability * static_cast<double>(count + misses - 1);
  if (std::ceil(position) > static_cast<double>(count - 1)) return kInfinity;
  if (count == 1) return values.percentile(0);
  return values.percentile(std::min(1.0, position / static_cast<double>(count - 1)));
}

}  // namespace

SloJudge::SloJudge(std::string class_name, const Slo& slo, std::vector<bool> classes, SimTime from)
    : class_name_(std::move(class_name)), slo_(slo), classes_(std::move(classes)), from_(from) {
  CHECK(slo.window > 0 && slo.percentile > 0 && slo.percentile <= 100, "slo out of range");
  if (slo.e2e) limits_.push_back({LatencyMetric::e2e, *slo.e2e});
  if (slo.ttft) limits_.push_back({LatencyMetric::ttft, *slo.ttft});
  if (slo.tpot) limits_.push_back({LatencyMetric::tpot, *slo.tpot});
}

bool SloJudge::covers(const LoggedRequest& request) const {
  if (request.status == RequestStatus::cache_hit && !slo_.include_cache_hits) return false;
  return request.class_index < classes_.size() && classes_[request.class_index];
}

double SloJudge::judged_ns(const LoggedRequest& request, LatencyMetric metric) const {
  if (request.status == RequestStatus::completed) return latency_ns(request, metric);
  if (request.status != RequestStatus::cache_hit) return kInfinity;
  // The whole answer comes at once: no TPOT, and the first token is not later than the last.
  return metric == LatencyMetric::tpot ? -1 : latency_ns(request, LatencyMetric::e2e);
}

bool SloJudge::meets(const LoggedRequest& request) const {
  if (request.status != RequestStatus::completed && request.status != RequestStatus::cache_hit) {
    return false;
  }
  return std::all_of(limits_.begin(), limits_.end(), [&](const Limit& limit) {
    return judged_ns(request, limit.metric) <= static_cast<double>(limit.limit);
  });
}

std::size_t SloJudge::window_of(SimTime arrival) const {
  CHECK(arrival >= from_, "an arrival before the window");
  return static_cast<std::size_t>((arrival - from_) / slo_.window);
}

std::size_t SloJudge::window_count(SimTime to) const {
  const SimTime whole = (to - from_) / slo_.window;
  const SimTime rest = (to - from_) % slo_.window;
  const bool own_window = rest >= slo_.window - rest;
  return static_cast<std::size_t>(std::max<SimTime>(1, whole + (own_window ? 1 : 0)));
}

void SloJudge::tally(const LoggedRequest& request) {
  const std::size_t index = window_of(request.arrival);
  if (index >= tallies_.size()) tallies_.resize(index + 1);
  WindowTally& window = tallies_[index];
  window.limits.resize(limits_.size());
  window.arrivals += 1;
  window.good += meets(request) ? 1 : 0;
  for (std::size_t i = 0; i < limits_.size(); ++i) {
    const double ns = judged_ns(request, limits_[i].metric);
    if (ns < 0) continue;
    LimitTally& limit = window.limits[i];
    if (std::isinf(ns)) {
      limit.misses += 1;
      continue;
    }
    limit.within += ns <= static_cast<double>(limits_[i].limit) ? 1 : 0;
    limit.values.add(std::llround(ns));
  }
}

void SloJudge::merge(WindowTally& into, const WindowTally& from) const {
  if (from.limits.empty()) return;
  into.limits.resize(limits_.size());
  into.arrivals += from.arrivals;
  into.good += from.good;
  for (std::size_t i = 0; i < limits_.size(); ++i) {
    into.limits[i].misses += from.limits[i].misses;
    into.limits[i].within += from.limits[i].within;
    into.limits[i].values.merge(from.limits[i].values);
  }
}

SloJudge::Window SloJudge::judge_tally(const WindowTally& tally) const {
  Window window{tally.arrivals, tally.good, std::vector<double>(limits_.size(), 0),
                std::vector<std::int64_t>(limits_.size(), 0)};
  for (std::size_t i = 0; i < tally.limits.size(); ++i) {
    const LimitTally& limit = tally.limits[i];
    const std::int64_t population = limit.values.count() + limit.misses;
    window.population[i] = population;
    if (population == 0) continue;
    const double probability = slo_.percentile / 100;
    const double position = probability * static_cast<double>(population - 1);
    const auto bound = static_cast<double>(limits_[i].limit);
    double ns = percentile_with_misses(limit.values, limit.misses, probability);
    // All order statistics that the percentile touches are within the limit, or none is.
    if (static_cast<double>(limit.within) >= std::ceil(position) + 1) ns = std::min(ns, bound);
    if (static_cast<double>(limit.within) <= std::floor(position)) ns = std::max(ns, bound + 1);
    window.percentile_ns[i] = ns;
  }
  return window;
}

SloJudge::Judgement SloJudge::from_tallies(std::size_t count) const {
  std::vector<WindowTally> merged(count);
  WindowTally overall;
  for (std::size_t i = 0; i < tallies_.size(); ++i) {
    merge(merged[std::min(i, count - 1)], tallies_[i]);
    merge(overall, tallies_[i]);
  }
  Judgement judgement;
  for (const WindowTally& tally : merged) judgement.windows.push_back(judge_tally(tally));
  judgement.overall = judge_tally(overall);
  return judgement;
}

SloJudge::Judgement SloJudge::from_log(const RequestLog& log, std::size_t count,
                                       std::vector<double>& scratch) const {
  Judgement judgement;
  const Window empty{0, 0, std::vector<double>(limits_.size(), 0),
                     std::vector<std::int64_t>(limits_.size(), 0)};
  judgement.windows.assign(count, empty);
  judgement.overall = empty;
  log.for_each([&](const LoggedRequest& request) {
    if (!covers(request)) return;
    Window& window = judgement.windows[std::min(window_of(request.arrival), count - 1)];
    window.arrivals += 1;
    window.good += meets(request) ? 1 : 0;
    for (std::size_t i = 0; i < limits_.size(); ++i) {
      window.population[i] += judged_ns(request, limits_[i].metric) >= 0 ? 1 : 0;
    }
  });
  for (const Window& window : judgement.windows) {
    judgement.overall.arrivals += window.arrivals;
    judgement.overall.good += window.good;
  }
  for (std::size_t i = 0; i < limits_.size(); ++i) judge_limit(log, i, judgement, scratch);
  return judgement;
}

void SloJudge::judge_limit(const RequestLog& log, std::size_t limit, Judgement& judgement,
                           std::vector<double>& scratch) const {
  std::vector<std::size_t> next;  // where the next value of each window goes
  std::size_t total = 0;
  for (const Window& window : judgement.windows) {
    next.push_back(total);
    total += static_cast<std::size_t>(window.population[limit]);
  }
  judgement.overall.population[limit] = static_cast<std::int64_t>(total);
  if (total == 0) return;
  scratch.clear();
  scratch.resize(total);
  log.for_each([&](const LoggedRequest& request) {
    if (!covers(request)) return;
    const double ns = judged_ns(request, limits_[limit].metric);
    if (ns < 0) return;
    scratch[next[std::min(window_of(request.arrival), next.size() - 1)]++] = ns;
  });
  const double probability = slo_.percentile / 100;
  const std::span<double> values(scratch);
  for (std::size_t w = 0; w < next.size(); ++w) {
    Window& window = judgement.windows[w];
    const auto population = static_cast<std::size_t>(window.population[limit]);
    if (population == 0) continue;
    const auto part = values.subspan(next[w] - population, population);
    window.percentile_ns[limit] = select_percentiles(part, std::span(&probability, 1)).front();
  }
  judgement.overall.percentile_ns[limit] =
      select_percentiles(values, std::span(&probability, 1)).front();
}

SloLimit SloJudge::itl_limit(const GapHistogram& gaps) const {
  SloLimit limit;
  limit.metric = "itl";
  limit.limit_s = to_seconds(*slo_.itl).value;
  limit.worst_window_start = from_;
  limit.population = gaps.count();
  limit.met = true;
  if (gaps.count() == 0) return limit;
  const double ns = gaps.percentile(slo_.percentile / 100);
  limit.worst_s = limit.overall_s = ns / kNanoseconds;
  limit.met = ns <= static_cast<double>(*slo_.itl);
  return limit;
}

SloLimit SloJudge::worst_of(const Judgement& judgement, std::size_t limit) const {
  SloLimit answer;
  answer.metric = name_of(limits_[limit].metric);
  answer.limit_s = to_seconds(limits_[limit].limit).value;
  answer.overall_s = judgement.overall.percentile_ns[limit] / kNanoseconds;
  answer.worst_window_start = from_;
  double worst = -1;
  for (std::size_t w = 0; w < judgement.windows.size(); ++w) {
    const Window& window = judgement.windows[w];
    if (window.population[limit] == 0 || window.percentile_ns[limit] <= worst) continue;
    worst = window.percentile_ns[limit];
    answer.worst_window_start = from_ + static_cast<SimTime>(w) * slo_.window;
    answer.population = window.population[limit];
  }
  answer.worst_s = std::max(worst, 0.0) / kNanoseconds;
  answer.met = worst <= static_cast<double>(limits_[limit].limit);
  return answer;
}

std::vector<SloSection::WindowPoint> SloJudge::timeline(const Judgement& judgement) const {
  std::vector<SloSection::WindowPoint> points;
  for (std::size_t w = 0; w < judgement.windows.size(); ++w) {
    const Window& window = judgement.windows[w];
    if (window.arrivals == 0) continue;
    SloSection::WindowPoint point;
    point.start_s = to_seconds(from_ + static_cast<SimTime>(w) * slo_.window).value;
    point.arrivals = window.arrivals;
    point.attainment = static_cast<double>(window.good) / static_cast<double>(window.arrivals);
    for (const double ns : window.percentile_ns) point.percentile_s.push_back(ns / kNanoseconds);
    points.push_back(std::move(point));
  }
  return points;
}

std::optional<SloSection> SloJudge::verdict(const RequestLog& log, const GapHistogram& gaps,
                                            SimTime to, std::vector<double>& scratch) const {
  const std::size_t count = window_count(to);
  const Judgement judgement = log.folded() ? from_tallies(count) : from_log(log, count, scratch);
  const Window& overall = judgement.overall;
  if (overall.arrivals == 0) return std::nullopt;

  SloSection section;
  section.class_name = class_name_;
  section.attainment = static_cast<double>(overall.good) / static_cast<double>(overall.arrivals);
  section.percentile = slo_.percentile;
  section.window_s = to_seconds(slo_.window).value;
  for (std::size_t i = 0; i < limits_.size(); ++i) section.limits.push_back(worst_of(judgement, i));
  section.windows = timeline(judgement);
  if (slo_.itl) {
    section.limits.push_back(itl_limit(gaps));
    for (auto& point : section.windows) {
      point.percentile_s.push_back(section.limits.back().overall_s);
    }
  }
  section.met = std::all_of(section.limits.begin(), section.limits.end(),
                            [](const SloLimit& limit) { return limit.met; });
  return section;
}

}  // namespace fleetsim
