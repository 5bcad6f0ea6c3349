// Keys of the `workload` section. A class has the keys of the workload itself and inherits what it
// does not give: it starts as a copy of the class that the workload's own keys describe.

#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <set>

#include "sim/scenario/field_reader.h"
#include "sim/scenario/scenario_fields.h"

namespace fleetsim {
namespace {

constexpr WholeRange kCount{1, 1'000'000'000};

using Process = Arrivals::Process;

Record state_record(MmppState& state) {
  return record<MmppState>("mmpp_state", place(state), [](MmppState& s) {
    return std::vector<Field>{
        required(rate("rate", s.rate_per_s, Zero::allowed, "Poisson rate while in this state")),
        required(time("mean_duration", s.mean_duration, Zero::refused,
                      "mean of the exponential stay in this state"))};
  });
}

Record step_record(RateStep& step) {
  return record<RateStep>("rate_step", place(step), [](RateStep& s) {
    return std::vector<Field>{
        required(time("from", s.from, Zero::allowed, "the rate holds from here to the next step")),
        required(rate("rate", s.rate_per_s, Zero::allowed, "Poisson rate of the step"))};
  });
}

std::vector<Field> process_fields(Arrivals& a, const FieldContext& context) {
  const auto modulated = [&a] {
    return std::vector<Field>{
        required(rate("rate", a.rate_per_s, Zero::refused, "mean requests per second")),
        real("peak_to_mean", a.peak_to_mean, {1, 2},
             "rate(t) = rate (1 + (peak_to_mean - 1) sin(2 pi t / period))"),
        written_if(time("period", a.period, Zero::refused, "of the sine"),
                   [&a] { return a.period > 0; })};
  };
  switch (a.process) {
    case Process::poisson:
    case Process::constant:
      return modulated();
    case Process::gamma: {
      std::vector<Field> fields = modulated();
      fields.push_back(required(
          real("cv", a.cv, {0, 100, true}, "standard deviation of the gaps over their mean")));
      return fields;
    }
    case Process::mmpp:
      return {required(list<MmppState>("states", a.states, state_record,
                                       "states of the chain, visited in cyclic order"))};
    case Process::piecewise:
      return {required(list<RateStep>("steps", a.steps, step_record, "rates by time, ascending"))};
    case Process::batch:
      return {required(whole("requests", a.requests, kCount, "requests, all at time 0"))};
    case Process::closed:
      return {
          required(whole("clients", a.clients, {1, 10'000'000}, "clients that wait for answers")),
          written_if(
              whole("requests", a.requests, kCount, "requests in all; absent: until `duration`"),
              [&a] { return a.requests > 0; }),
          time("think_time", a.think_time, Zero::allowed,
               "pause between an answer and the next request")};
    case Process::trace:
      return {
          required(word("format", a.format,
                        {{"azure", "TIMESTAMP,ContextTokens,GeneratedTokens"},
                         {"mooncake", "JSON Lines with hash_ids"},
                         {"burstgpt", "Timestamp,Model,Request tokens,Response tokens,..."},
                         {"csv", "arrival_s,prompt_tokens,output_tokens and optional columns"}},
                        "whose format the file has")),
          required(file_path("path", a.path_as_written, a.path, context, "the trace, .gz allowed")),
          real("rate_scale", a.rate_scale, {0, 1e6, true}, "gaps are divided by it")};
  }
  return {};
}

void check_arrivals(FieldCheck& check, const Arrivals& a) {
  if (!check.sound("")) return;
  if (check.sound("peak_to_mean") && a.peak_to_mean > 1 && !check.given("period"))
    check.fault("peak_to_mean", "'peak_to_mean' above 1 needs 'period'");
  double total = 0;
  for (const MmppState& state : a.states) total += state.rate_per_s;
  if (a.process == Process::mmpp && check.sound("states") && total <= 0)
    check.fault("states", "every state has the rate 0; one must be above it");
  for (const RateStep& step : a.steps) total += step.rate_per_s;
  if (a.process != Process::piecewise || !check.sound("steps")) return;
  if (total <= 0) check.fault("steps", "every step has the rate 0; one must be above it");
  for (std::size_t i = 1; i < a.steps.size(); ++i)
    if (a.steps[i].from <= a.steps[i - 1].from)
      check.fault(fmt::format("steps.{}.from", i),
                  fmt::format("steps must ascend: {} comes after {}", format_time(a.steps[i].from),
                              format_time(a.steps[i - 1].from)));
}

Record arrivals_record(const Place<Arrivals>& where, const FieldContext& context) {
  Record made;
  made.name = "arrivals";
  made.reset = where.reset;
  made.fields = [] { return std::vector<Field>{}; };
  made.tag = [where] {
    return std::vector<Field>{required(word("process", where.at().process,
                                            {{"poisson", "exponential gaps"},
                                             {"constant", "equal gaps"},
                                             {"gamma", "gamma gaps, bursty for cv above 1"},
                                             {"mmpp", "Poisson whose rate follows a Markov chain"},
                                             {"piecewise", "Poisson with a rate by time"},
                                             {"batch", "all at time 0"},
                                             {"closed", "clients that wait for their answers"},
                                             {"trace", "arrivals and lengths from a file"}},
                                            "how requests arrive"))};
  };
  made.tagged = [where, &context] { return process_fields(where.at(), context); };
  made.check = [where](FieldCheck& check) { check_arrivals(check, where.at()); };
  return made;
}

Record prefixes_record(Prefixes& prefixes) {
  return record<Prefixes>("prefixes", place(prefixes), [](Prefixes& p) {
    return std::vector<Field>{
        required(whole("system_prompts", p.system_prompts, {0, 10'000'000},
                       "how many shared beginnings there are")),
        required(
            whole("tokens", p.tokens, {0, kTokensMax}, "length of each, part of prompt_tokens")),
        word("popularity", p.popularity,
             {{"uniform", "each as often"}, {"zipf", "the n-th proportional to n^-exponent"}},
             "how often each is used"),
        real("exponent", p.exponent, {0, 100}, "of the Zipf law")};
  });
}

Record sessions_record(Sessions& sessions, const FieldContext& context) {
  return record<Sessions>("sessions", place(sessions), [&context](Sessions& s) {
    return std::vector<Field>{
        required(section(
            "turns", length_record(place(s.turns), context), [&s] { return s.turns.has_value(); },
            "requests of a conversation")),
        time("think_time", s.think_time, Zero::allowed, "from an answer to the next turn")};
  });
}

Record retry_record(Retry& retry) {
  return record<Retry>("retry", place(retry), [](Retry& r) {
    return std::vector<Field>{
        whole("max", r.max, {0, 1000}, "attempts after the first"),
        time("backoff", r.backoff, Zero::allowed, "pause before the next attempt")};
  });
}

/// The keys that the workload and each class share.
std::vector<Field> shape_fields(WorkloadClass& c, std::function<bool()> from_trace,
                                const FieldContext& context) {
  const auto has_lengths = [from_trace] { return !from_trace(); };
  return {section("prompt_tokens", length_record(place(c.prompt_tokens), context), has_lengths,
                  "tokens of the prompt, shared prefix included"),
          section("output_tokens", length_record(place(c.output_tokens), context), has_lengths,
                  "tokens generated; 0: prefill only"),
          section(
              "max_tokens", length_record(place(c.max_tokens), context),
              [&c] { return c.max_tokens.has_value(); },
              "declared limit; absent: equal to output_tokens"),
          section(
              "prefixes", prefixes_record(c.prefixes), [] { return true; },
              "system prompts that requests share"),
          section(
              "sessions", sessions_record(c.sessions, context),
              [&c] { return c.sessions.turns.has_value(); }, "conversations of several turns"),
          time("timeout", c.timeout, Zero::refused, "the client gives up; its KV is freed"),
          section(
              "retry", retry_record(c.retry), [] { return true; }, "after a time-out"),
          whole("priority", c.priority, {-1'000'000'000, 1'000'000'000},
                "smaller is earlier under scheduling_policy priority")};
}

bool is_trace(const std::optional<Arrivals>& arrivals) {
  return arrivals && arrivals->process == Process::trace;
}

Record class_record(WorkloadClass& c, const Workload& workload, const FieldContext& context) {
  Record made;
  made.name = "workload_class";
  made.reset = [] {};  // a copy of the workload's own values stands there already
  made.fields = [&c, &workload, &context] {
    std::vector<Field> fields = {
        required(text("name", c.name, "of the class, in outputs and overrides")),
        written_if(real("share", c.share, above(0),
                        "weight among the classes that use the workload's arrivals"),
                   [&c] { return !c.arrivals; }),
        section(
            "arrivals", arrivals_record(place(c.arrivals), context),
            [&c] { return c.arrivals.has_value(); }, "own arrivals of the class")};
    const auto from_trace = [&c, &workload] {
      return c.arrivals ? is_trace(c.arrivals) : is_trace(workload.arrivals);
    };
    for (Field& field : shape_fields(c, from_trace, context)) fields.push_back(std::move(field));
    fields.push_back(section(
        "slo", slo_record(place(c.slo)), [&c] { return c.slo.has_value(); },
        "limits of this class; absent: the scenario's"));
    fields.push_back(written_if(model_name("model", c.model, "absent: the scenario's"),
                                [&c] { return !c.model.empty(); }));
    return fields;
  };
  return made;
}

Field prompt_field(std::vector<NamedStretch>& prompt) {
  TextValue value;
  value.value.get = [&prompt] { return format_stretches(prompt); };
  value.value.set = [&prompt](const std::string& written) { prompt = *parse_stretches(written); };
  value.fault = [](const std::string& written) -> std::string {
    if (parse_stretches(written)) return "";
    return fmt::format("'prompt' must be stretches such as \"S[0:8] T[0:3]\", not '{}'",
                       shown(written));
  };
  return {"prompt",
          "stretches of token streams, end exclusive; shared streams share prefixes",
          std::move(value),
          [&prompt] { return !prompt.empty(); },
          {},
          false};
}

void check_request(FieldCheck& check, const WrittenRequest& r) {
  if (check.given("prompt") && check.given("prompt_tokens"))
    check.fault("prompt", "'prompt' and 'prompt_tokens' both give the prompt; keep one");
  if (!check.given("prompt") && !check.given("prompt_tokens") && check.sound("prompt_tokens"))
    check.fault("", "missing key 'prompt_tokens' (or 'prompt') in requests");
  if (r.max_tokens && check.sound("max_tokens") && check.sound("output_tokens") &&
      *r.max_tokens < r.output_tokens)
    check.fault("max_tokens", fmt::format("max_tokens {} is below output_tokens {}", *r.max_tokens,
                                          r.output_tokens));
}

Record request_record(WrittenRequest& request) {
  return record<WrittenRequest>(
      "request", place(request),
      [](WrittenRequest& r) {
        return std::vector<Field>{
            required(text("id", r.id, "unique; what outputs call it")),
            time("arrival", r.arrival, Zero::allowed, "at the front end"),
            written_if(whole("prompt_tokens", r.prompt_tokens, {1, kTokensMax},
                             "tokens that no other request has"),
                       [&r] { return r.prompt.empty(); }),
            prompt_field(r.prompt),
            required(whole("output_tokens", r.output_tokens, {0, kTokensMax},
                           "tokens the model would produce; 0: prefill only")),
            whole("max_tokens", r.max_tokens, {1, kTokensMax},
                  "declared limit; absent: equal to output_tokens"),
            whole("priority", r.priority, {-1'000'000'000, 1'000'000'000}, "smaller is earlier"),
            not_yet("accepted_drafts", "drafts accepted per speculative step")};
      },
      check_request);
}

Record response_cache_record(ResponseCache& cache) {
  return record<ResponseCache>("response_cache", place(cache), [](ResponseCache& c) {
    return std::vector<Field>{
        required(real("hit_rate", c.hit_rate, {0, 1}, "share answered before any GPU")),
        time("latency", c.latency, Zero::allowed, "of a hit")};
  });
}

/// The lengths of one class: there unless a trace brings them, and at least one prompt token.
void check_lengths(FieldCheck& check, const Workload& w, std::size_t i, bool listed) {
  const WorkloadClass& c = w.classes[i];
  const std::string own = listed ? fmt::format("classes.{}.", i) : "";
  const bool own_arrivals = c.arrivals.has_value();
  const bool trace = own_arrivals ? is_trace(c.arrivals) : is_trace(w.arrivals);
  const auto given = [&](const std::string& key) {
    return check.given(own + key) || check.given(key);
  };
  if (trace) {
    for (const char* key : {"prompt_tokens", "output_tokens", "max_tokens", "sessions"})
      if (check.given(own + key))
        check.fault(own + key, fmt::format("'{}' cannot be given: the trace brings it", key));
    return;
  }
  for (const char* key : {"prompt_tokens", "output_tokens"})
    if (!given(key))
      check.fault(listed ? fmt::format("classes.{}", i) : "",
                  fmt::format("missing key '{}' in {}", key,
                              listed ? "class '" + c.name + "' and in workload" : "workload"));
  const auto smallest = [](const LengthDistribution& law) {
    if (law.kind == LengthDistribution::Kind::fixed) return law.value;
    return law.kind == LengthDistribution::Kind::uniform ? law.min : std::int64_t{1};
  };
  const std::string prompt =
      check.given(own + "prompt_tokens") ? own + "prompt_tokens" : "prompt_tokens";
  if (check.given(prompt) && check.sound(prompt) && smallest(c.prompt_tokens) < 1)
    check.fault(prompt, "a prompt has at least 1 token; this law can give 0");
}

void check_classes(FieldCheck& check, const Workload& w) {
  std::set<std::string> names;
  bool need_shared = false;
  for (std::size_t i = 0; i < w.classes.size(); ++i) {
    const std::string path = fmt::format("classes.{}", i);
    if (check.given("classes") && check.sound(path + ".name") &&
        !names.insert(w.classes[i].name).second)
      check.fault(path + ".name",
                  fmt::format("duplicate class name '{}'", shown(w.classes[i].name)));
    need_shared = need_shared || !w.classes[i].arrivals;
    if (check.given(path + ".share") && w.classes[i].arrivals)
      check.fault(path + ".share",
                  "'share' divides the workload's arrivals; this class has its own 'arrivals'");
    if (check.sound("arrivals") && check.sound(path + ".arrivals"))
      check_lengths(check, w, i, check.given("classes"));
  }
  if (need_shared && !w.arrivals && check.sound("arrivals") && check.sound("classes"))
    check.fault("", "missing key 'arrivals' in workload (or 'requests')");
  if (!need_shared && w.arrivals && check.sound("classes"))
    check.fault("arrivals", "'arrivals' is used by no class: each has its own");
}

void check_requests(FieldCheck& check, const Workload& w) {
  for (const char* key : {"arrivals", "classes", "prompt_tokens", "output_tokens", "max_tokens",
                          "prefixes", "sessions", "priority"})
    if (check.given(key))
      check.fault(key, fmt::format("'{}' cannot stand together with 'requests'", key));
  std::set<std::string> ids;
  for (std::size_t i = 0; i < w.requests.size(); ++i) {
    const std::string path = fmt::format("requests.{}.id", i);
    if (check.sound(path) && !ids.insert(w.requests[i].id).second)
      check.fault(path, fmt::format("duplicate request id '{}'", shown(w.requests[i].id)));
  }
}

/// A scenario without a list of classes has one, which the workload's own keys describe.
bool is_flat(const std::vector<WorkloadClass>& classes) {
  if (classes.size() != 1) return false;
  const WorkloadClass& c = classes.front();
  return c.name == WorkloadClass{}.name && c.share == WorkloadClass{}.share && !c.arrivals &&
         !c.slo && c.model.empty();
}

Field classes_field(Workload& w, std::shared_ptr<WorkloadClass> base, const FieldContext& context) {
  List classes;
  classes.clear = [&w] { w.classes.clear(); };
  classes.size = [&w] { return w.classes.size(); };
  classes.append = [&w, base] { w.classes.push_back(*base); };
  classes.item = [&w, &context](std::size_t i) { return class_record(w.classes[i], w, context); };
  return {"classes",
          "kinds of requests; each inherits the workload's keys that it does not give",
          std::move(classes),
          [&w] { return !w.classes.empty() && !is_flat(w.classes); },
          {},
          false};
}

}  // namespace

Record workload_record(Workload& w, const FieldContext& context) {
  const auto base = std::make_shared<WorkloadClass>();
  if (is_flat(w.classes)) *base = w.classes.front();
  Record made;
  made.name = "workload";
  made.reset = [&w] { w = Workload{}; };
  made.fields = [&w, base, &context] {
    std::vector<Field> fields = {section(
        "arrivals", arrivals_record(place(w.arrivals), context),
        [&w] { return w.arrivals.has_value(); }, "how requests arrive")};
    for (Field& field : shape_fields(
             *base, [&w] { return is_trace(w.arrivals); }, context)) {
      const bool for_requests = field.key == "timeout" || field.key == "retry";
      fields.push_back(written_if(std::move(field), [&w, for_requests] {
        return is_flat(w.classes) && (w.requests.empty() || for_requests);
      }));
    }
    fields.push_back(classes_field(w, base, context));
    fields.push_back(list<WrittenRequest>("requests", w.requests, request_record,
                                          "requests written out, in any order of arrival"));
    fields.push_back(section(
        "response_cache", response_cache_record(w.response_cache), [] { return true; },
        "answers given before any GPU"));
    return fields;
  };
  made.check = [&w, base](FieldCheck& check) {
    // The one class of a scenario without a list; with written-out requests it carries their
    // time-out.
    if (!check.given("classes")) w.classes = {*base};
    if (check.given("requests"))
      check_requests(check, w);
    else
      check_classes(check, w);
  };
  return made;
}

std::optional<std::vector<NamedStretch>> parse_stretches(const std::string& text) {
  std::vector<NamedStretch> stretches;
  std::size_t at = 0;
  const auto skip_spaces = [&] {
    while (at < text.size() && text[at] == ' ') ++at;
  };
  const auto number = [&](char end, std::int64_t& value) {
    const char* first = text.data() + at;
    const char* last = text.data() + text.size();
    const auto [stop, error] = std::from_chars(first, last, value);
    if (error != std::errc() || stop == last || *stop != end || value < 0) return false;
    at = static_cast<std::size_t>(stop - text.data()) + 1;
    return true;
  };
  for (skip_spaces(); at < text.size(); skip_spaces()) {
    const std::size_t bracket = text.find('[', at);
    if (bracket == std::string::npos || bracket == at) return std::nullopt;
    NamedStretch stretch;
    stretch.stream = text.substr(at, bracket - at);
    if (stretch.stream.find_first_of(" ]:\n\t") != std::string::npos) return std::nullopt;
    at = bracket + 1;
    if (!number(':', stretch.from) || !number(']', stretch.to)) return std::nullopt;
    if (stretch.from >= stretch.to || stretch.to > kTokensMax) return std::nullopt;
    if (at < text.size() && text[at] != ' ') return std::nullopt;
    stretches.push_back(std::move(stretch));
  }
  if (stretches.empty()) return std::nullopt;
  return stretches;
}

std::string format_stretches(const std::vector<NamedStretch>& stretches) {
  std::string text;
  for (const NamedStretch& s : stretches)
    text += fmt::format("{}{}[{}:{}]", text.empty() ? "" : " ", s.stream, s.from, s.to);
  return text;
}

}  // namespace fleetsim
