// Requests come from processes that run side by side: the workload's shared arrivals, the requests
// written out, and one for each class with arrivals of its own. take() gives the earliest of their
// next arrivals, ties in that order.
//
// Each process has a random stream named after it ("workload", or its class), each request one
// below it, and each property of a request (class, prompt, output, ...) one below that. So nobody's
// draws move when a class is added, a law changes or a policy answers in another order.

#include "sim/workload/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "sim/core/discrete_law.h"
#include "sim/core/random.h"
#include "sim/workload/arrival_times.h"
#include "sim/workload/length_law.h"
#include "sim/workload/stream_ids.h"
#include "sim/workload/trace.h"

namespace fleetsim {

namespace {

constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kMostClients = 1 << 20;  // client and its n-th conversation share 48 bits
constexpr int kClientShift = 28;
constexpr std::int64_t kLargestTable = 4096;  // system prompts drawn from a table up to here
constexpr std::uint64_t kTraceSession = std::uint64_t{1} << 63;

/// Appends to a prompt; a stretch that continues the last one lengthens it.
void append(std::vector<Stretch>& prompt, const Stretch& stretch) {
  if (stretch.length() == 0) return;
  if (!prompt.empty() && prompt.back().stream == stretch.stream &&
      prompt.back().to == stretch.from) {
    prompt.back().to = stretch.to;
  } else {
    prompt.push_back(stretch);
  }
}

/// Why a written request cannot be made; empty when it can.
std::string fault_of(const WrittenRequest& one) {
  std::int64_t tokens = one.prompt.empty() ? one.prompt_tokens : 0;
  for (const NamedStretch& part : one.prompt) {
    if (part.from < 0 || part.to <= part.from || part.to > kMostTokens) {
      return fmt::format("prompt has an empty or impossible stretch {}[{}:{}]", part.stream,
                         part.from, part.to);
    }
    tokens = std::min(tokens, kMostTokens) + part.to - part.from;
  }
  if (tokens < 1 || tokens > kMostTokens) {
    return fmt::format("prompt must have between 1 and {} tokens", kMostTokens);
  }
  const std::int64_t limit = one.max_tokens.value_or(one.output_tokens);
  if (std::min(one.output_tokens, limit) < 0 || std::max(one.output_tokens, limit) > kMostTokens) {
    return fmt::format("output_tokens and max_tokens must be between 0 and {}", kMostTokens);
  }
  return one.arrival < 0 ? "arrival must not be negative" : "";
}

/// A class's laws, ready to draw from. Laws that a class does not need (traces bring lengths) are
/// absent.
struct ClassLaws {
  std::optional<LengthLaw> prompt, output, max_tokens, turns;
  std::int32_t prefix_tokens = 0;
  std::uint64_t prefix_groups = 0;
  std::optional<DiscreteTable> prefix_table;
  std::optional<ZipfLaw> prefix_zipf;
  SimTime think_time = 0;
  std::int64_t priority = 0;

  std::uint64_t prefix_group(const RandomStream& stream) const {
    if (prefix_table) return prefix_table->at(stream.uniform());
    if (prefix_zipf) return static_cast<std::uint64_t>(prefix_zipf->draw(stream)) - 1;
    return stream.index(prefix_groups);
  }
};

/// A written-out request with its streams resolved, in order of arrival.
struct Written {
  Request request;
  std::string name;
};

/// A closed loop's progress.
struct Closed {
  std::int64_t clients = 0, started = 0;  // clients that have sent their first request
  std::int64_t limit = 0, issued = 0;     // requests; limit 0: none
  SimTime think_time = 0;
  std::vector<std::uint32_t> conversations;  // begun, by client
  bool may_issue() const { return limit == 0 || issued < limit; }
};

/// One source of arrivals. Exactly one of times, trace, written, closed is filled.
struct Process {
  explicit Process(RandomStream own_stream) : stream(own_stream) {}

  RandomStream stream;                       // of this process's requests
  std::uint64_t number = 0;                  // in stream ids
  int own_class = -1;                        // -1: drawn by share
  std::optional<DiscreteTable> share_table;  // with several classes to draw from
  std::vector<std::uint16_t> share_class;
  std::optional<ArrivalTimes> times;
  std::optional<Trace> trace;
  double time_divisor = 1;  // of the trace
  std::vector<Written> written;
  std::optional<Closed> closed;
  std::uint64_t index = 0;  // arrivals taken
  SimTime next = kNever;

  std::uint16_t class_of(const RandomStream& request) const {
    if (own_class >= 0) return static_cast<std::uint16_t>(own_class);
    if (!share_table) return share_class.empty() ? 0 : share_class.front();
    return share_class[share_table->at(request.child("class").uniform())];
  }
  SimTime trace_time(std::size_t row) const {
    const SimTime time = trace->arrival[row];
    if (time_divisor == 1) return time;
    return to_sim_time({to_seconds(time).value / time_divisor});
  }
};

}  // namespace

struct RequestSource::State {
  State(const Scenario& scenario, std::uint64_t seed, double load_factor);

  void add_classes(const Scenario& scenario, Problems& problems);
  void add_written(const Scenario& scenario, Problems& problems);
  void add_process(const Scenario& scenario, const Arrivals& arrivals, int own_class,
                   double load_factor, const std::string& path, Problems& problems);
  void open_trace(Process& process, const Scenario& scenario, const Arrivals& arrivals,
                  const std::string& path, Problems& problems);
  void set_end();
  void advance(Process& process);
  void choose_next();

  void fill_header(Request& request, const RandomStream& stream, SimTime arrival,
                   std::uint16_t class_index);
  void fill_first_turn(Request& request, const Process& process, std::uint64_t number,
                       SimTime arrival);
  void fill_from_trace(Request& request, const Process& process, std::uint64_t row);
  void fill_written(Request& request, const Process& process);
  void fill_output(Request& request, const ClassLaws& laws, const RandomStream& stream);
  void fill_prefixed_prompt(Request& request, const ClassLaws& laws, const RandomStream& stream,
                            StreamId own);
  bool fill_next_turn(const Request& ended, SimTime time, Request& next);
  bool fill_next_conversation(const Request& ended, SimTime time, Request& next);

  RandomStream root;
  std::vector<ClassInfo> classes;
  std::vector<ClassLaws> laws;
  std::vector<Process> processes;
  std::vector<std::string> names;
  std::vector<std::string> notes;
  double hit_rate = 0;
  SimTime duration = kNever;  // kNever: none
  SimTime end = kNever;
  RequestId next_id = 0;
  std::size_t earliest = 0;
  SimTime earliest_time = kNever;
};

RequestSource::State::State(const Scenario& scenario, std::uint64_t seed, double load_factor)
    : root(seed, "requests"),
      hit_rate(scenario.workload.response_cache.hit_rate),
      duration(scenario.duration.value_or(kNever)) {
  CHECK(load_factor > 0 && std::isfinite(load_factor));
  Problems problems;
  const Workload& workload = scenario.workload;
  add_classes(scenario, problems);
  if (workload.arrivals) {
    add_process(scenario, *workload.arrivals, -1, load_factor, "workload.arrivals", problems);
  }
  if (!workload.requests.empty()) add_written(scenario, problems);
  for (std::size_t i = 0; i < workload.classes.size(); ++i) {
    const auto& arrivals = workload.classes[i].arrivals;
    if (arrivals) {
      add_process(scenario, *arrivals, static_cast<int>(i), load_factor,
                  fmt::format("workload.classes.{}.arrivals", i), problems);
    }
  }
  if (processes.empty()) {
    scenario.source.report(problems, "workload", "workload has neither arrivals nor requests");
  }
  problems.throw_if_any();
  for (Process& process : processes) advance(process);
  choose_next();
  set_end();
}

void RequestSource::State::add_classes(const Scenario& scenario, Problems& problems) {
  const Workload& workload = scenario.workload;
  if (workload.classes.empty()) {  // requests are written out
    classes.push_back({"default", std::nullopt, Retry{}, std::nullopt, ""});
    laws.emplace_back();
    return;
  }
  const bool listed = scenario.source.positions.contains("workload.classes");
  for (std::size_t i = 0; i < workload.classes.size(); ++i) {
    const WorkloadClass& one = workload.classes[i];
    const std::string path = listed ? fmt::format("workload.classes.{}", i) : "workload";
    classes.push_back({one.name, one.timeout, one.retry, one.slo, one.model});
    ClassLaws& own = laws.emplace_back();
    const auto law = [&](const char* key, const LengthDistribution& distribution,
                         LengthLaw::Zero zero) {
      return LengthLaw(distribution, zero, path + "." + key, scenario.source, problems);
    };
    const auto& arrivals = one.arrivals ? one.arrivals : workload.arrivals;
    const bool traced = arrivals && arrivals->process == Arrivals::Process::trace;
    if (arrivals && !traced) {
      own.prompt = law("prompt_tokens", one.prompt_tokens, LengthLaw::Zero::refused);
      own.output = law("output_tokens", one.output_tokens, LengthLaw::Zero::allowed);
    }
    if (one.max_tokens)
      own.max_tokens = law("max_tokens", *one.max_tokens, LengthLaw::Zero::refused);
    if (one.sessions.turns) {
      own.turns = law("sessions.turns", *one.sessions.turns, LengthLaw::Zero::refused);
      if (traced) {
        scenario.source.report(problems, path + ".sessions",
                               "a trace brings its own conversations; leave sessions out");
      }
    }
    own.think_time = one.sessions.think_time;
    own.priority = one.priority;
    const Prefixes& prefixes = one.prefixes;
    if (prefixes.system_prompts > 0 && prefixes.tokens > 0) {
      own.prefix_groups = static_cast<std::uint64_t>(prefixes.system_prompts);
      own.prefix_tokens = static_cast<std::int32_t>(std::min(prefixes.tokens, kMostTokens));
      if (prefixes.popularity == Prefixes::Popularity::zipf) {
        if (prefixes.system_prompts <= kLargestTable) {
          own.prefix_table.emplace(zipf_weights(prefixes.system_prompts, prefixes.exponent));
        } else {
          own.prefix_zipf.emplace(prefixes.exponent, prefixes.system_prompts);
        }
      }
    }
  }
  if (classes.size() + 2 > kStreamOwners) {
    scenario.source.report(problems, "workload.classes",
                           fmt::format("at most {} classes are possible", kStreamOwners - 2));
  }
}

void RequestSource::State::add_written(const Scenario& scenario, Problems& problems) {
  Process& process = processes.emplace_back(root.child("written"));
  process.number = processes.size() - 1;
  std::map<std::string, std::uint64_t> named;
  for (std::size_t i = 0; i < scenario.workload.requests.size(); ++i) {
    const WrittenRequest& one = scenario.workload.requests[i];
    const std::string fault = fault_of(one);
    if (!fault.empty()) {
      scenario.source.report(problems, fmt::format("workload.requests.{}", i), fault);
      continue;
    }
    Written& written = process.written.emplace_back();
    written.name = one.id;
    Request& request = written.request;
    request.arrival = one.arrival;
    request.priority = one.priority;
    // The limit ends the answer where the model would have gone on.
    const std::int64_t most = one.max_tokens.value_or(one.output_tokens);
    request.output_tokens = static_cast<std::int32_t>(std::min(one.output_tokens, most));
    request.max_tokens = static_cast<std::int32_t>(most);
    for (const NamedStretch& part : one.prompt) {
      const std::uint64_t number = named.try_emplace(part.stream, named.size()).first->second;
      append(request.prompt,
             {stream_id(StreamKind::named, 0, number), static_cast<std::int32_t>(part.from),
              static_cast<std::int32_t>(part.to)});
    }
    if (one.prompt.empty()) {
      append(request.prompt,
             {stream_id(StreamKind::conversation, process.number, process.written.size() - 1), 0,
              static_cast<std::int32_t>(one.prompt_tokens)});
    }
    for (const Stretch& part : request.prompt) request.prompt_tokens += part.length();
  }
  std::stable_sort(
      process.written.begin(), process.written.end(),
      [](const Written& a, const Written& b) { return a.request.arrival < b.request.arrival; });
  // A class without arrivals of its own only lends its time-out and retries to the requests.
  bool alone = !scenario.workload.arrivals;
  for (const WorkloadClass& one : scenario.workload.classes) alone = alone && !one.arrivals;
  if (!alone) return;
  for (const Written& written : process.written) names.push_back(written.name);
}

void RequestSource::State::add_process(const Scenario& scenario, const Arrivals& arrivals,
                                       int own_class, double load_factor, const std::string& path,
                                       Problems& problems) {
  const bool shared = own_class < 0;
  const auto& list = scenario.workload.classes;
  Process& process =
      processes.emplace_back(shared ? root.child("workload")
                                    : root.child("class").child(Purpose::named(
                                          list[static_cast<std::size_t>(own_class)].name)));
  process.number = processes.size() - 1;
  process.own_class = own_class;
  if (shared) {
    std::vector<double> shares;
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (list[i].arrivals) continue;
      process.share_class.push_back(static_cast<std::uint16_t>(i));
      shares.push_back(list[i].share);
    }
    double sum = 0;
    for (const double share : shares) sum += share;
    if (shares.empty() || !(sum > 0)) {
      scenario.source.report(problems, path, "no class with a share takes these arrivals");
      return;
    }
    if (shares.size() > 1) process.share_table.emplace(shares);
  }
  switch (arrivals.process) {
    case Arrivals::Process::trace:
      process.time_divisor = arrivals.rate_scale * load_factor;
      open_trace(process, scenario, arrivals, path, problems);
      return;
    case Arrivals::Process::closed: {
      Closed& closed = process.closed.emplace();
      if (arrivals.clients < 1 || arrivals.clients > kMostClients) {
        scenario.source.report(problems, path,
                               fmt::format("clients must be between 1 and {}, but is {}",
                                           kMostClients, arrivals.clients));
        return;
      }
      if (arrivals.requests == 0 && duration == kNever) {
        scenario.source.report(problems, path, "a closed loop needs requests or a duration to end");
      }
      closed.clients = std::max<std::int64_t>(
          1, std::llround(static_cast<double>(arrivals.clients) * load_factor));
      closed.clients = std::min(closed.clients, kMostClients);
      closed.limit = arrivals.requests;
      closed.think_time = arrivals.think_time;
      closed.conversations.assign(static_cast<std::size_t>(closed.clients), 0);
      return;
    }
    default:
      if (arrivals.process != Arrivals::Process::batch && duration == kNever) {
        scenario.source.report(problems, path,
                               "these arrivals never end; give the scenario a duration");
      }
      process.times.emplace(arrivals, process.stream.child("arrivals"), load_factor, path,
                            scenario.source, problems);
  }
}

void RequestSource::State::open_trace(Process& process, const Scenario& scenario,
                                      const Arrivals& arrivals, const std::string& path,
                                      Problems& problems) {
  std::vector<std::string> class_names;
  for (std::size_t i = 0; i < classes.size(); ++i) class_names.push_back(classes[i].name);
  process.trace = read_trace(arrivals, class_names, problems);
  const Trace& trace = *process.trace;
  notes.insert(notes.end(), trace.notes.begin(), trace.notes.end());
  if (process.own_class >= 0 && !trace.class_index.empty()) {
    scenario.source.report(
        problems, path,
        fmt::format("the trace has a class column, but its requests belong to class "
                    "'{}'; put the trace under workload.arrivals",
                    classes[static_cast<std::size_t>(process.own_class)].name));
  }
  if (trace.block_tokens > 0) {
    for (const ClassLaws& one : laws) {
      if (one.prefix_groups > 0 && !one.prompt) {
        scenario.source.report(problems, path,
                               "the trace says which prompts share a prefix; leave prefixes out");
        break;
      }
    }
  }
}

void RequestSource::State::set_end() {
  if (duration != kNever) {
    end = duration;
    return;
  }
  end = 0;
  for (const ClassLaws& one : laws) {
    if (one.turns) end = kNever;
  }
  for (const Process& process : processes) {
    if (process.closed) end = kNever;
    if (process.trace && process.trace->size() > 0) {
      end = std::max(end, process.trace_time(process.trace->size() - 1));
    }
    if (!process.written.empty()) end = std::max(end, process.written.back().request.arrival);
  }
}

/// Finds the process's next arrival; process.index is its number.
void RequestSource::State::advance(Process& process) {
  const std::size_t row = static_cast<std::size_t>(process.index);
  if (process.times) {
    process.next = process.times->next();
  } else if (process.trace) {
    process.next = row < process.trace->size() ? process.trace_time(row) : kNever;
  } else if (process.closed) {
    const Closed& closed = *process.closed;
    process.next = closed.started < closed.clients && closed.may_issue() ? 0 : kNever;
  } else {
    process.next = row < process.written.size() ? process.written[row].request.arrival : kNever;
  }
  if (process.next >= duration) process.next = kNever;
}

void RequestSource::State::choose_next() {
  earliest_time = kNever;
  for (std::size_t i = 0; i < processes.size(); ++i) {
    if (processes[i].next < earliest_time) {
      earliest = i;
      earliest_time = processes[i].next;
    }
  }
}

/// Everything but lengths, content and conversation.
void RequestSource::State::fill_header(Request& request, const RandomStream& stream,
                                       SimTime arrival, std::uint16_t class_index) {
  CHECK(next_id < std::numeric_limits<RequestId>::max());
  request.id = next_id++;
  request.class_index = class_index;
  request.arrival = arrival;
  request.priority = laws[class_index].priority;
  request.session = 0;
  request.turn = 0;
  request.response_cache_hit = hit_rate > 0 && stream.child("response cache").uniform() < hit_rate;
  request.prompt.clear();
  request.output_stream = stream_id(StreamKind::output, 0, request.id);
  request.origin = 0;
}

/// Output length and limit. A drawn limit below the drawn length ends the answer early.
void RequestSource::State::fill_output(Request& request, const ClassLaws& own,
                                       const RandomStream& stream) {
  request.max_tokens = request.output_tokens;
  if (!own.max_tokens) return;
  request.max_tokens = own.max_tokens->draw(stream.child("max_tokens"));
  request.output_tokens = std::min(request.output_tokens, request.max_tokens);
}

/// The prompt of a first turn: the system prompt, then the request's own tokens.
void RequestSource::State::fill_prefixed_prompt(Request& request, const ClassLaws& own,
                                                const RandomStream& stream, StreamId own_stream) {
  std::int32_t shared = 0;
  if (own.prefix_groups > 0) {
    shared = std::min(own.prefix_tokens, request.prompt_tokens - 1);
    const std::uint64_t group = own.prefix_group(stream.child("system prompt"));
    append(request.prompt,
           {stream_id(StreamKind::system_prompt, request.class_index, group), 0, shared});
  }
  append(request.prompt, {own_stream, 0, request.prompt_tokens - shared});
}

/// The first turn of conversation `number` of the process, or its only request.
void RequestSource::State::fill_first_turn(Request& request, const Process& process,
                                           std::uint64_t number, SimTime arrival) {
  const RandomStream stream = process.stream.at(number);
  fill_header(request, stream, arrival, process.class_of(stream));
  const ClassLaws& own = laws[request.class_index];
  request.prompt_tokens = own.prompt->draw(stream.child("prompt"));
  request.output_tokens = own.output->draw(stream.child("output"));
  fill_output(request, own, stream);
  const StreamId own_stream = stream_id(StreamKind::conversation, process.number, number);
  fill_prefixed_prompt(request, own, stream, own_stream);
  request.origin = own_stream;
  if (own.turns) request.session = (process.number << 48) + number + 1;
}

void RequestSource::State::fill_from_trace(Request& request, const Process& process,
                                           std::uint64_t row) {
  const Trace& trace = *process.trace;
  const RandomStream stream = process.stream.at(row);
  const std::uint16_t class_index =
      trace.class_index.empty() ? process.class_of(stream) : trace.class_index[row];
  fill_header(request, stream, process.trace_time(row), class_index);
  request.prompt_tokens = trace.prompt_tokens[row];
  request.output_tokens = trace.output_tokens[row];
  fill_output(request, laws[class_index], stream);
  if (!trace.priority.empty()) request.priority = trace.priority[row];
  if (!trace.session.empty() && trace.session[row] > 0) {
    request.session = kTraceSession | (process.number << 48) | trace.session[row];
  }
  const StreamId own_stream = stream_id(StreamKind::conversation, process.number, row);
  if (trace.block_tokens == 0) {
    fill_prefixed_prompt(request, laws[class_index], stream, own_stream);
    return;
  }
  std::int32_t covered = 0;
  for (std::uint64_t i = row == 0 ? 0 : trace.block_end[row - 1]; i < trace.block_end[row]; ++i) {
    const std::int32_t length = std::min(trace.block_tokens, request.prompt_tokens - covered);
    append(request.prompt,
           {stream_id(StreamKind::trace_block, process.number, trace.blocks[i]), 0, length});
    covered += length;
  }
  append(request.prompt, {own_stream, 0, request.prompt_tokens - covered});
}

void RequestSource::State::fill_written(Request& request, const Process& process) {
  const Request& one = process.written[process.index].request;
  fill_header(request, process.stream.at(process.index), one.arrival, 0);
  request.priority = one.priority;
  request.prompt_tokens = one.prompt_tokens;
  request.output_tokens = one.output_tokens;
  request.max_tokens = one.max_tokens;
  request.prompt.assign(one.prompt.begin(), one.prompt.end());
}

/// The next turn of the conversation of `ended`; false when it was the last one.
bool RequestSource::State::fill_next_turn(const Request& ended, SimTime time, Request& next) {
  const ClassLaws& own = laws[ended.class_index];
  if (!own.turns || ended.origin == 0) return false;
  const Process& process = processes[(ended.origin >> 48) & (kStreamOwners - 1)];
  const RandomStream conversation = process.stream.at(ended.origin & (kStreamNumbers - 1));
  const std::uint32_t turn = ended.turn + 1;
  if (turn >= static_cast<std::uint32_t>(own.turns->draw(conversation.child("turns"))))
    return false;
  const RandomStream stream = conversation.child("turn").at(turn);
  const std::int32_t fresh = own.prompt->draw(stream.child("prompt"));
  const std::int64_t tokens =
      static_cast<std::int64_t>(ended.prompt_tokens) + ended.output_tokens + fresh;
  if (tokens > kMostTokens) return false;  // no engine has such a context; the conversation ends
  fill_header(next, stream, time + own.think_time, ended.class_index);
  next.session = ended.session;
  next.turn = turn;
  next.origin = ended.origin;
  next.prompt_tokens = static_cast<std::int32_t>(tokens);
  next.output_tokens = own.output->draw(stream.child("output"));
  fill_output(next, own, stream);
  std::int32_t used = 0;  // of what the client has written so far
  for (const Stretch& part : ended.prompt) {
    append(next.prompt, part);
    if (part.stream == ended.origin) used = part.to;
  }
  append(next.prompt, {ended.output_stream, 0, ended.output_tokens});
  append(next.prompt, {ended.origin, used, used + fresh});
  return true;
}

/// The next conversation of the closed-loop client of `ended`; false when there is none.
bool RequestSource::State::fill_next_conversation(const Request& ended, SimTime time,
                                                  Request& next) {
  Process& process = processes[(ended.origin >> 48) & (kStreamOwners - 1)];
  if (!process.closed || ended.origin == 0) return false;
  const std::uint64_t client = (ended.origin & (kStreamNumbers - 1)) >> kClientShift;
  const std::uint64_t begun = process.closed->conversations[client]++;
  CHECK(begun < (std::uint64_t{1} << kClientShift), "a client has begun 2^28 conversations");
  fill_first_turn(next, process, (client << kClientShift) | begun,
                  time + process.closed->think_time);
  return true;
}

RequestSource::RequestSource(const Scenario& scenario, std::uint64_t seed, double load_factor)
    : state_(std::make_unique<State>(scenario, seed, load_factor)) {}
RequestSource::~RequestSource() = default;
RequestSource::RequestSource(RequestSource&&) noexcept = default;
RequestSource& RequestSource::operator=(RequestSource&&) noexcept = default;

SimTime RequestSource::next_arrival() const { return state_->earliest_time; }

void RequestSource::take(Request& request) {
  State& state = *state_;
  CHECK(state.earliest_time != kNever, "no arrival is left");
  Process& process = state.processes[state.earliest];
  if (process.trace) {
    state.fill_from_trace(request, process, process.index);
  } else if (process.closed) {
    Closed& closed = *process.closed;
    const auto client = static_cast<std::size_t>(closed.started++);
    ++closed.issued;
    ++closed.conversations[client];
    state.fill_first_turn(request, process, static_cast<std::uint64_t>(client) << kClientShift, 0);
  } else if (process.times) {
    state.fill_first_turn(request, process, process.index, process.next);
  } else {
    state.fill_written(request, process);
    if (state.names.size() <= request.id) state.names.resize(request.id + 1);
    state.names[request.id] = process.written[process.index].name;
  }
  ++process.index;
  state.advance(process);
  state.choose_next();
}

bool RequestSource::follow_up(const Request& ended, SimTime time, Request& next) {
  State& state = *state_;
  CHECK(&ended != &next);
  if (ended.origin == 0) return false;
  Process& process = state.processes[(ended.origin >> 48) & (kStreamOwners - 1)];
  if (process.closed && !process.closed->may_issue()) return false;
  const ClassLaws& own = state.laws[ended.class_index];
  // Past the end of arrivals nothing is drawn and no id is used up.
  const SimTime pause =
      process.closed ? std::min(own.think_time, process.closed->think_time) : own.think_time;
  if (time >= state.duration || pause >= state.duration - time) return false;
  const RequestId id = state.next_id;
  const bool made =
      state.fill_next_turn(ended, time, next) || state.fill_next_conversation(ended, time, next);
  if (!made) return false;
  if (next.arrival >= state.duration) {
    state.next_id = id;
    return false;
  }
  if (process.closed) ++process.closed->issued;
  return true;
}

const std::vector<ClassInfo>& RequestSource::classes() const { return state_->classes; }
const std::vector<std::string>& RequestSource::names() const { return state_->names; }
SimTime RequestSource::end_of_arrivals() const { return state_->end; }
const std::vector<std::string>& RequestSource::notes() const { return state_->notes; }

}  // namespace fleetsim
