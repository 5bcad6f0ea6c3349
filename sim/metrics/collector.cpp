// While a simulation runs, a request costs a few counters and a place in the log; everything that
// divides, sorts or prices happens once, in finish(). Sums are whole numbers (fixed point where the
// terms are fractions), so that only the log's sketches could tell in which order requests ended.

#include "sim/metrics/collector.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "hw_models/check.h"
#include "sim/metrics/energy.h"
#include "sim/metrics/fleet_usage.h"
#include "sim/metrics/request_log.h"
#include "sim/metrics/saturation.h"
#include "sim/metrics/slo_judge.h"

namespace fleetsim {
namespace {

constexpr double kNanoseconds = 1e9;
constexpr double kShareUnits = 4294967296.0;  // fixed point of the front end's shares

/// What the records of one pool add up to; the last entry is for requests that reached no pool.
struct PoolTally {
  RequestCounts requests;          // that arrive in the window
  TokenCounts tokens;              // of those that were scheduled
  std::int64_t completed = 0;      // by GPUs, inside the window
  std::int64_t prompt_tokens = 0;  // whose prefill was delivered inside the window
  std::int64_t good = 0;  // ended inside the window with every limit of their objective met
};

void add(RequestCounts& into, const RequestCounts& from) {
  into.arrived += from.arrived;
  into.completed += from.completed;
  into.cache_hits += from.cache_hits;
  into.rejected += from.rejected;
  into.timed_out += from.timed_out;
  into.lost += from.lost;
  into.unfinished += from.unfinished;
}

void add(PoolTally& into, const PoolTally& from) {
  add(into.requests, from.requests);
  into.tokens.prompt += from.tokens.prompt;
  into.tokens.prompt_cached += from.tokens.prompt_cached;
  into.tokens.output += from.tokens.output;
  into.completed += from.completed;
  into.prompt_tokens += from.prompt_tokens;
  into.good += from.good;
}

void count(RequestCounts& counts, RequestStatus status) {
  counts.arrived += 1;
  switch (status) {
    case RequestStatus::completed:
      counts.completed += 1;
      return;
    case RequestStatus::cache_hit:
      counts.cache_hits += 1;
      return;
    case RequestStatus::rejected:
      counts.rejected += 1;
      return;
    case RequestStatus::timed_out:
      counts.timed_out += 1;
      return;
    case RequestStatus::lost:
      counts.lost += 1;
      return;
    case RequestStatus::unfinished:
      counts.unfinished += 1;
      return;
  }
}

/// 0, 0.5 %, ..., 99.5 %, the tail, 100 %.
std::vector<double> curve_probabilities() {
  std::vector<double> probabilities;
  for (int i = 0; i < 200; ++i) probabilities.push_back(i / 200.0);
  probabilities.insert(probabilities.end(), {0.999, 0.9999, 1.0});
  return probabilities;
}

/// `curve` holds nanoseconds at curve_probabilities().
LatencySummary summarise(const std::vector<double>& curve, double mean_ns, double max_ns,
                         std::int64_t samples) {
  const auto at = [&](std::size_t half_percent) { return curve[half_percent] / kNanoseconds; };
  return {mean_ns / kNanoseconds, at(100), at(180), at(190), at(198),
          max_ns / kNanoseconds,  samples};
}

void add_curve(std::vector<LatencyCurve>* curves, const char* metric,
               const std::vector<double>& ns) {
  if (curves == nullptr || ns.empty()) return;
  LatencyCurve curve{metric, curve_probabilities(), {}};
  for (const double value : ns) curve.seconds.push_back(value / kNanoseconds);
  curves->push_back(std::move(curve));
}

/// Latencies of a pool (or all); the curves too where they are asked for.
LatencySection latency_section(const RequestLog& log, std::int32_t pool, const GapHistogram& gaps,
                               std::vector<double>& scratch, std::vector<LatencyCurve>* curves) {
  const std::vector<double> probabilities = curve_probabilities();
  const auto of = [&](LatencyMetric metric) -> std::optional<LatencySummary> {
    const LatencySums sums = log.sums(metric, pool);
    if (sums.count == 0) return std::nullopt;
    const auto ns = log.percentiles_ns(metric, pool, probabilities, scratch);
    add_curve(curves, name_of(metric), ns);
    return summarise(ns, sums.mean_ns(), sums.max_ns, sums.count);
  };
  LatencySection section;
  section.ttft = of(LatencyMetric::ttft);
  section.tpot = of(LatencyMetric::tpot);
  if (gaps.count() > 0) {
    const auto ns = gaps.percentiles(probabilities);
    add_curve(curves, "itl", ns);
    section.itl = summarise(ns, gaps.mean(), static_cast<double>(gaps.max()), gaps.count());
  }
  section.e2e = of(LatencyMetric::e2e);
  section.queue = of(LatencyMetric::queue);
  return section;
}

ThroughputSection throughput_section(const PoolTally& tally, std::int64_t output_tokens,
                                     std::int64_t gpus, SimTime length, bool with_goodput) {
  ThroughputSection section;
  if (with_goodput) section.goodput_requests_per_s = 0;
  if (length <= 0) return section;
  const double seconds = to_seconds(length).value;
  section.requests_per_s = static_cast<double>(tally.completed) / seconds;
  section.output_tokens_per_s = static_cast<double>(output_tokens) / seconds;
  section.total_tokens_per_s = static_cast<double>(tally.prompt_tokens + output_tokens) / seconds;
  section.output_tokens_per_s_per_gpu = section.output_tokens_per_s / static_cast<double>(gpus);
  if (with_goodput) section.goodput_requests_per_s = static_cast<double>(tally.good) / seconds;
  return section;
}

/// Infinite where nothing was produced for the money.
CostSection cost_section(double usd_per_hour, const ThroughputSection& throughput) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto per = [&](double rate) { return rate > 0 ? usd_per_hour / 3600 / rate : kInfinity; };
  return {usd_per_hour, per(throughput.requests_per_s), 1e6 * per(throughput.output_tokens_per_s)};
}

std::optional<CacheSection> cache_section(std::int64_t cached, std::int64_t queried) {
  if (queried == 0) return std::nullopt;
  return CacheSection{static_cast<double>(cached) / static_cast<double>(queried)};
}

/// The fleet's sums over its pools.
struct FleetTotals {
  PoolTally tally;
  FleetUsage usage;
  GapHistogram gaps;
  std::int64_t output_tokens = 0, cached_tokens = 0, queried_tokens = 0;
  double usd_per_hour = 0;
  bool all_priced = true;
  std::optional<double> joules = 0;        // absent: unknown of a pool
  std::vector<std::vector<double>> watts;  // by pool and interval
};

std::vector<SloJudge> make_judges(const CollectorSetup& setup) {
  std::vector<SloJudge> judges;
  std::vector<bool> shared;
  for (const ClassFacts& facts : setup.classes) shared.push_back(!facts.slo);
  const bool any_shared = std::find(shared.begin(), shared.end(), true) != shared.end();
  if (setup.slo && any_shared) judges.emplace_back("", *setup.slo, shared, setup.window.from);
  for (std::size_t i = 0; i < setup.classes.size(); ++i) {
    if (!setup.classes[i].slo) continue;
    std::vector<bool> own(setup.classes.size(), false);
    own[i] = true;
    judges.emplace_back(setup.classes[i].name, *setup.classes[i].slo, own, setup.window.from);
  }
  return judges;
}

std::vector<TimeseriesPoint> timeseries_of(const std::vector<std::vector<MeterInterval>>& by_pool,
                                           const std::vector<PoolFacts>& pools,
                                           const std::vector<std::vector<double>>& watts,
                                           SimTime interval, SimTime end) {
  std::vector<TimeseriesPoint> points;
  const std::size_t count = by_pool.empty() ? 0 : by_pool.front().size();
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t p = 0; p < by_pool.size(); ++p) {
      const MeterInterval& sums = by_pool[p][i];
      TimeseriesPoint point;
      point.start = static_cast<SimTime>(i) * interval;
      point.length = std::min(interval, end - point.start);
      point.pool = static_cast<std::int32_t>(p);
      point.arrivals = sums.arrivals;
      point.completed = sums.completed;
      point.output_tokens = sums.output_tokens;
      point.prompt_tokens = sums.prompt_tokens;
      point.iterations = sums.iterations;
      point.replicas = static_cast<std::int32_t>(pools[p].replicas);
      const auto length = static_cast<double>(point.length);
      const double replica_time = length * static_cast<double>(pools[p].replicas);
      point.queue = static_cast<double>(sums.waiting) / length;
      point.running = static_cast<double>(sums.running) / length;
      point.kv_blocks_used = static_cast<double>(sums.kv_block_nanoseconds) / replica_time;
      point.busy = static_cast<double>(sums.busy) / replica_time;
      if (!watts[p].empty()) point.watts = watts[p][i];
      points.push_back(point);
    }
  }
  return points;
}

std::vector<MeterInterval> summed(const std::vector<std::vector<MeterInterval>>& by_pool) {
  std::vector<MeterInterval> total(by_pool.empty() ? 0 : by_pool.front().size());
  for (const auto& pool : by_pool) {
    for (std::size_t i = 0; i < pool.size(); ++i) total[i].waiting += pool[i].waiting;
  }
  return total;
}

}  // namespace

struct Collector::State {
  explicit State(CollectorSetup given);

  void count_deliveries(const LoggedRequest& request);
  void count_arrival(const RequestRecord& record);
  void count_member(const RequestRecord& record);
  void log_member(const LoggedRequest& request);
  bool is_good(const LoggedRequest& request) const;
  PoolTally& tally_of(std::int16_t pool) {
    return tallies[pool < 0 ? tallies.size() - 1 : static_cast<std::size_t>(pool)];
  }
  PoolSection pool_section(std::size_t pool, const PoolMeter& meter, const FleetUsage& usage,
                           SimTime length) const;
  FleetTotals add_up(const std::vector<PoolMeter>& meters,
                     const std::vector<std::vector<MeterInterval>>& intervals, SimTime length,
                     SimTime end, Summary& summary) const;
  void fill_fleet(const FleetTotals& totals, SimTime length, Summary& summary) const;
  void fill_latency(const std::vector<PoolMeter>& meters, const GapHistogram& gaps, Result& result);
  void fill_lengths(Summary& summary) const;

  CollectorSetup setup;
  RequestLog log;
  std::vector<SloJudge> judges;
  std::vector<PoolTally> tallies;  // by pool, then one for requests that reached none
  std::vector<ArrivalInterval> arrivals;
  GapHistogram prompt_lengths, output_lengths;  // tokens
  SimTime last_arrival = 0;
  Wide frontend_shares = 0;
  std::int64_t frontend_requests = 0;
  std::vector<double> scratch;
};

Collector::State::State(CollectorSetup given)
    : setup(std::move(given)),
      log(static_cast<std::int32_t>(setup.pools.size()), setup.log_threshold) {
  CHECK(!setup.pools.empty(), "a fleet without pools");
  if (setup.classes.empty()) setup.classes.push_back({});
  judges = make_judges(setup);
  tallies.resize(setup.pools.size() + 1);
}

bool Collector::State::is_good(const LoggedRequest& request) const {
  return std::any_of(judges.begin(), judges.end(), [&](const SloJudge& judge) {
    return judge.covers(request) && judge.meets(request);
  });
}

/// What happens inside the window, whenever the request arrived.
void Collector::State::count_deliveries(const LoggedRequest& request) {
  PoolTally& tally = tally_of(request.pool);
  const MeterWindow& window = setup.window;
  if (request.last_token >= 0 && window.contains(request.last_token)) {
    tally.completed += request.status == RequestStatus::completed ? 1 : 0;
    tally.good += is_good(request) ? 1 : 0;
  }
  if (request.status == RequestStatus::cache_hit) return;
  const SimTime prefilled = request.output_tokens > 0 ? request.first_token : request.last_token;
  if (prefilled >= 0 && window.contains(prefilled)) tally.prompt_tokens += request.prompt_tokens;
}

/// Arrivals that load the GPUs, over the whole run, for is_saturated().
void Collector::State::count_arrival(const RequestRecord& record) {
  CHECK(record.arrival >= 0, "an arrival before the start");
  if (record.status == RequestStatus::cache_hit || record.status == RequestStatus::rejected) return;
  const auto index = static_cast<std::size_t>(record.arrival / setup.window.interval);
  if (index >= arrivals.size()) arrivals.resize(index + 1);
  arrivals[index].arrivals += 1;
  const bool gave_up = record.status == RequestStatus::timed_out && record.first_scheduled < 0;
  arrivals[index].given_up += gave_up ? 1 : 0;
}

/// A request that arrives in the window.
void Collector::State::count_member(const RequestRecord& record) {
  PoolTally& tally = tally_of(record.pool);
  last_arrival = std::max(last_arrival, record.arrival);
  count(tally.requests, record.status);
  prompt_lengths.add(record.prompt_tokens);
  if (record.status != RequestStatus::cache_hit && record.first_scheduled >= 0) {
    tally.tokens.prompt += record.prompt_tokens;
    tally.tokens.prompt_cached += record.cached_tokens;
    tally.tokens.output += record.output_tokens;
  }
  if (record.status != RequestStatus::completed) return;
  output_lengths.add(record.output_tokens);
  const SimTime e2e = record.last_token - record.arrival;
  const Frontend& frontend = setup.frontend;
  const SimTime outside = 2 * frontend.network + frontend.tokenize_base +
                          frontend.tokenize_per_token * record.prompt_tokens;
  const double share =
      e2e > 0 ? std::min(1.0, static_cast<double>(outside) / static_cast<double>(e2e)) : 0;
  frontend_shares += static_cast<Wide>(share * kShareUnits);
  frontend_requests += 1;
}

void Collector::State::log_member(const LoggedRequest& request) {
  const auto tally = [&](const LoggedRequest& member) {
    for (SloJudge& judge : judges) {
      if (judge.covers(member)) judge.tally(member);
    }
  };
  if (log.full()) {
    log.for_each(tally);
    log.fold();
  }
  log.add(request);
  if (log.folded()) tally(request);
}

PoolSection Collector::State::pool_section(std::size_t pool, const PoolMeter& meter,
                                           const FleetUsage& usage, SimTime length) const {
  const PoolFacts& facts = setup.pools[pool];
  const PoolTally& tally = tallies[pool];
  PoolSection section;
  section.name = facts.name;
  section.gpu = facts.gpu;
  section.model = facts.model;
  section.requests = tally.requests;
  section.tokens = tally.tokens;
  section.throughput =
      throughput_section(tally, meter.totals().output_tokens, usage.gpus, length, !judges.empty());
  section.fleet = fleet_section(usage);
  if (facts.prefix_caching) {
    section.cache = cache_section(tally.tokens.prompt_cached, tally.tokens.prompt);
  }
  if (facts.usd_per_gpu_hour) {
    section.cost =
        cost_section(static_cast<double>(usage.gpus) * *facts.usd_per_gpu_hour, section.throughput);
  }
  section.energy = energy_section(joules_of(facts.power, usage), usage, section.throughput);
  section.time_breakdown = time_breakdown(usage);
  section.memory = facts.memory;
  if (facts.step_time != nullptr) section.cost_model = facts.step_time->kind();
  section.notes = facts.notes;
  return section;
}

/// Fills summary.pools, latencies apart, and sums them up.
FleetTotals Collector::State::add_up(const std::vector<PoolMeter>& meters,
                                     const std::vector<std::vector<MeterInterval>>& intervals,
                                     SimTime length, SimTime end, Summary& summary) const {
  FleetTotals totals;
  totals.tally = tallies.back();
  for (std::size_t pool = 0; pool < meters.size(); ++pool) {
    const PoolFacts& facts = setup.pools[pool];
    const FleetUsage usage = usage_of(facts, meters[pool], length);
    summary.pools.push_back(pool_section(pool, meters[pool], usage, length));
    const PoolSection& section = summary.pools.back();
    add(totals.tally, tallies[pool]);
    totals.usage.add(usage);
    totals.gaps.merge(meters[pool].gaps());
    totals.output_tokens += meters[pool].totals().output_tokens;
    if (facts.prefix_caching) {
      totals.cached_tokens += section.tokens.prompt_cached;
      totals.queried_tokens += section.tokens.prompt;
    }
    totals.all_priced = totals.all_priced && facts.usd_per_gpu_hour.has_value();
    if (section.cost) totals.usd_per_hour += section.cost->usd_per_hour;
    const std::optional<double> joules = joules_of(facts.power, usage);
    if (totals.joules && joules) {
      *totals.joules += *joules;
    } else {
      totals.joules.reset();
    }
    totals.watts.push_back(interval_watts(facts.power, usage, intervals[pool], setup.window, end));
  }
  return totals;
}

void Collector::State::fill_fleet(const FleetTotals& totals, SimTime length,
                                  Summary& summary) const {
  summary.requests = totals.tally.requests;
  summary.tokens = totals.tally.tokens;
  summary.throughput = throughput_section(totals.tally, totals.output_tokens, totals.usage.gpus,
                                          length, !judges.empty());
  summary.fleet = fleet_section(totals.usage);
  summary.cache = cache_section(totals.cached_tokens, totals.queried_tokens);
  if (totals.all_priced) summary.cost = cost_section(totals.usd_per_hour, summary.throughput);
  summary.energy = energy_section(totals.joules, totals.usage, summary.throughput);
  summary.time_breakdown = time_breakdown(totals.usage);
  summary.memory = setup.pools.front().memory;
}

void Collector::State::fill_latency(const std::vector<PoolMeter>& meters, const GapHistogram& gaps,
                                    Result& result) {
  Summary& summary = result.summary;
  summary.latency = latency_section(log, RequestLog::kAllPools, gaps, scratch, &result.curves);
  summary.latency_from_sketch = log.folded();
  if (meters.size() == 1) {
    summary.pools.front().latency = summary.latency;  // one pool's latencies are the fleet's
    return;
  }
  for (std::size_t pool = 0; pool < meters.size(); ++pool) {
    summary.pools[pool].latency = latency_section(log, static_cast<std::int32_t>(pool),
                                                  meters[pool].gaps(), scratch, nullptr);
  }
}

void Collector::State::fill_lengths(Summary& summary) const {
  if (prompt_lengths.count() > 0) {
    summary.realised_prompt_mean = prompt_lengths.mean();
    summary.realised_prompt_p95 = prompt_lengths.percentile(0.95);
  }
  if (output_lengths.count() > 0) {
    summary.realised_output_mean = output_lengths.mean();
    summary.realised_output_p95 = output_lengths.percentile(0.95);
  }
  if (frontend_requests > 0) {
    summary.frontend_share =
        static_cast<double>(frontend_shares) / kShareUnits / static_cast<double>(frontend_requests);
  }
}

Collector::Collector(CollectorSetup setup) : state_(std::make_unique<State>(std::move(setup))) {
  for (const PoolFacts& pool : state_->setup.pools) {
    meters_.emplace_back(state_->setup.window, pool.replicas, pool.max_tokens);
  }
}
Collector::~Collector() = default;
Collector::Collector(Collector&&) noexcept = default;
Collector& Collector::operator=(Collector&&) noexcept = default;

void Collector::on_request(const RequestRecord& record) {
  CHECK(record.class_index < state_->setup.classes.size(), "a request of an unknown class");
  CHECK(record.pool < static_cast<std::int64_t>(meters_.size()), "a request of an unknown pool");
  const LoggedRequest request = logged(record);
  state_->count_deliveries(request);
  state_->count_arrival(record);
  if (!state_->setup.window.contains(record.arrival)) return;
  state_->count_member(record);
  state_->log_member(request);
}

Result Collector::finish(SimTime end, bool stopped_early, std::int64_t events_popped) {
  State& state = *state_;
  const MeterWindow& window = state.setup.window;
  const bool open_ended = window.to == kNever;
  const SimTime to = open_ended || stopped_early ? std::min(window.to, end) : window.to;
  const SimTime length = std::max<SimTime>(0, to - window.from);
  // Without an end of arrivals, windows of an objective reach to the last arrival, not through the
  // drain.
  const SimTime judged_to = open_ended ? state.last_arrival + 1 : to;

  Result result;
  result.events_popped = events_popped;
  Summary& summary = result.summary;
  summary.stopped_early = stopped_early;
  std::vector<std::vector<MeterInterval>> intervals;
  for (const PoolMeter& meter : meters_) intervals.push_back(meter.intervals(end));
  const FleetTotals totals = state.add_up(meters_, intervals, length, end, summary);
  state.fill_fleet(totals, length, summary);
  state.fill_lengths(summary);
  state.fill_latency(meters_, totals.gaps, result);
  for (const SloJudge& judge : state.judges) {
    auto section = judge.verdict(state.log, totals.gaps, judged_to, state.scratch);
    if (section) summary.slo.push_back(std::move(*section));
  }
  summary.saturated =
      is_saturated(summed(intervals), state.arrivals, window.interval, window.from, to);
  result.timeseries =
      timeseries_of(intervals, state.setup.pools, totals.watts, window.interval, end);
  return result;
}

}  // namespace fleetsim
