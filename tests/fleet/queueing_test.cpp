// Closed forms of queueing theory. Every case runs independent seeds, drops the warm-up and
// compares the mean wait with the formula within 4 standard errors across seeds; and every case
// shows its power: a server 2 % slower would lie beyond 8 standard errors, so that a 4-SE gate
// would catch it.
//
// Wait = first scheduled - arrival. With one seat and a request of one iteration an engine is a
// single-server queue: it plans at the instant of the arrival when idle, else at the end of the
// iteration, so nothing has to be corrected for.

#include <cmath>
#include <functional>
#include <numeric>

#include "sim/core/random.h"
#include "sim/workload/length_law.h"
#include "tests/fleet/scenario_run.h"

#include "tests/catch.h"

using namespace fleetsim;
using namespace fleetsim::test;

namespace {

struct Estimate {
  double mean = 0, standard_error = 0;
};

Estimate estimate(const std::vector<double>& values) {
  const double n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, std::sqrt(squares / (n - 1) / n)};
}

// Records of requests that arrive after the warm-up, without keeping more than sums.
class WaitSink : public Sink {
 public:
  explicit WaitSink(SimTime warmup, std::size_t replicas = 1) : waits(replicas), warmup_(warmup) {}
  void on_request(const RequestRecord& record) override {
    if (record.status != RequestStatus::completed) others += 1;
    if (record.arrival < warmup_) return;
    Waits& mine = waits[waits.size() == 1 ? 0 : static_cast<std::size_t>(record.replica)];
    mine.sum += to_seconds(record.first_scheduled - record.arrival).value;
    mine.count += 1;
  }
  struct Waits {
    double sum = 0, count = 0;
    double mean() const { return sum / count; }
  };
  std::vector<Waits> waits;
  std::int64_t others = 0;  // requests that did not complete: there must be none

 private:
  SimTime warmup_;
};

constexpr std::uint64_t kSeeds = 20;

std::vector<double> mean_waits(const ReadyScenario& scenario) {
  std::vector<double> means;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WaitSink sink(scenario.scenario.warmup);
    simulate(scenario.scenario, scenario.deployment, seed, sink);
    CHECK(sink.others == 0);
    means.push_back(sink.waits.front().mean());
  }
  return means;
}

// `slower`: the closed form for servers 2 % slower.
void check_wait(const std::vector<double>& waits, double exact, double slower) {
  const Estimate seen = estimate(waits);
  INFO("wait " << seen.mean << " s +- " << seen.standard_error << ", closed form " << exact
               << ", off by " << (seen.mean - exact) / seen.standard_error << " SE, power "
               << (slower - exact) / seen.standard_error << " SE");
  CHECK(std::fabs(seen.mean - exact) < 4 * seen.standard_error);
  CHECK(slower - exact > 8 * seen.standard_error);
}

// One seat, prompts by `law`, one token out. `duration` in seconds.
std::string single_server(double rate, const std::string& prompts, const std::string& cost,
                          int duration, int replicas = 1) {
  return fmt::format(R"(
duration: {}s
warmup: {}s
drain: 100000s
workload:
  arrivals: {{process: poisson, rate: {}/s}}
  prompt_tokens: {}
  output_tokens: {{distribution: fixed, value: 1}}
model: qwen3-0.6b
fleet:
  pools:
    - gpu: h100-sxm
      replicas: {}
      engine: {{max_num_seqs: 1, max_num_batched_tokens: 40960, max_model_len: 40960, enable_prefix_caching: false, async_scheduling: false}}
router: {{policy: random}}
cost_model: {}
outputs: {{timeseries_interval: 1000s}}
)",
                     duration, duration / 10, rate, prompts, replicas, cost);
}

// Pollaczek-Khinchine: mean wait of M/G/1 from the first two moments of the service time, seconds.
double pollaczek_khinchine(double rate, double first, double second) {
  REQUIRE(rate * first < 1);
  return rate * second / (2 * (1 - rate * first));
}

// Erlang C: mean wait of M/M/c.
double erlang_c_wait(double rate, double service, int servers) {
  const double load = rate * service;
  double term = 1, sum = 1;
  for (int k = 1; k < servers; ++k) sum += term *= load / k;
  const double last = term * load / servers * servers / (servers - load);
  const double all_busy = last / (sum + last);
  return all_busy * service / (servers - load);
}

// The base must be a time above 0: a nanosecond, exact on the clock. Tokens cost 10 us each.
constexpr double kPerToken = 10e-6;
const char* const kLinear = "{linear: {base: 1ns, per_token: 10us, per_context_token: 0ns}}";

struct Moments {
  double first = 0, second = 0;
};

// Moments of the service time from the probabilities of prompt lengths 1 .. most.
Moments service_moments(int most, const std::function<double(int)>& probability) {
  Moments moments;
  double total = 0;
  for (int tokens = 1; tokens <= most; ++tokens) {
    const double p = probability(tokens), time = kPerToken * tokens + 1e-9;
    total += p;
    moments.first += p * time;
    moments.second += p * time * time;
  }
  REQUIRE(total == Approx(1).epsilon(1e-9));
  return moments;
}

void check_single_server(double rate, const std::string& prompts, const Moments& moments,
                         int duration) {
  const std::vector<double> waits =
      mean_waits(ready(single_server(rate, prompts, kLinear, duration)));
  check_wait(waits, pollaczek_khinchine(rate, moments.first, moments.second),
             pollaczek_khinchine(rate, 1.02 * moments.first, 1.02 * 1.02 * moments.second));
}

double normal_probability(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

}  // namespace

TEST_CASE("M/D/1: a seat with a fixed iteration waits as Pollaczek-Khinchine says", "[queueing]") {
  const double service = 0.010;
  for (const double load : {0.5, 0.7}) {
    const double rate = load / service;
    const auto waits = mean_waits(ready(
        single_server(rate, "{distribution: fixed, value: 3}", "{fixed: {iteration: 10ms}}", 800)));
    check_wait(waits, pollaczek_khinchine(rate, service, service * service),
               pollaczek_khinchine(rate, 1.02 * service, 1.02 * 1.02 * service * service));
  }
}

TEST_CASE("M/M/1: geometric prompts at a price per token wait as the law's moments say",
          "[queueing]") {
  // A geometric law of mean 1000 is exponential to 0.05 % in its second moment; the exact one is
  // used.
  const double p = 1.0 / 1000;
  const Moments moments = service_moments(30000, [&](int n) { return p * std::pow(1 - p, n - 1); });
  CHECK(moments.first == Approx(0.010).epsilon(1e-6));
  CHECK(moments.second == Approx(2 * 0.010 * 0.010).epsilon(1e-3));
  check_single_server(50, "{distribution: geometric, mean: 1000}", moments, 1600);
}

TEST_CASE("M/G/1: uniform and lognormal prompts wait as their exact moments say", "[queueing]") {
  const Moments uniform = service_moments(1500, [](int n) { return n >= 500 ? 1.0 / 1001 : 0.0; });
  check_single_server(60, "{distribution: uniform, min: 500, max: 1500}", uniform, 800);

  // Rounded to the nearest whole number, 1 at least, cut at 8000; mean 800 and p95 2000 before the
  // cut.
  const double sigma = lognormal_sigma(2000.0 / 800).value();
  const double mu = std::log(800.0) - sigma * sigma / 2;
  const auto below = [&](double x) { return normal_probability((std::log(x) - mu) / sigma); };
  const double kept = below(8000.5);
  const Moments lognormal = service_moments(
      8000, [&](int n) { return ((below(n + 0.5)) - (n == 1 ? 0 : below(n - 0.5))) / kept; });
  CHECK(normal_probability((std::log(2000.0) - mu) / sigma) == Approx(0.95).epsilon(1e-6));
  check_single_server(60, "{distribution: lognormal, mean: 800, p95: 2000, max: 8000}", lognormal,
                      1600);
}

namespace {

// Continuous batching with a fixed iteration is M/M/c but for its slots: a request that arrives
// during an iteration waits for its end even if a seat is free. Exact for the slotted system: at
// the start of a slot n requests are in the system, min(n, c) of them get a token and each is done
// with probability 1/m; Poisson arrivals of the slot join at its end, having waited half a slot on
// average. An empty system starts a slot at the instant of the next arrival. Mean wait by Little's
// law.
double slotted_wait(double rate, double slot, double mean_tokens, int seats) {
  const int most = 400;  // requests in the system; beyond, probability < 1e-12 at the loads used
  const double done = 1 / mean_tokens;
  std::vector<double> poisson(60);
  poisson[0] = std::exp(-rate * slot);
  for (std::size_t k = 1; k < poisson.size(); ++k) {
    poisson[k] = poisson[k - 1] * rate * slot / static_cast<double>(k);
  }
  std::vector<double> state(most + 1), next(most + 1);
  state[1] = 1;
  double empties = 0;  // chance that a slot ends in an empty system
  for (int round = 0; round < 100000; ++round) {
    std::fill(next.begin(), next.end(), 0);
    empties = 0;
    for (int n = 1; n <= most; ++n) {
      if (state[static_cast<std::size_t>(n)] < 1e-18) continue;
      const int busy = std::min(n, seats);
      double binomial = std::pow(1 - done, busy);
      for (int leave = 0; leave <= busy; ++leave) {
        for (int come = 0; come < static_cast<int>(poisson.size()); ++come) {
          const double p = state[static_cast<std::size_t>(n)] * binomial *
                           poisson[static_cast<std::size_t>(come)];
          if (p < 1e-18) break;
          const int to = std::min(n - leave + come, most);
          if (to == 0) empties += p;
          next[static_cast<std::size_t>(std::max(to, 1))] += p;  // an empty system waits for one
        }
        binomial *= static_cast<double>(busy - leave) / (leave + 1) * done / (1 - done);
      }
    }
    double change = 0;
    for (int n = 0; n <= most; ++n) {
      change += std::fabs(next[static_cast<std::size_t>(n)] - state[static_cast<std::size_t>(n)]);
    }
    state.swap(next);
    if (change < 1e-10) break;
  }
  double waiting = 0;  // request-seconds a slot
  for (int n = 1; n <= most; ++n) {
    waiting += state[static_cast<std::size_t>(n)] *
               (std::max(n - seats, 0) * slot + rate * slot * slot / 2);
  }
  return waiting / (slot + empties / rate) / rate;
}

}  // namespace

TEST_CASE("M/M/c: seats are servers, up to the slots of an iteration", "[queueing]") {
  const int seats = 4;
  const double slot = 0.010, mean_tokens = 20, service = slot * mean_tokens, rate = 14;
  const double exact = slotted_wait(rate, slot, mean_tokens, seats);
  // Half a slot for nearly everybody, and tokens in steps: the slots themselves cost under a slot.
  CHECK(exact > erlang_c_wait(rate, service, seats));
  CHECK(exact < erlang_c_wait(rate, service, seats) + slot);
  const double finer = slotted_wait(rate, slot / 8, 8 * mean_tokens, seats);
  CHECK(finer == Approx(erlang_c_wait(rate, service, seats)).epsilon(0.02));

  const auto waits = mean_waits(ready(fmt::format(R"(
duration: 3000s
warmup: 300s
drain: 100000s
workload:
  arrivals: {{process: poisson, rate: {}/s}}
  prompt_tokens: {{distribution: fixed, value: 1}}
  output_tokens: {{distribution: geometric, mean: {}}}
model: qwen3-0.6b
fleet:
  pools:
    - gpu: h100-sxm
      engine: {{max_num_seqs: {}, max_num_batched_tokens: 64, max_model_len: 4096, enable_prefix_caching: false, async_scheduling: false}}
cost_model: {{fixed: {{iteration: 10ms}}}}
outputs: {{timeseries_interval: 1000s}}
)",
                                                  rate, mean_tokens, seats)));
  check_wait(waits, exact, slotted_wait(rate, 1.02 * slot, mean_tokens, seats));
}

TEST_CASE("a random split of Poisson arrivals gives independent M/D/1 queues", "[queueing]") {
  const double service = 0.010, rate = 180;  // 60/s for each of 3 replicas
  const ReadyScenario scenario = ready(
      single_server(rate, "{distribution: fixed, value: 3}", "{fixed: {iteration: 10ms}}", 600, 3));
  std::vector<double> each, products, counts;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WaitSink sink(scenario.scenario.warmup, 3);
    simulate(scenario.scenario, scenario.deployment, seed, sink);
    CHECK(sink.others == 0);
    const double exact = pollaczek_khinchine(rate / 3, service, service * service);
    std::array<double, 3> off{};
    for (std::size_t replica = 0; replica < 3; ++replica) {
      each.push_back(sink.waits[replica].mean());
      counts.push_back(sink.waits[replica].count);
      off[replica] = sink.waits[replica].mean() / exact - 1;
    }
    products.insert(products.end(), {off[0] * off[1], off[1] * off[2], off[0] * off[2]});
  }
  check_wait(each, pollaczek_khinchine(rate / 3, service, service * service),
             pollaczek_khinchine(rate / 3, 1.02 * service, 1.02 * 1.02 * service * service));
  // Independent replicas: deviations do not move together.
  const Estimate together = estimate(products);
  CHECK(std::fabs(together.mean) < 4 * together.standard_error);
  // Each replica's arrivals are Poisson: 540 s x 60/s = 32,400, variance equal to the mean.
  const Estimate arrivals = estimate(counts);
  CHECK(std::fabs(arrivals.mean - 32400) < 4 * arrivals.standard_error);
  const double n = static_cast<double>(counts.size());
  const double dispersion = arrivals.standard_error * arrivals.standard_error * n / 32400;
  CHECK(std::fabs(dispersion - 1) < 4 * std::sqrt(2 / (n - 1)));
}

TEST_CASE("Little's law: the meters' mean number in the system is the rate times the mean time",
          "[queueing]") {
  const ReadyScenario scenario = ready(R"(
duration: 200s
drain: 1000s
workload:
  arrivals: {process: poisson, rate: 40/s}
  prompt_tokens: {distribution: lognormal, mean: 300, p95: 900, max: 4000}
  output_tokens: {distribution: geometric, mean: 40}
model: qwen3-0.6b
fleet: {pools: [{gpu: h100-sxm, replicas: 2, engine: {max_num_seqs: 16, max_num_batched_tokens: 512, max_model_len: 8192, num_gpu_blocks_override: 1025}}]}
router: {policy: least-outstanding}
cost_model: {linear: {base: 8ms, per_token: 10us, per_context_token: 100ns}}
)");
  const WholeRun run = run_whole(scenario, {}, false);
  double in_system_s = 0, last = 0, queued_s = 0;
  for (const TimeseriesPoint& point : run.result.timeseries) {
    in_system_s += (point.queue + point.running) * to_seconds(point.length).value;
    queued_s += point.queue * to_seconds(point.length).value;
  }
  double time_s = 0, wait_s = 0;
  const double requests = static_cast<double>(run.requests.size());
  for (const RequestRecord& record : run.requests) {
    REQUIRE(record.status == RequestStatus::completed);
    time_s += to_seconds(record.last_token - record.arrival).value;
    wait_s += to_seconds(record.first_scheduled - record.arrival).value;
    last = std::max(last, to_seconds(record.last_token).value);
  }
  CHECK(requests > 7000);
  CHECK(wait_s > 10);  // there was a queue
  const double mean_number = in_system_s / last, rate = requests / last,
               mean_time = time_s / requests;
  CHECK(mean_number == Approx(rate * mean_time).epsilon(1e-9));
  // Of the queue alone it holds where nobody is preempted and queues again.
  CHECK(run.result.summary.fleet.preemptions == 0);
  CHECK(queued_s == Approx(wait_s).epsilon(1e-9));
}
