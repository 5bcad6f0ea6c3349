// A chart is a spec file and named data sets; parameters of a spec (unit of time, end of an axis)
// are set here. Values that were not reached have no place on an axis: they stand at its end as
// triangles.

#include "sim/report/report_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "hw_models/check.h"
#include "sim/report/chart_spec.h"
#include "sim/report/decimal_text.h"
#include "sim/report/headline.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
double number_or_infinity(const Json& value) {
  return value.is_number() ? value.get<double>() : kInfinity;
}

/// The unit in which a time axis is read.
struct TimeUnit {
  const char* name;
  double seconds;
};
TimeUnit time_unit_for(double span_s) {
  if (span_s <= 0.5) return {"ms", 1e-3};
  if (span_s <= 240) return {"s", 1};
  if (span_s <= 4 * 3600) return {"min", 60};
  return {"h", 3600};
}

double span_of(const Json& data) {
  double end = 0;
  for (const Json& point : data.at("timeseries"))
    end = std::max(end, point.at("start_s").get<double>() + point.at("length_s").get<double>());
  for (const Json& section : data.at("slo"))
    for (const Json& window : section.at("windows"))
      end = std::max(end, window.at("start_s").get<double>());
  return end;
}

/// Adds "not reached" or the met/missed mark to a row that has a share of the limit.
Json marked(Json row, double share, double axis_max, bool met) {
  row["share"] = std::isfinite(share) ? std::min(share, axis_max) : axis_max * 0.97;
  row["kind"] = std::isfinite(share) ? (met ? "met" : "missed") : "not reached";
  return row;
}

/// The end of an axis of shares of a limit: room for the limit and for all finite values up to 3x.
double share_axis_max(const std::vector<double>& shares) {
  double largest = 1;
  bool unreached = false;
  for (const double share : shares) {
    if (std::isfinite(share))
      largest = std::max(largest, share);
    else
      unreached = true;
  }
  return std::min(largest, 3.0) * (unreached ? 1.3 : 1.15);
}

const Json kLimitAtOne = Json::array({{{"share", 1}, {"text", "limit"}}});

struct WorstLimit {
  double share = 0;
  std::string text;
};
/// The limit of a run (any section) that is nearest to being missed, or furthest beyond.
WorstLimit worst_limit(const Json& digest) {
  WorstLimit worst;
  for (const Json& section : digest.at("slo"))
    for (const Json& limit : section.at("window").at("limits")) {
      const double share =
          number_or_infinity(limit.at("worst_window_s")) / limit.at("limit_s").get<double>();
      if (!worst.text.empty() && share <= worst.share) continue;
      worst = {share, fmt::format("{}{} {}",
                                  section.at("class").get<std::string>().empty()
                                      ? ""
                                      : section.at("class").get<std::string>() + ": ",
                                  limit.at("metric").get<std::string>(), of_limit_text(limit))};
    }
  return worst;
}

double worst_attainment(const Json& digest) {
  double attainment = 1;
  for (const Json& section : digest.at("slo"))
    attainment = std::min(attainment, section.at("attainment").get<double>());
  return attainment;
}

std::string load_text(std::int64_t percent) {
  if (percent == 0) return "as written";
  return fmt::format("{}{} %", percent > 0 ? "+" : "−", std::abs(percent));
}

void add_load_chart(const Json& data, std::vector<ReportChart>& charts) {
  if (!data.contains("headroom") || data.at("headroom").at("probes").empty()) return;
  const Json& turn = data.at("headroom").at("turns_at_percent");
  // the first rounds reach far; the picture stays near the turn
  const std::int64_t shown_to =
      turn.is_number() ? std::max<std::int64_t>(10, 2 * std::abs(turn.get<std::int64_t>())) : 1'000;
  std::vector<Json> digests;
  for (const Json& probe : data.at("headroom").at("probes"))
    if (std::abs(probe.at("load_percent").get<std::int64_t>()) <= shown_to)
      digests.push_back(probe);
  if (!data.at("seeds").empty()) digests.push_back(data.at("seeds").front());
  std::stable_sort(digests.begin(), digests.end(), [](const Json& a, const Json& b) {
    return a.at("load_percent") < b.at("load_percent");
  });
  std::vector<double> shares;
  for (const Json& digest : digests) shares.push_back(worst_limit(digest).share);
  const double axis_max = share_axis_max(shares);
  Json rows = Json::array();
  for (const Json& digest : digests) {
    const WorstLimit worst = worst_limit(digest);
    const bool met = digest.at("met").get<bool>();
    const auto load = digest.at("load_percent").get<std::int64_t>();
    rows.push_back(marked({{"load", load},
                           {"load_text", load_text(load)},
                           {"text", worst.text},
                           {"verdict", met ? "met" : "missed"},
                           {"attainment", percent_text(worst_attainment(digest))}},
                          worst.share, axis_max, met));
  }
  Json spec = spec_with("load_probe.vl.json", {{"rows", rows}, {"limit", kLimitAtOne}});
  set_parameter(spec, "y_max", axis_max);
  charts.push_back({"slo", "load_probe", "How much more load it takes",
                    fmt::format("Worst window as a share of the limit, at other loads; each point "
                                "is a run of its own ({} runs). "
                                "Triangles: the percentile is not reached, misses are too many.",
                                data.at("headroom").at("probes").size()),
                    std::move(spec)});
}

void add_seeds_chart(const Json& data, std::vector<ReportChart>& charts) {
  if (data.at("slo").empty() || data.at("seeds").size() < 2) return;
  std::vector<double> shares;
  for (const Json& digest : data.at("seeds")) shares.push_back(worst_limit(digest).share);
  const double axis_max = share_axis_max(shares);
  // dots may leave zero out; a fifth of the way to it keeps the distance to the limit honest
  const double axis_min =
      std::floor(10 * 0.8 * std::min(1.0, *std::min_element(shares.begin(), shares.end()))) / 10;
  Json rows = Json::array();
  for (const Json& digest : data.at("seeds")) {
    const WorstLimit worst = worst_limit(digest);
    const bool met = digest.at("met").get<bool>();
    rows.push_back(marked({{"seed", fmt::format("seed {}", digest.at("seed").get<std::uint64_t>())},
                           {"text", worst.text},
                           {"verdict", met ? "met" : "missed"}},
                          worst.share, axis_max, met));
  }
  Json spec = spec_with("seeds.vl.json", {{"rows", rows}, {"limit", kLimitAtOne}});
  spec["height"] = std::max<std::size_t>(210, 28 * rows.size());
  set_parameter(spec, "x_min", axis_min);
  set_parameter(spec, "x_max", axis_max);
  charts.push_back({"slo", "seeds", "The same fleet with other seeds",
                    "Worst window as a share of the limit; the dashed line is the limit.",
                    std::move(spec)});
}

void add_slo_chart(const Json& data, std::vector<ReportChart>& charts) {
  const double span = span_of(data);
  const TimeUnit unit = time_unit_for(span);
  std::vector<double> shares;
  const auto each = [&](const auto& visit) {
    for (const Json& section : data.at("slo")) {
      const std::string name = section.at("class").get<std::string>();
      const Json& limits = section.at("window").at("limits");
      for (std::size_t i = 0; i < limits.size(); ++i)
        for (const Json& window : section.at("windows")) {
          if (window.at("arrivals").get<std::int64_t>() == 0) continue;
          visit(section, limits[i], window, number_or_infinity(window.at("percentile_s").at(i)),
                (name.empty() ? "" : name + ": ") + "p" +
                    fmt::format("{}", section.at("window").at("percentile").get<double>()) + " " +
                    limits[i].at("metric").get<std::string>());
        }
    }
  };
  each([&](const Json&, const Json& limit, const Json&, double value, const std::string&) {
    shares.push_back(value / limit.at("limit_s").get<double>());
  });
  if (shares.empty()) return;
  const double axis_max = share_axis_max(shares);
  Json rows = Json::array(), points = Json::array();
  each([&](const Json& section, const Json& limit, const Json& window, double value,
           const std::string& series) {
    const double share = value / limit.at("limit_s").get<double>();
    const double start = window.at("start_s").get<double>();
    const double length = section.at("window").at("length_s").get<double>();
    const Json row = {{"t", start / unit.seconds}, {"series", series}};
    Json line = marked(row, share, axis_max, share <= 1);
    rows.push_back(line);
    if (&window == &section.at("windows").back()) {  // a step holds to the end of its window
      Json end = line;
      end["t"] = (start + length) / unit.seconds;
      rows.push_back(std::move(end));
    }
    line["t"] = (start + length / 2) / unit.seconds;
    line["time"] = fmt::format("{} to {}", duration_text(start), duration_text(start + length));
    line["text"] = duration_text(value);
    line["arrivals"] = window.at("arrivals");
    line["attainment"] = percent_text(window.at("attainment").get<double>());
    points.push_back(std::move(line));
  });
  Json spec = spec_with("slo_windows.vl.json",
                        {{"rows", rows}, {"points", points}, {"limit", kLimitAtOne}});
  set_parameter(spec, "time_unit", unit.name);
  set_parameter(spec, "y_max", axis_max);
  charts.push_back({"slo", "slo_windows", "The objective, window by window",
                    "The judged percentile as a share of its limit in every window; the worst one "
                    "gives the verdict.",
                    std::move(spec)});
}

/// The tightest limit of a metric over the SLO sections, or 0.
double limit_of(const Json& data, const std::string& metric) {
  double tightest = 0;
  for (const Json& section : data.at("slo"))
    for (const Json& limit : section.at("window").at("limits"))
      if (limit.at("metric") == metric) {
        const double seconds = limit.at("limit_s").get<double>();
        tightest = tightest > 0 ? std::min(tightest, seconds) : seconds;
      }
  return tightest;
}

void add_curve(const Json& data, const Json& curve, std::vector<ReportChart>& charts) {
  struct Row {
    const char *metric, *title, *caption;
  };
  static constexpr Row kRows[] = {
      {"e2e", "End to end", "Arrival to last token."},
      {"ttft", "Time to first token (TTFT)", "Arrival to the first delivered token."},
      {"tpot", "Time per output token (TPOT)", "Mean time per token after the first, per request."},
      {"itl", "Inter-token latency (ITL)", "Every gap between delivered chunks."},
      {"queue", "Queue", "Arrival to first scheduled."}};
  const std::string metric = curve.at("metric").get<std::string>();
  const auto row = std::find_if(std::begin(kRows), std::end(kRows),
                                [&](const Row& one) { return metric == one.metric; });
  if (row == std::end(kRows)) return;
  const auto& seconds = curve.at("seconds");
  const auto& probability = curve.at("probability");
  if (seconds.empty()) return;
  const double limit = limit_of(data, metric);
  double shown = 0;  // the axis ends at p99.5 so that a rare straggler does not flatten the curve
  Json points = Json::array();
  for (std::size_t i = 0; i < seconds.size(); ++i) {
    const double at = seconds[i].get<double>();
    if (probability[i].get<double>() <= 0.995) shown = std::max(shown, at);
    points.push_back(
        {{"seconds", at}, {"probability", probability[i]}, {"text", duration_text(at)}});
  }
  double end = std::max(shown * 1.05, limit * 1.1);
  if (end <= 0) end = 1e-3;
  Json limits = Json::array();
  if (limit > 0) limits.push_back({{"seconds", limit}, {"text", "limit " + duration_text(limit)}});
  Json spec = spec_with("latency_cdf.vl.json", {{"curve", points}, {"limit", limits}});
  set_parameter(spec, "x_max", end);
  const double longest = seconds.back().get<double>();
  std::string caption = row->caption;
  if (longest > end)
    caption += fmt::format(" The longest took {}, beyond the right edge.", duration_text(longest));
  charts.push_back({"latency", "cdf_" + metric, row->title, caption, std::move(spec)});
}

/// One line of a timeline: name and value of a point, NaN where there is none.
struct Series {
  const char* name;
  double (*value)(const Json& point, double kv_blocks);
  const char* unit;
};

double rate(const Json& point, const char* key) {
  const double seconds = point.at("length_s").get<double>();
  return seconds > 0 ? point.at(key).get<double>() / seconds : std::nan("");
}

void add_timeline(const Json& data, const char* name, const char* title, const char* caption,
                  const std::vector<Series>& series, const char* y_format,
                  std::vector<ReportChart>& charts) {
  const TimeUnit unit = time_unit_for(span_of(data));
  const Json& pools = data.at("pools");
  const bool percent = std::string(y_format).find('%') != std::string::npos;
  Json rows = Json::array();
  double end = 0;
  for (const Series& one : series)
    for (const Json& point : data.at("timeseries")) {
      const Json& pool = pools.at(point.at("pool").get<std::size_t>());
      const double value = one.value(point, pool.at("kv_blocks").get<double>());
      const double start = point.at("start_s").get<double>();
      end = std::max(end, start + point.at("length_s").get<double>());
      if (!std::isfinite(value)) continue;
      rows.push_back(
          {{"t", (start + point.at("length_s").get<double>() / 2) / unit.seconds},
           {"value", value},
           {"series",
            pools.size() > 1 ? pool.at("name").get<std::string>() + ": " + one.name : one.name},
           {"time", duration_text(start)},
           {"text", (percent ? percent_text(value) : number_text(value)) + one.unit}});
    }
  if (rows.empty()) return;
  Json phases = Json::array();
  const double warmup = data.at("warmup_s").get<double>();
  if (warmup > 0)
    phases.push_back({{"from", 0},
                      {"to", std::min(warmup, end) / unit.seconds},
                      {"label", "warm-up"},
                      {"words", warmup > 0.09 * end ? "warm-up" : ""}});
  if (data.at("duration_s").is_number() && data.at("duration_s").get<double>() < end)
    phases.push_back(
        {{"from", data.at("duration_s").get<double>() / unit.seconds},
         {"to", end / unit.seconds},
         {"label", "drain"},
         {"words", end - data.at("duration_s").get<double>() > 0.09 * end ? "drain" : ""}});
  Json spec = spec_with("timeline.vl.json", {{"rows", rows}, {"phases", phases}});
  set_parameter(spec, "time_unit", unit.name);
  set_parameter(spec, "y_format", y_format);
  charts.push_back({"time", name, title, caption, std::move(spec)});
}

void add_timelines(const Json& data, std::vector<ReportChart>& charts) {
  add_timeline(data, "timeline_load", "Load",
               "Requests a second that reach the pool, and that it completes.",
               {{"arrivals", [](const Json& p, double) { return rate(p, "arrivals"); }, " /s"},
                {"completions", [](const Json& p, double) { return rate(p, "completed"); }, " /s"}},
               "~s", charts);
  add_timeline(
      data, "timeline_queue", "Queue and running",
      "Requests waiting for and in engine batches, over all replicas.",
      {{"running", [](const Json& p, double) { return p.at("running").get<double>(); }, ""},
       {"waiting", [](const Json& p, double) { return p.at("queue").get<double>(); }, ""}},
      "~s", charts);
  add_timeline(data, "timeline_kv", "KV cache and GPU busy",
               "Share of a replica's KV blocks with an owner, and of time with a forward running.",
               {{"KV blocks in use",
                 [](const Json& p, double blocks) {
                   return blocks > 0 ? p.at("kv_blocks_used").get<double>() / blocks : std::nan("");
                 },
                 ""},
                {"GPU busy", [](const Json& p, double) { return p.at("busy").get<double>(); }, ""}},
               "~%", charts);
  add_timeline(data, "timeline_batch", "Batch",
               "Running requests per replica, and output tokens delivered per iteration.",
               {{"running per replica",
                 [](const Json& p, double) {
                   const double replicas = p.at("replicas").get<double>();
                   return replicas > 0 ? p.at("running").get<double>() / replicas : std::nan("");
                 },
                 ""},
                {"output tokens per iteration",
                 [](const Json& p, double) {
                   const double iterations = p.at("iterations").get<double>();
                   return iterations > 0 ? p.at("output_tokens").get<double>() / iterations
                                         : std::nan("");
                 },
                 ""}},
               "~s", charts);
}

/// A stacked bar for each pool from a section of summary.pools whose members are the parts.
void add_breakdown(const Json& data, const char* section, ReportChart chart, bool memory,
                   std::vector<ReportChart>& charts) {
  constexpr double kGib = 1024.0 * 1024 * 1024;
  Json rows = Json::array(), domain = Json::array();
  int bars = 0;
  for (const Json& pool : data.at("summary").at("pools")) {
    if (!pool.contains(section)) continue;
    ++bars;
    int order = 0;
    for (const auto& [key, value] : pool.at(section).items()) {
      const double amount = value.get<double>();
      const std::string part = part_title(key);
      if (std::find(domain.begin(), domain.end(), part) == domain.end()) domain.push_back(part);
      rows.push_back({{"pool", pool.at("name")},
                      {"part", part},
                      {"order", order++},
                      {"value", memory ? amount / kGib : amount},
                      {"text", memory ? bytes_text(amount) : percent_text(amount)}});
    }
  }
  if (rows.empty()) return;
  chart.spec = spec_with("breakdown.vl.json", {{"rows", rows}});
  chart.spec["height"] = 48 * bars;
  // the last part is what is left over, in the quiet last colour of the range
  Json& scale = chart.spec.at("encoding").at("color").at("scale");
  if (memory) domain.insert(domain.end() - 1, "");  // six parts in a range of seven colours
  scale["domain"] = domain;
  if (memory)
    chart.spec["encoding"]["color"]["legend"]["values"] = [&] {
      Json shown = Json::array();
      for (const Json& part : domain)
        if (!part.get_ref<const std::string&>().empty()) shown.push_back(part);
      return shown;
    }();
  set_parameter(chart.spec, "x_format", memory ? "~g" : ".0%");
  set_parameter(chart.spec, "x_suffix", memory ? " GiB" : "");
  charts.push_back(std::move(chart));
}

}  // namespace

std::string part_title(const std::string& key) {
  if (key == "gemm") return "matrix products (GEMM)";
  if (key == "kv_cache") return "KV cache";
  if (key == "cuda_graphs") return "CUDA graphs";
  if (key == "non_torch") return "outside the framework";
  std::string title = key;
  std::replace(title.begin(), title.end(), '_', ' ');
  return title;
}

std::vector<ReportChart> report_charts(const Json& data) {
  std::vector<ReportChart> charts;
  add_slo_chart(data, charts);
  add_load_chart(data, charts);
  add_seeds_chart(data, charts);
  for (const char* metric : {"e2e", "ttft", "tpot", "queue", "itl"})
    for (const Json& curve : data.at("curves"))
      if (curve.at("metric") == metric) add_curve(data, curve, charts);
  add_timelines(data, charts);
  add_breakdown(data, "time_breakdown",
                {"gpu",
                 "time_breakdown",
                 "Where GPU time goes",
                 "Share of all GPU time in the measured span.",
                 {}},
                false, charts);
  add_breakdown(data, "memory_breakdown",
                {"gpu",
                 "memory_breakdown",
                 "Where GPU memory goes",
                 "Of one GPU, as planned at start-up.",
                 {}},
                true, charts);
  return charts;
}

}  // namespace fleetsim
