// The source of requests: content, classes, conversations, closed loops, and above all that
// nobody's draws depend on anybody else.

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <queue>
#include <set>

#include "sim/workload/stream_ids.h"
#include "sim/workload/workload.h"
#include "tests/workload/trace_files.h"

#include "tests/catch.h"

using namespace fleetsim;
using Kind = LengthDistribution::Kind;
using Process = Arrivals::Process;

namespace {

constexpr SimTime kSecond = kNanosecondsPerSecond;

LengthDistribution fixed(std::int64_t value) {
  LengthDistribution law;
  law.value = value;
  return law;
}
LengthDistribution uniform(std::int64_t min, std::int64_t max) {
  LengthDistribution law;
  law.kind = Kind::uniform;
  law.min = min;
  law.max = max;
  return law;
}
LengthDistribution lognormal(double mean, double p95, std::int64_t max) {
  LengthDistribution law;
  law.kind = Kind::lognormal;
  law.mean = mean;
  law.p95 = p95;
  law.max = max;
  return law;
}
Arrivals arrivals_of(Process process, double rate) {
  Arrivals arrivals;
  arrivals.process = process;
  arrivals.rate_per_s = rate;
  return arrivals;
}
WorkloadClass class_of(const std::string& name, LengthDistribution prompt,
                       LengthDistribution output) {
  WorkloadClass one;
  one.name = name;
  one.prompt_tokens = prompt;
  one.output_tokens = output;
  return one;
}

/// The lengths and prefixes of the headline scenario.
Scenario chat(double duration_s) {
  Scenario scenario;
  scenario.duration = to_sim_time({duration_s});
  scenario.workload.arrivals = arrivals_of(Process::poisson, 2000);
  scenario.workload.arrivals->peak_to_mean = 1.125;
  scenario.workload.arrivals->period = 600 * kSecond;
  WorkloadClass one = class_of("default", lognormal(2400, 6000, 16384), lognormal(50, 100, 200));
  one.prefixes = {16, 800, Prefixes::Popularity::zipf, 1.0};
  scenario.workload.classes = {one};
  scenario.workload.response_cache = {0.2, kSecond / 50};
  return scenario;
}

Scenario closed(std::int64_t clients, std::int64_t requests, SimTime think_time) {
  Scenario scenario;
  Arrivals& arrivals = scenario.workload.arrivals.emplace();
  arrivals.process = Process::closed;
  arrivals.clients = clients;
  arrivals.requests = requests;
  arrivals.think_time = think_time;
  scenario.workload.classes = {class_of("default", uniform(1, 1000), uniform(1, 50))};
  return scenario;
}

std::vector<Request> take_all(RequestSource& source) {
  std::vector<Request> requests;
  SimTime before = 0;
  while (source.next_arrival() != kNever) {
    const SimTime announced = source.next_arrival();
    source.take(requests.emplace_back());
    REQUIRE(requests.back().arrival == announced);
    REQUIRE(announced >= before);
    before = announced;
  }
  return requests;
}
std::vector<Request> take_all(const Scenario& scenario, std::uint64_t seed = 1) {
  RequestSource source(scenario, seed);
  return take_all(source);
}

/// What common random numbers must keep: everything but the number given at creation.
bool same_draws(const Request& a, const Request& b) {
  return a.class_index == b.class_index && a.prompt_tokens == b.prompt_tokens &&
         a.output_tokens == b.output_tokens && a.max_tokens == b.max_tokens &&
         a.session == b.session && a.turn == b.turn && a.response_cache_hit == b.response_cache_hit;
}

/// Laws of every request, whatever made it.
void check_shape(const Request& request) {
  std::int64_t covered = 0;
  for (std::size_t i = 0; i < request.prompt.size(); ++i) {
    REQUIRE(request.prompt[i].length() > 0);
    covered += request.prompt[i].length();
    if (i > 0 && request.prompt[i].stream == request.prompt[i - 1].stream) {
      REQUIRE(request.prompt[i].from != request.prompt[i - 1].to);  // merged otherwise
    }
  }
  REQUIRE(covered == request.prompt_tokens);
  REQUIRE(request.prompt_tokens >= 1);
  REQUIRE(request.max_tokens >= request.output_tokens);
}

/// Runs a source to its end with answers that take `service(request)`; every request made, by
/// creation.
std::vector<Request> serve(const Scenario& scenario, std::uint64_t seed,
                           const std::function<SimTime(const Request&)>& service) {
  RequestSource source(scenario, seed);
  using End = std::pair<SimTime, RequestId>;
  std::priority_queue<End, std::vector<End>, std::greater<>> ends;
  std::priority_queue<End, std::vector<End>, std::greater<>> follow_ups;
  std::vector<Request> requests;
  const auto begin = [&](const Request& request) {
    ends.emplace(request.arrival + service(request), request.id);
  };
  while (source.next_arrival() != kNever || !ends.empty()) {
    if (ends.empty() || source.next_arrival() <= ends.top().first) {
      source.take(requests.emplace_back());
      REQUIRE(requests.back().id + 1 == requests.size());
      begin(requests.back());
      continue;
    }
    const auto [time, id] = ends.top();
    ends.pop();
    Request next;
    const Request ended = requests[id];
    if (source.follow_up(ended, time, next)) {
      REQUIRE(next.arrival >= time);
      REQUIRE(next.id == requests.size());
      requests.push_back(next);
      begin(requests.back());
    }
  }
  return requests;
}

std::string problems_of(const Scenario& scenario) {
  try {
    RequestSource source(scenario, 1);
  } catch (const ConfigError& error) {
    return error.problems().text();
  }
  return "";
}

double share_error(double p, double n) { return std::sqrt(p * (1 - p) / n); }

}  // namespace

TEST_CASE("prompts begin with a system prompt and cover exactly their tokens", "[unit]") {
  const auto requests = take_all(chat(5));
  REQUIRE(requests.size() > 9000);
  std::set<StreamId> own, shared, outputs;
  for (const Request& request : requests) {
    check_shape(request);
    outputs.insert(request.output_stream);
    REQUIRE(stream_kind(request.output_stream) == StreamKind::output);
    const Stretch& last = request.prompt.back();
    REQUIRE(stream_kind(last.stream) == StreamKind::conversation);
    own.insert(last.stream);
    if (request.prompt_tokens > 1) {
      REQUIRE(request.prompt.size() == 2);
      REQUIRE(stream_kind(request.prompt[0].stream) == StreamKind::system_prompt);
      // a prompt that is not longer than the prefix takes all but its last token of it
      REQUIRE(request.prompt[0] ==
              Stretch{request.prompt[0].stream, 0, std::min(800, request.prompt_tokens - 1)});
      shared.insert(request.prompt[0].stream);
    }
  }
  REQUIRE(shared.size() == 16);
  REQUIRE(own.size() == requests.size());
  REQUIRE(outputs.size() == requests.size());
}

TEST_CASE("system prompts follow their popularity", "[statistics]") {
  for (const auto popularity : {Prefixes::Popularity::zipf, Prefixes::Popularity::uniform}) {
    Scenario scenario = chat(100);
    scenario.workload.classes[0].prefixes.popularity = popularity;
    std::map<StreamId, double> counts;
    double total = 0;
    for (const Request& request : take_all(scenario)) {
      counts[request.prompt[0].stream] += 1;
      total += 1;
    }
    double sum = 0;
    for (int rank = 1; rank <= 16; ++rank) sum += 1.0 / rank;
    for (std::uint64_t group = 0; group < 16; ++group) {
      const double p = popularity == Prefixes::Popularity::zipf
                           ? 1 / (static_cast<double>(group + 1) * sum)
                           : 1.0 / 16;
      const double share = counts[stream_id(StreamKind::system_prompt, 0, group)] / total;
      REQUIRE(std::fabs(share - p) < 4 * share_error(p, total));
    }
  }
}

TEST_CASE("more system prompts than fit a table are drawn all the same", "[unit]") {
  Scenario scenario = chat(2);
  scenario.workload.classes[0].prefixes.system_prompts = 1'000'000'000;
  std::set<StreamId> groups;
  const auto requests = take_all(scenario);
  for (const Request& request : requests) groups.insert(request.prompt[0].stream);
  REQUIRE(groups.size() > requests.size() / 2);
  REQUIRE(groups.size() < requests.size());
}

TEST_CASE("a fifth is answered by the response cache, independently", "[statistics]") {
  const auto requests = take_all(chat(100));
  const double n = static_cast<double>(requests.size());
  double hits = 0, pairs = 0, hit_tokens = 0, miss_tokens = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const bool hit = requests[i].response_cache_hit;
    hits += hit;
    pairs += i > 0 && hit && requests[i - 1].response_cache_hit;
    (hit ? hit_tokens : miss_tokens) += requests[i].prompt_tokens;
  }
  REQUIRE(std::fabs(hits / n - 0.2) < 4 * share_error(0.2, n));
  REQUIRE(std::fabs(pairs / n - 0.04) < 4 * share_error(0.04, n) * 1.3);
  REQUIRE(hit_tokens / hits == Approx(miss_tokens / (n - hits)).epsilon(0.02));
}

TEST_CASE("arrivals stop at duration", "[unit]") {
  Scenario scenario = chat(1);
  const auto requests = take_all(scenario);
  REQUIRE(requests.back().arrival < kSecond);
  REQUIRE(kSecond - requests.back().arrival < kSecond / 50);
  REQUIRE(RequestSource(scenario, 1).end_of_arrivals() == kSecond);
  scenario.workload.arrivals = arrivals_of(Process::constant, 10);
  REQUIRE(take_all(scenario).size() == 10);  // 0, 0.1, ... 0.9: the end itself is out
}

TEST_CASE("the same seed gives the same requests, another seed others", "[invariant]") {
  const auto a = take_all(chat(2), 7), b = take_all(chat(2), 7), c = take_all(chat(2), 8);
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(same_draws(a[i], b[i]));
    REQUIRE(a[i].arrival == b[i].arrival);
    REQUIRE(a[i].prompt == b[i].prompt);
  }
  std::size_t equal = 0;
  for (std::size_t i = 0; i < std::min(a.size(), c.size()); ++i) {
    equal += a[i].arrival == c[i].arrival || a[i].prompt_tokens == c[i].prompt_tokens;
  }
  REQUIRE(equal < a.size() / 100);
}

TEST_CASE("changing the prompt law moves neither arrivals nor other draws", "[invariant]") {
  Scenario other = chat(2);
  other.workload.classes[0].prompt_tokens = uniform(1, 9);
  other.workload.classes[0].max_tokens = fixed(4096);
  const auto a = take_all(chat(2)), b = take_all(other);
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(a[i].arrival == b[i].arrival);
    REQUIRE(a[i].output_tokens == b[i].output_tokens);
    REQUIRE(a[i].response_cache_hit == b[i].response_cache_hit);
  }
}

TEST_CASE("adding a class moves nobody else's draws", "[invariant]") {
  Scenario more = chat(2);
  WorkloadClass batch = class_of("batch", fixed(5000), fixed(500));
  batch.arrivals = arrivals_of(Process::poisson, 300);
  more.workload.classes.insert(more.workload.classes.begin(), batch);
  const auto a = take_all(chat(2));
  std::vector<Request> b;
  for (const Request& request : take_all(more)) {
    if (request.class_index == 1) b.push_back(request);
  }
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(a[i].arrival == b[i].arrival);
    REQUIRE(a[i].prompt_tokens == b[i].prompt_tokens);
    REQUIRE(a[i].output_tokens == b[i].output_tokens);
  }
  // a class that shares the arrivals takes some of them and moves none
  Scenario shared = chat(2);
  shared.workload.classes.push_back(class_of("code", fixed(7), fixed(7)));
  const auto c = take_all(shared);
  REQUIRE(a.size() == c.size());
  std::size_t code = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(a[i].arrival == c[i].arrival);
    if (c[i].class_index == 0) REQUIRE(a[i].prompt_tokens == c[i].prompt_tokens);
    code += c[i].class_index;
  }
  REQUIRE(code > a.size() / 3);
}

TEST_CASE("shares thin the arrivals into independent Poisson streams", "[statistics]") {
  Scenario scenario;
  scenario.duration = 200 * kSecond;
  scenario.workload.arrivals = arrivals_of(Process::poisson, 1000);
  for (const double share : {6.0, 0.0, 3.0, 1.0}) {
    scenario.workload.classes.push_back(class_of(std::to_string(share), fixed(1), fixed(1)));
    scenario.workload.classes.back().share = share;
    scenario.workload.classes.back().priority = static_cast<std::int64_t>(share);
  }
  std::vector<std::vector<double>> gaps(4);
  std::vector<SimTime> before(4, 0);
  for (const Request& request : take_all(scenario)) {
    const std::size_t i = request.class_index;
    gaps[i].push_back(to_seconds(request.arrival - before[i]).value);
    before[i] = request.arrival;
    REQUIRE(request.priority == static_cast<std::int64_t>(scenario.workload.classes[i].share));
  }
  REQUIRE(gaps[1].empty());
  for (const std::size_t i : {0u, 2u, 3u}) {
    const double expected = 200'000 * scenario.workload.classes[i].share / 10;
    const double n = static_cast<double>(gaps[i].size());
    REQUIRE(std::fabs(n - expected) < 4 * std::sqrt(expected));
    double sum = 0, squares = 0;
    for (const double gap : gaps[i]) {
      sum += gap;
      squares += gap * gap;
    }
    const double cv = std::sqrt(squares / n - sum / n * sum / n) / (sum / n);
    REQUIRE(std::fabs(cv - 1) < 4 / std::sqrt(n));
  }
}

TEST_CASE("each turn's prompt is the conversation so far and fresh tokens", "[unit]") {
  Scenario scenario = chat(3);
  scenario.workload.arrivals = arrivals_of(Process::poisson, 50);
  scenario.workload.classes[0].sessions = {uniform(1, 5), 2 * kSecond};
  scenario.duration = 100 * kSecond;
  scenario.workload.arrivals->process = Process::piecewise;
  scenario.workload.arrivals->steps = {{0, 50}, {3 * kSecond, 0}};
  const auto requests = serve(scenario, 1, [](const Request&) { return kSecond / 4; });
  std::map<std::uint64_t, std::vector<const Request*>> conversations;
  for (const Request& request : requests) {
    check_shape(request);
    REQUIRE(request.session != 0);
    conversations[request.session].push_back(&request);
  }
  REQUIRE(conversations.size() > 100);
  std::map<std::size_t, int> lengths;
  for (const auto& [name, turns] : conversations) {
    ++lengths[turns.size()];
    std::set<StreamId> outputs;
    for (std::size_t k = 0; k < turns.size(); ++k) {
      const Request& now = *turns[k];
      REQUIRE(now.turn == k);
      REQUIRE(outputs.insert(now.output_stream).second);
      if (k == 0) continue;
      const Request& last = *turns[k - 1];
      REQUIRE(now.arrival == last.arrival + kSecond / 4 + 2 * kSecond);
      std::vector<Stretch> expected = last.prompt;
      expected.push_back({last.output_stream, 0, last.output_tokens});
      REQUIRE(now.prompt.size() == expected.size() + 1);
      REQUIRE(std::equal(expected.begin(), expected.end(), now.prompt.begin()));
      // fresh tokens go on where the client's own stream stopped: never the same token twice
      const Stretch& fresh = now.prompt.back();
      REQUIRE(fresh.stream == last.prompt.back().stream);
      REQUIRE(fresh.from == last.prompt.back().to);
      REQUIRE(fresh.length() >= 1);
    }
  }
  REQUIRE(lengths.size() == 5);
  for (const auto& [turns, count] : lengths) {
    const double n = static_cast<double>(conversations.size());
    REQUIRE(std::fabs(count / n - 0.2) < 4 * share_error(0.2, n));
  }
}

TEST_CASE("a prefill-only turn leaves no output in the next prompt", "[unit]") {
  Scenario scenario = closed(1, 3, 0);
  scenario.workload.classes[0].output_tokens = fixed(0);
  scenario.workload.classes[0].prompt_tokens = fixed(10);
  scenario.workload.classes[0].sessions.turns = fixed(3);
  const auto requests = serve(scenario, 1, [](const Request&) { return kSecond; });
  REQUIRE(requests.size() == 3);
  REQUIRE(requests[2].prompt.size() == 1);
  REQUIRE(requests[2].prompt[0].length() == 30);
}

TEST_CASE("what a turn is does not depend on when the answers come", "[invariant]") {
  Scenario scenario = chat(3);
  scenario.workload.arrivals = arrivals_of(Process::poisson, 50);
  scenario.workload.classes[0].sessions = {uniform(1, 5), kSecond};
  scenario.duration.reset();
  Arrivals& batch = *scenario.workload.arrivals;
  batch.process = Process::batch;
  batch.requests = 80;
  const auto by_turn = [&](const std::function<SimTime(const Request&)>& service) {
    std::map<std::pair<std::uint64_t, std::uint32_t>, Request> turns;
    for (const Request& request : serve(scenario, 3, service))
      turns[{request.session, request.turn}] = request;
    return turns;
  };
  const auto slow =
      by_turn([](const Request& request) { return SimTime{request.output_tokens} * kSecond; });
  const auto fast = by_turn([](const Request& request) { return kSecond / (1 + request.id % 7); });
  REQUIRE(slow.size() == fast.size());
  REQUIRE(slow.size() > 160);
  for (const auto& [key, request] : slow) REQUIRE(same_draws(request, fast.at(key)));
}

TEST_CASE("a closed loop keeps its clients busy and stops at its requests", "[unit]") {
  const auto requests =
      serve(closed(3, 10, kSecond), 1, [](const Request&) { return 2 * kSecond; });
  REQUIRE(requests.size() == 10);
  for (std::size_t i = 0; i < 10; ++i) {
    REQUIRE(requests[i].arrival == static_cast<SimTime>(i / 3) * 3 * kSecond);
    REQUIRE(requests[i].session == 0);
    check_shape(requests[i]);
  }
  REQUIRE(take_all(closed(8, 5, 0)).size() == 5);  // fewer requests than clients
  REQUIRE(RequestSource(closed(3, 10, 0), 1).end_of_arrivals() == kNever);
}

TEST_CASE("a closed loop's requests are keyed by client and count", "[invariant]") {
  const auto by_client = [](const std::function<SimTime(const Request&)>& service) {
    Scenario scenario = closed(5, 0, 0);
    scenario.duration = 60 * kSecond;
    std::map<std::uint64_t, std::vector<Request>> clients;
    for (const Request& request : serve(scenario, 1, service)) {
      clients[(request.origin & (kStreamNumbers - 1)) >> 28].push_back(request);
    }
    return clients;
  };
  const auto even = by_client([](const Request&) { return kSecond; });
  const auto odd = by_client([](const Request& request) { return kSecond * (1 + request.id % 3); });
  REQUIRE(even.size() == 5);
  for (const auto& [client, requests] : even) {
    REQUIRE(requests.size() == 60);
    const auto& others = odd.at(client);
    REQUIRE(others.size() < requests.size());
    for (std::size_t n = 0; n < others.size(); ++n) REQUIRE(same_draws(requests[n], others[n]));
  }
}

TEST_CASE("clients hold one conversation after another", "[unit]") {
  Scenario scenario = closed(2, 40, 5 * kSecond);
  scenario.workload.classes[0].sessions = {fixed(4), kSecond};
  const auto requests = serve(scenario, 1, [](const Request&) { return kSecond; });
  REQUIRE(requests.size() == 40);
  std::map<std::uint64_t, std::vector<SimTime>> conversations;
  for (const Request& request : requests) conversations[request.session].push_back(request.arrival);
  REQUIRE(conversations.size() == 10);
  for (const auto& [name, times] : conversations) {
    REQUIRE(times.size() == 4);
    for (std::size_t k = 0; k < 4; ++k) {  // 8 s of turns, then 5 s + 1 s until the next one starts
      REQUIRE(times[k] == times[0] + static_cast<SimTime>(k) * 2 * kSecond);
      REQUIRE(times[0] % (12 * kSecond) == 0);
    }
  }
}

TEST_CASE("follow-ups stop at duration and use up no number", "[unit]") {
  Scenario scenario = closed(1, 0, kSecond);
  scenario.duration = 10 * kSecond;
  RequestSource source(scenario, 1);
  Request first, next;
  source.take(first);
  REQUIRE_FALSE(source.follow_up(first, 9 * kSecond, next));  // would arrive at 10 s
  REQUIRE(source.follow_up(first, 9 * kSecond - 1, next));
  REQUIRE(next.id == 1);
  REQUIRE(next.arrival == 10 * kSecond - 1);
  REQUIRE(source.end_of_arrivals() == 10 * kSecond);
}

TEST_CASE("requests without a loop have no follow-up", "[unit]") {
  RequestSource source(chat(1), 1);
  Request request, next;
  source.take(request);
  REQUIRE_FALSE(source.follow_up(request, kSecond / 2, next));
}

TEST_CASE("load multiplies rates and clients and divides a trace's times", "[unit]") {
  RequestSource loaded(chat(10), 1, 1.5);
  const double n = static_cast<double>(take_all(loaded).size());
  const double plain = static_cast<double>(take_all(chat(10)).size());
  REQUIRE(n / plain == Approx(1.5).epsilon(0.03));
  for (const auto& [load, clients] : {std::pair{1.02, 100}, {1.5, 147}, {0.001, 1}}) {
    RequestSource source(closed(98, 1000, 0), 1, load);
    REQUIRE(take_all(source).size() == static_cast<std::size_t>(clients));
  }
  const test::TemporaryFile file("t.csv", "arrival_s,prompt_tokens,output_tokens\n1,5,1\n4,6,1\n");
  Scenario scenario;
  scenario.workload.arrivals = arrivals_of(Process::trace, 0);
  scenario.workload.arrivals->path = file.path();
  scenario.workload.arrivals->rate_scale = 2;
  scenario.workload.classes.emplace_back();
  RequestSource source(scenario, 1, 2);
  REQUIRE(source.end_of_arrivals() == kSecond);
  const auto requests = take_all(source);
  REQUIRE(requests[0].arrival == kSecond / 4);
  REQUIRE(requests[1].arrival == kSecond);
}

TEST_CASE("written requests keep their names, streams and limits", "[unit]") {
  Scenario scenario;
  WrittenRequest a, b, c;
  a.id = "A";
  a.arrival = 5;
  a.prompt_tokens = 10;
  a.output_tokens = 4;
  b.id = "B";
  b.arrival = 0;
  b.prompt = {{"S", 0, 8}, {"T", 0, 3}};
  b.output_tokens = 3;
  b.max_tokens = 10;
  b.priority = 1;
  c.id = "C";
  c.arrival = 5;
  c.prompt = {{"S", 0, 4}, {"S", 4, 8}};
  c.output_tokens = 0;
  scenario.workload.requests = {a, b, c};
  RequestSource source(scenario, 1);
  REQUIRE(source.names() == std::vector<std::string>{"B", "A", "C"});
  REQUIRE(source.classes().size() == 1);
  REQUIRE(source.classes()[0].name == "default");
  REQUIRE(source.end_of_arrivals() == 5);
  const auto requests = take_all(source);
  REQUIRE(source.names() == std::vector<std::string>{"B", "A", "C"});
  for (const Request& request : requests) check_shape(request);
  REQUIRE(requests[0].prompt_tokens == 11);
  REQUIRE(requests[0].max_tokens == 10);
  REQUIRE(requests[0].output_tokens == 3);
  REQUIRE(requests[0].priority == 1);
  REQUIRE(requests[1].prompt_tokens == 10);
  REQUIRE(requests[1].max_tokens == 4);
  // C's two pieces of S are one stretch, of the stream that B names
  REQUIRE(requests[2].prompt == std::vector<Stretch>{{requests[0].prompt[0].stream, 0, 8}});
  REQUIRE(requests[2].output_tokens == 0);
}

TEST_CASE("streams of different sources never collide", "[invariant]") {
  // two classes with traces of the same block ids, a closed loop, sessions and prefixes at once
  const test::TemporaryFile file(
      "t.csv", "arrival_s,prompt_tokens,output_tokens,prefix_hashes\n0,40,1,1 2\n0,16,1,1\n");
  Scenario scenario;
  scenario.duration = 5 * kSecond;
  scenario.workload.arrivals = arrivals_of(Process::poisson, 20);
  for (const char* name : {"chat", "code", "one", "two"}) {
    WorkloadClass one = class_of(name, uniform(1, 90), fixed(3));
    if (name == std::string("chat") || name == std::string("code")) {
      one.prefixes = {3, 20, Prefixes::Popularity::uniform, 1};
      one.sessions = {fixed(2), kSecond};
    } else {
      one.arrivals = arrivals_of(Process::trace, 0);
      one.arrivals->path = file.path();
    }
    scenario.workload.classes.push_back(one);
  }
  const auto requests = serve(scenario, 1, [](const Request&) { return kSecond / 10; });
  std::map<StreamId, std::set<std::uint64_t>>
      users;  // stream -> classes, or classes and conversations
  std::set<StreamId> outputs;
  int traced = 0;
  for (const Request& request : requests) {
    check_shape(request);
    REQUIRE(outputs.insert(request.output_stream).second);
    traced += request.class_index >= 2;
    for (const Stretch& part : request.prompt) {
      const StreamKind kind = stream_kind(part.stream);
      const bool is_shared = kind == StreamKind::system_prompt || kind == StreamKind::trace_block;
      users[part.stream].insert(is_shared ? request.class_index : 1000 + request.session);
      if (kind == StreamKind::trace_block) REQUIRE(request.class_index >= 2);
    }
  }
  REQUIRE(traced == 4);
  for (const auto& [stream, owners] : users) REQUIRE(owners.size() == 1);
}

TEST_CASE("a drawn limit below the drawn answer ends it", "[unit]") {
  Scenario scenario = chat(1);
  scenario.workload.classes[0].output_tokens = uniform(1, 100);
  scenario.workload.classes[0].max_tokens = fixed(60);
  std::int32_t longest = 0;
  for (const Request& request : take_all(scenario)) {
    check_shape(request);
    REQUIRE(request.max_tokens == 60);
    longest = std::max(longest, request.output_tokens);
  }
  REQUIRE(longest == 60);
}

TEST_CASE("classes keep their own rules", "[unit]") {
  Scenario scenario = chat(1);
  WorkloadClass& one = scenario.workload.classes[0];
  one.timeout = 5 * kSecond;
  one.retry.max = 2;
  one.slo.emplace().ttft = kSecond;
  one.model = "qwen3-8b";
  const RequestSource source(scenario, 1);
  REQUIRE(source.classes().size() == 1);
  REQUIRE(source.classes()[0].timeout == 5 * kSecond);
  REQUIRE(source.classes()[0].retry.max == 2);
  REQUIRE(source.classes()[0].slo->ttft == kSecond);
  REQUIRE(source.classes()[0].model == "qwen3-8b");
}

TEST_CASE("workloads that cannot be are refused in words", "[errors]") {
  Scenario scenario = chat(1);
  scenario.source.file = "s.yaml";
  scenario.duration.reset();
  REQUIRE(problems_of(scenario) ==
          "s.yaml: error: these arrivals never end; give the scenario a duration\n");
  scenario = closed(0, 5, 0);
  scenario.source.file = "s.yaml";
  REQUIRE(problems_of(scenario) ==
          "s.yaml: error: clients must be between 1 and 1048576, but is 0\n");
  scenario = closed(2, 0, 0);
  scenario.source.file = "s.yaml";
  REQUIRE(problems_of(scenario) ==
          "s.yaml: error: a closed loop needs requests or a duration to end\n");
  scenario = chat(1);
  scenario.source.file = "s.yaml";
  scenario.workload.classes[0].share = 0;
  REQUIRE(problems_of(scenario) == "s.yaml: error: no class with a share takes these arrivals\n");
  scenario = chat(1);
  scenario.source.file = "s.yaml";
  scenario.workload.arrivals.reset();
  REQUIRE(problems_of(scenario) == "s.yaml: error: workload has neither arrivals nor requests\n");
  scenario = Scenario();
  scenario.source.file = "s.yaml";
  scenario.source.positions["workload.requests.1"] = {4, 5};
  scenario.source.positions["workload.requests.2"] = {5, 5};
  scenario.source.positions["workload.requests.3"] = {6, 5};
  scenario.workload.requests.resize(4);
  for (WrittenRequest& one : scenario.workload.requests) one.prompt_tokens = 1;
  scenario.workload.requests[1].prompt = {{"S", 5, 5}};
  scenario.workload.requests[2].prompt = {{"S", 0, 2'000'000'000}, {"T", 0, 2'000'000'000}};
  scenario.workload.requests[3].max_tokens = std::int64_t{1} << 40;
  REQUIRE(problems_of(scenario) ==
          "s.yaml:4:5: error: prompt has an empty or impossible stretch S[5:5]\n"
          "s.yaml:5:5: error: prompt must have between 1 and 2147483647 tokens\n"
          "s.yaml:6:5: error: output_tokens and max_tokens must be between 0 and 2147483647\n");
  // faults of several places come out together
  scenario = chat(1);
  scenario.source.file = "s.yaml";
  scenario.source.positions["workload.prompt_tokens"] = {7, 3};
  scenario.workload.classes[0].prompt_tokens.p95 = 1;
  scenario.workload.arrivals = arrivals_of(Process::trace, 0);
  scenario.workload.arrivals->path = "/nonexistent.csv";
  WorkloadClass second = scenario.workload.classes[0];
  second.arrivals = arrivals_of(Process::poisson, 0);
  scenario.workload.classes.push_back(second);
  REQUIRE(problems_of(scenario).find("rate must be above 0") != std::string::npos);
  REQUIRE(problems_of(scenario).find("/nonexistent.csv: error: cannot be opened") !=
          std::string::npos);
  REQUIRE(problems_of(scenario).find("s.yaml:7:3: error: p95 / mean") != std::string::npos);
}

TEST_CASE("traces refuse what they bring themselves", "[errors]") {
  const test::TemporaryFile file("t.csv", "arrival_s,prompt_tokens,output_tokens,class\n0,5,1,a\n");
  Scenario scenario;
  scenario.source.file = "s.yaml";
  scenario.workload.classes.emplace_back().name = "a";
  scenario.workload.classes[0].arrivals = arrivals_of(Process::trace, 0);
  scenario.workload.classes[0].arrivals->path = file.path();
  REQUIRE(
      problems_of(scenario) ==
      "s.yaml: error: the trace has a class column, but its requests belong to class 'a'; put the "
      "trace under workload.arrivals\n");
  scenario.workload.arrivals = scenario.workload.classes[0].arrivals;
  scenario.workload.classes[0].arrivals.reset();
  REQUIRE(problems_of(scenario) == "");
  scenario.workload.classes[0].sessions.turns = fixed(2);
  REQUIRE(problems_of(scenario) ==
          "s.yaml: error: a trace brings its own conversations; leave sessions out\n");
}

TEST_CASE("requests reuse their memory", "[unit]") {
  RequestSource source(chat(1), 1);
  Request request;
  source.take(request);
  const Stretch* memory = request.prompt.data();
  for (int i = 0; i < 1000; ++i) {
    source.take(request);
    REQUIRE(request.prompt.data() == memory);
  }
}
