// The page is plots/report.html with its {{places}} filled: words and tables here, charts as data
// that plots/report.js draws. Whatever comes from the user's files goes through html_text.

#include "sim/report/report_page.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <iterator>
#include <limits>

#include "sim/report/decimal_text.h"
#include "sim/report/extra_runs.h"
#include "sim/report/headline.h"
#include "sim/report/model_evidence.h"
#include "sim/report/page.h"
#include "sim/report/report_charts.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

double number_or_infinity(const Json& value) {
  return value.is_number() ? value.get<double>() : std::numeric_limits<double>::infinity();
}

template <typename... Args>
void append(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

// ---- the answer ----

std::string badge(const Json& data) {
  std::string badges;
  if (data.at("summary").at("stopped_early").get<bool>())
    badges += "<span class=\"badge partial\">partial: stopped early</span>";
  if (data.at("slo").empty()) return badges + "<span class=\"badge\">no objective asked</span>";
  const bool met = data.at("slo_met").get<bool>();
  return badges + fmt::format("<span class=\"badge {}\">{} objective {}</span>",
                              met ? "met" : "missed", met ? "✓" : "✗", met ? "met" : "missed");
}

std::string validation_notice(const Json& data) {
  if (!hardware_priced(data))
    return "<p class=\"notice\"><b>No hardware model.</b> Every iteration takes the time that the "
           "scenario states "
           "(cost_model), so the figures show scheduling, not a GPU.</p>";
  if (!roofline_priced(data))
    return "<p class=\"notice\"><b>How far to trust the times:</b> " +
           html_text(model_evidence(data)) + ".</p>";
  return "<p class=\"notice\"><b>Hardware model not yet validated.</b> Iteration times come from "
         "datasheet figures and published "
         "ceilings (roofline); they have not been compared with measurements of whole services. "
         "Treat fleet sizes as estimates until they have.</p>";
}

std::string header_html(const Json& data) {
  const Json& scenario = data.at("summary").at("scenario");
  std::string out = fmt::format(
      "<p class=\"name\"><b>{}</b> &nbsp;·&nbsp; fleetsim {} &nbsp;·&nbsp; seed {}</p>\n{}",
      html_text(scenario.at("name").get<std::string>()),
      html_text(scenario.at("version").get<std::string>()),
      scenario.at("seed").get<std::uint64_t>(), badge(data));
  append(out, "\n<h1>{}</h1>\n", html_text(headline(data)));
  if (const auto question = data.at("question").get<std::string>(); !question.empty())
    append(out, "<p class=\"question\">{}</p>\n", html_text(question));
  out += "<ul class=\"why\">";
  for (const std::string& reason : reasons(data)) append(out, "<li>{}</li>", html_text(reason));
  return out + "</ul>\n" + validation_notice(data);
}

std::string tiles_html(const Json& data) {
  const Json& summary = data.at("summary");
  std::string out;
  for (const Json& section : data.at("slo")) {
    const std::string name = section.at("class").get<std::string>();
    const bool met = section.at("met").get<bool>();
    out += tile_html(name.empty() ? "Within all limits" : "Within limits: " + name,
                     percent_text(section.at("attainment").get<double>()),
                     fmt::format("{} % asked\nof each window",
                                 section.at("window").at("percentile").get<double>()),
                     met ? "met" : "missed");
  }
  const Json& latency = summary.at("latency");
  const auto latency_tile = [&](const char* key, const char* label) {
    if (latency.contains(key))
      out += tile_html(label, duration_text(latency.at(key).at("p95").get<double>()),
                       "median " + duration_text(latency.at(key).at("p50").get<double>()) +
                           "\np99 " + duration_text(latency.at(key).at("p99").get<double>()));
  };
  latency_tile("e2e", "End to end, p95");
  latency_tile("ttft", "First token, p95");
  latency_tile("tpot", "Output token, p95");
  const Json& throughput = summary.at("throughput");
  out += tile_html(
      "Served by GPUs", number_text(throughput.at("requests_per_s").get<double>()) + " /s",
      throughput.contains("goodput_requests_per_s")
          ? number_text(throughput.at("goodput_requests_per_s").get<double>()) + " /s within limits"
          : number_text(throughput.at("output_tokens_per_s").get<double>()) + " output tokens/s");
  const Json& fleet = summary.at("fleet");
  std::string utilisation = "busy share of time";
  if (fleet.contains("mfu"))
    utilisation =
        "MFU " + percent_text(fleet.at("mfu").get<double>()) +
        (fleet.contains("mbu") ? "\nMBU " + percent_text(fleet.at("mbu").get<double>()) : "");
  out += tile_html("GPU busy", percent_text(fleet.at("busy").get<double>()), utilisation);
  if (summary.contains("cache"))
    out += tile_html("Prefix cache",
                     percent_text(summary.at("cache").at("prefix_hit_rate").get<double>()),
                     "of prompt tokens found in it");
  if (summary.contains("cost")) {
    const Json& cost = summary.at("cost");
    out += tile_html(
        "Cost", money_text(cost.at("usd_per_hour").get<double>()) + " /h",
        money_text(1000 * number_or_infinity(cost.at("usd_per_request"))) + " per 1,000 requests");
  }
  return tile_rows_html(out);
}

// ---- tables ----

std::string latency_table(const Json& data) {
  static constexpr std::pair<const char*, const char*> kRows[] = {
      {"e2e", "end to end"},
      {"ttft", "first token (TTFT)"},
      {"tpot", "per output token (TPOT)"},
      {"itl", "between tokens (ITL)"},
      {"queue", "queue"}};
  std::string out =
      "<div class=\"card wide "
      "scroll\"><table><thead><tr><th>latency</th><th>mean</th><th>p50</th><th>p90</th><th>p95</th>"
      "<th>p99</th><th>max</th><th>samples</th></tr></thead><tbody>";
  const Json& latency = data.at("summary").at("latency");
  for (const auto& [key, title] : kRows) {
    if (!latency.contains(key)) continue;
    append(out, "<tr><td>{}</td>", title);
    for (const char* column : {"mean", "p50", "p90", "p95", "p99", "max"})
      append(out, "<td>{}</td>", duration_text(latency.at(key).at(column).get<double>()));
    append(out, "<td>{}</td></tr>", count_text(latency.at(key).at("count").get<std::int64_t>()));
  }
  return out + "</tbody></table></div>\n";
}

std::string limits_table(const Json& data) {
  std::string out =
      "<div class=\"card wide scroll\"><table><thead><tr><th>objective</th><th>limit</th><th>worst "
      "window</th>"
      "<th>whole run</th><th>worst window starts</th><th>judged "
      "there</th><th>verdict</th></tr></thead><tbody>";
  for (const Json& section : data.at("slo")) {
    const Json& window = section.at("window");
    for (const Json& limit : window.at("limits")) {
      const bool met = limit.at("met").get<bool>();
      const std::string name = section.at("class").get<std::string>();
      append(out,
             "<tr><td>{}p{} {}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td "
             "class=\"{}\">{}</td></tr>",
             name.empty() ? "" : html_text(name) + ": ", window.at("percentile").get<double>(),
             html_text(limit.at("metric").get<std::string>()),
             duration_text(limit.at("limit_s").get<double>()),
             duration_text(number_or_infinity(limit.at("worst_window_s")), 4),
             duration_text(number_or_infinity(limit.at("overall_s")), 4),
             duration_text(limit.at("worst_window_start_s").get<double>()),
             count_text(limit.at("population").get<std::int64_t>()), met ? "met" : "missed",
             met ? "met" : "missed");
    }
  }
  return out + "</tbody></table></div>\n";
}

/// A column of the table over seeds: values by run, and how one is printed.
struct SeedColumn {
  std::string title;
  std::function<double(const Json& digest)> value;  // NaN: the run has none
  std::function<std::string(double)> text;
};

std::vector<SeedColumn> seed_columns(const Json& data) {
  std::vector<SeedColumn> columns;
  const auto seconds = [](double value) { return duration_text(value); };
  if (!data.at("slo").empty())
    columns.push_back(
        {"within limits",
         [](const Json& d) { return d.at("slo").at(0).at("attainment").get<double>(); },
         percent_text});
  for (std::size_t s = 0; s < data.at("slo").size(); ++s) {
    const Json& window = data.at("slo")[s].at("window");
    for (std::size_t i = 0; i < window.at("limits").size(); ++i) {
      const std::string name = data.at("slo")[s].at("class").get<std::string>();
      columns.push_back(
          {fmt::format("worst p{} {}{}", window.at("percentile").get<double>(),
                       window.at("limits")[i].at("metric").get<std::string>(),
                       name.empty() ? "" : ", " + name),
           [s, i](const Json& d) {
             return number_or_infinity(
                 d.at("slo").at(s).at("window").at("limits").at(i).at("worst_window_s"));
           },
           [](double value) { return duration_text(value, 4); }});
    }
  }
  const auto latency = [&](const char* title, const char* metric, const char* figure) {
    columns.push_back({title,
                       [metric, figure](const Json& d) {
                         return d.at("latency").contains(metric)
                                    ? d.at("latency").at(metric).at(figure).get<double>()
                                    : std::nan("");
                       },
                       seconds});
  };
  latency("e2e p95", "e2e", "p95");
  latency("e2e p99", "e2e", "p99");
  latency("TTFT p95", "ttft", "p95");
  latency("TPOT p95", "tpot", "p95");
  columns.push_back({"served/s", [](const Json& d) { return d.at("requests_per_s").get<double>(); },
                     [](double value) { return number_text(value, 4); }});
  columns.push_back(
      {"GPU busy", [](const Json& d) { return d.at("busy").get<double>(); }, percent_text});
  return columns;
}

/// Mean over the runs and the half width of its interval, as two cells; words where a run has no
/// number.
std::pair<std::string, std::string> mean_cells(const Json& seeds, const SeedColumn& column) {
  std::vector<double> values;
  for (const Json& digest : seeds) values.push_back(column.value(digest));
  for (const double value : values) {
    if (std::isnan(value)) return {"–", "–"};
    if (std::isinf(value)) return {"not reached", "–"};
  }
  const MeanInterval interval = mean_interval(values);
  // a width below a millionth of its mean is rounding, not spread
  const bool none = interval.half_width <= 1e-6 * std::fabs(interval.mean);
  return {column.text(interval.mean), none ? "± 0" : "± " + column.text(interval.half_width)};
}

std::string seeds_table(const Json& data) {
  const Json& seeds = data.at("seeds");
  const bool judged = !data.at("slo").empty();
  const auto columns = seed_columns(data);
  std::string out = "<div class=\"card wide scroll\"><table><thead><tr><th>seed</th>";
  if (judged) out += "<th>verdict</th>";
  for (const SeedColumn& column : columns) append(out, "<th>{}</th>", html_text(column.title));
  out += "</tr></thead><tbody>";
  for (const Json& digest : seeds) {
    append(out, "<tr><td>{}</td>", digest.at("seed").get<std::uint64_t>());
    const char* verdict = digest.at("met").get<bool>() ? "met" : "missed";
    if (judged) append(out, "<td class=\"{0}\">{0}</td>", verdict);
    for (const SeedColumn& column : columns) {
      const double value = column.value(digest);
      append(out, "<td>{}</td>", std::isnan(value) ? "–" : column.text(value));
    }
    out += "</tr>";
  }
  if (seeds.size() > 1) {
    std::string means, widths;
    for (const SeedColumn& column : columns) {
      const auto [mean, width] = mean_cells(seeds, column);
      append(means, "<td>{}</td>", mean);
      append(widths, "<td>{}</td>", width);
    }
    const char* verdict = judged ? "<td></td>" : "";
    append(out,
           "<tr class=\"total\"><td>mean</td>{}{}</tr><tr class=\"total\"><td>95 % "
           "interval</td>{}{}</tr>",
           verdict, means, verdict, widths);
  }
  return out + "</tbody></table></div>\n";
}

std::string breakdown_table(const Json& data) {
  std::string out;
  for (const Json& pool : data.at("summary").at("pools")) {
    const std::string title =
        data.at("pools").size() > 1 ? ", " + html_text(pool.at("name").get<std::string>()) : "";
    const auto add = [&](const char* section, const char* head, const char* unit,
                         const std::function<std::string(double)>& text) {
      if (!pool.contains(section)) return;
      append(out,
             "<div class=\"card "
             "scroll\"><table><thead><tr><th>{}{}</th><th>{}</th></tr></thead><tbody>",
             head, title, unit);
      for (const auto& [key, value] : pool.at(section).items())
        append(out, "<tr><td>{}</td><td>{}</td></tr>", html_text(part_title(key)),
               text(value.get<double>()));
      out += "</tbody></table></div>\n";
    };
    add("time_breakdown", "GPU time", "share", percent_text);
    add("memory_breakdown", "GPU memory", "per GPU", bytes_text);
  }
  return out;
}

void fact(std::string& out, const std::string& name, const std::string& value) {
  append(out, "<tr><td>{}</td><td>{}</td></tr>", html_text(name), html_text(value));
}

std::string pool_facts(const Json& data, std::size_t index) {
  const Json& pool = data.at("pools")[index];
  const Json& engine = pool.at("engine");
  std::string out =
      fmt::format("<div class=\"card scroll\"><h3>Pool {}</h3><table class=\"facts\"><tbody>",
                  html_text(pool.at("name").get<std::string>()));
  const auto whole = [](const Json& value) { return count_text(value.get<std::int64_t>()); };
  const auto yes = [](const Json& value) { return std::string(value.get<bool>() ? "on" : "off"); };
  fact(out, "GPU",
       pool.at("gpu_title").is_string() ? pool.at("gpu_title").get<std::string>() : "none");
  fact(out, "model", pool.at("model_title").get<std::string>());
  fact(out, "replicas",
       fmt::format("{}, {} each (tp {})", whole(pool.at("replicas")),
                   pool.at("gpus_per_replica") == 1 ? "one GPU"
                                                    : whole(pool.at("gpus_per_replica")) + " GPUs",
                   whole(pool.at("tp"))));
  fact(out, "engine",
       fmt::format("{} {}", engine.at("scheduler").get<std::string>(),
                   engine.at("version").get<std::string>()));
  fact(out, "max_num_seqs", whole(engine.at("max_num_seqs")));
  fact(out, "max_num_batched_tokens", whole(engine.at("max_num_batched_tokens")));
  fact(out, "max_model_len", whole(engine.at("max_model_len")));
  fact(out, "KV blocks of a replica",
       fmt::format("{} of {} tokens", whole(pool.at("kv_blocks")), whole(engine.at("block_size"))));
  fact(out, "prefix caching", yes(engine.at("enable_prefix_caching")));
  fact(out, "chunked prefill", yes(engine.at("enable_chunked_prefill")));
  fact(out, "async scheduling", yes(engine.at("async_scheduling")));
  fact(out, "CUDA graphs", engine.at("enforce_eager").get<bool>() ? "off (enforce_eager)" : "on");
  if (pool.contains("usd_per_gpu_hour"))
    fact(out, "price of a GPU", money_text(pool.at("usd_per_gpu_hour").get<double>()) + " /h");
  if (pool.contains("watts")) {
    const auto watts = [&](const char* key) {
      return number_text(pool.at("watts").at(key).get<double>());
    };
    fact(out, "power of a GPU",
         fmt::format("{} W idle, {} W memory-bound, {} W compute-bound", watts("idle"),
                     watts("memory_bound"), watts("compute_bound")));
  }
  fact(out, "iteration times from", pool.at("cost_model").get<std::string>());
  return out + "</tbody></table></div>\n";
}

std::string run_facts(const Json& data) {
  const Json& summary = data.at("summary");
  const Json& requests = summary.at("requests");
  const Json& tokens = summary.at("tokens");
  const Json& fleet = summary.at("fleet");
  std::string out = "<div class=\"card scroll\"><h3>The run</h3><table class=\"facts\"><tbody>";
  for (const auto& [key, value] : requests.items()) {
    std::string name = key;
    for (char& c : name)
      if (c == '_') c = ' ';
    if (value.get<std::int64_t>() > 0 || key == "completed")
      fact(out, "requests " + name, count_text(value.get<std::int64_t>()));
  }
  fact(out, "prompt tokens",
       fmt::format("{} ({} from the cache)", count_text(tokens.at("prompt").get<std::int64_t>()),
                   count_text(tokens.at("prompt_cached").get<std::int64_t>())));
  fact(out, "output tokens", count_text(tokens.at("output").get<std::int64_t>()));
  const Json& realised = summary.at("realised");
  const auto lengths = [&](const char* key) {
    return fmt::format("mean {}, p95 {}", number_text(realised.at(key).at("mean").get<double>(), 4),
                       number_text(realised.at(key).at("p95").get<double>(), 4));
  };
  fact(out, "prompt length, realised", lengths("prompt_tokens"));
  fact(out, "output length, realised", lengths("output_tokens"));
  fact(out, "router", data.at("router").get<std::string>());
  const Json& precision = data.at("precision");
  fact(out, "precision",
       fmt::format("weights {}, activations {}, KV cache {}",
                   precision.at("weights").get<std::string>(),
                   precision.at("activations").get<std::string>(),
                   precision.at("kv_cache").get<std::string>()));
  fact(out, "GPU hours", number_text(fleet.at("gpu_hours").get<double>(), 4));
  fact(out, "engine iterations", count_text(fleet.at("iterations").get<std::int64_t>()));
  fact(out, "preemptions", count_text(fleet.at("preemptions").get<std::int64_t>()));
  if (summary.contains("frontend"))
    fact(out, "front end's share of e2e",
         percent_text(summary.at("frontend").at("share_of_e2e").get<double>()));
  if (summary.contains("cost")) {
    const Json& cost = summary.at("cost");
    fact(out, "cost", money_text(cost.at("usd_per_hour").get<double>()) + " an hour");
    fact(out, "cost of a request", money_text(number_or_infinity(cost.at("usd_per_request"))));
    fact(out, "cost of a million output tokens",
         money_text(number_or_infinity(cost.at("usd_per_million_output_tokens"))));
  }
  if (summary.contains("energy")) {
    const Json& energy = summary.at("energy");
    const auto joules = [&](const char* key) {
      return energy.at(key).is_number() ? number_text(energy.at(key).get<double>()) + " J"
                                        : "not reached";
    };
    fact(out, "mean power of a GPU", number_text(energy.at("watts_per_gpu").get<double>()) + " W");
    fact(out, "energy of an output token", joules("joules_per_output_token"));
    fact(out, "energy of a request", joules("joules_per_request"));
    fact(out, "energy of the GPUs",
         number_text(energy.at("joules").get<double>() / 3.6e6, 4) + " kWh");
  }
  return out + "</tbody></table></div>\n";
}

// ---- sections ----

std::string chart_cards(const std::vector<ReportChart>& charts, const std::string& section) {
  std::string out;
  std::size_t of_section = 0, placed = 0;
  for (const ReportChart& chart : charts) of_section += chart.section == section;
  for (const ReportChart& chart : charts) {
    if (chart.section != section) continue;
    ++placed;
    // an odd chart out takes the whole width: the verdict's own first, elsewhere the last
    const bool wide =
        of_section % 2 == 1 && (section == "slo" ? placed == 1 : placed == of_section);
    append(out,
           "<div class=\"card{}\"><h3>{}</h3><p class=\"caption\">{}</p><div class=\"chart\" "
           "data-chart=\"{}\"></div></div>\n",
           wide ? " wide" : "", html_text(chart.title), html_text(chart.caption),
           html_text(chart.name));
  }
  return out;
}

std::string assumptions_html(const Json& data) {
  std::string out = "<div class=\"card\"><h3>What the figures rest on</h3><ul class=\"plain\">";
  for (const Json& pool : data.at("pools"))
    for (const Json& note : pool.at("notes"))
      append(
          out, "<li>{}{}</li>",
          data.at("pools").size() > 1 ? html_text(pool.at("name").get<std::string>()) + ": " : "",
          html_text(note.get<std::string>()));
  append(out,
         "<li>Requests that arrive in the warm-up ({}) are left out of the statistics; throughput "
         "and utilisation leave the drain out.</li>",
         duration_text(data.at("warmup_s").get<double>()));
  append(out, "<li>Latency percentiles: {}.</li></ul></div>\n",
         html_text(data.at("summary").at("latency_method").get<std::string>()));
  out += "<div class=\"card\"><h3>What is not modelled</h3><ul class=\"plain\">";
  for (const Json& line : data.at("not_modelled"))
    append(out, "<li>{}</li>", html_text(line.get<std::string>()));
  out += "</ul></div>\n";
  for (const Json& pool : data.at("pools")) {
    if (pool.at("rules").empty()) continue;
    append(out,
           "<div class=\"card wide\"><details><summary>Engine rules in force: {} {}, pool "
           "{}</summary><div class=\"scroll\"><table class=\"facts\"><tbody>",
           html_text(pool.at("engine").at("scheduler").get<std::string>()),
           html_text(pool.at("engine").at("version").get<std::string>()),
           html_text(pool.at("name").get<std::string>()));
    for (const Json& rule : pool.at("rules"))
      fact(out, "since " + rule.at("since").get<std::string>(), rule.at("rule").get<std::string>());
    out += "</tbody></table></div></details></div>\n";
  }
  return out;
}

std::string provenance_html(const Json& data) {
  const Json& scenario = data.at("summary").at("scenario");
  std::string out = "<div class=\"card wide scroll\"><table class=\"facts\"><tbody>";
  fact(out, "scenario", scenario.at("name").get<std::string>());
  fact(out, "sha256 of the resolved scenario", scenario.at("sha256").get<std::string>());
  fact(out, "seed", fmt::format("{}", scenario.at("seed").get<std::uint64_t>()));
  fact(out, "fleetsim", scenario.at("version").get<std::string>());
  const std::size_t probes =
      data.contains("headroom") ? data.at("headroom").at("probes").size() : 0;
  const std::size_t seeds = data.at("seeds").size();
  fact(out, "runs behind this page",
       fmt::format("{}: {} seeds and {} other loads", seeds + probes, seeds, probes));
  if (data.contains("headroom"))
    fact(out, "other loads",
         fmt::format("arrivals multiplied, same seed, searched in steps of {} %",
                     data.at("headroom").at("step_percent").get<std::int64_t>()));
  append(out,
         "</tbody></table><details><summary>The resolved scenario, every default written "
         "out</summary><pre>{}</pre></details></div>\n",
         html_text(data.at("resolved_scenario").get<std::string>()));
  return out;
}

std::string main_html(const Json& data, const std::vector<ReportChart>& charts) {
  std::string out = tiles_html(data);
  const bool judged = !data.at("slo").empty();
  if (judged)
    out += section_html("Does it hold, and by how much",
                        "The objective is judged in every window; rejected, timed-out, lost and "
                        "unfinished requests count as misses.",
                        chart_cards(charts, "slo") + limits_table(data));
  if (data.at("seeds").size() > 1)
    out += section_html(
        "Spread over seeds",
        "Runs that differ in nothing but chance, with the 95 % confidence interval of their mean.",
        seeds_table(data));
  out += section_html("Latency", "Share of GPU-served requests that took at most so long.",
                      chart_cards(charts, "latency") + latency_table(data));
  out += section_html("Over time", "Means of each interval.", chart_cards(charts, "time"));
  out += section_html("Where GPU time and memory go", "By kind of work and by purpose.",
                      chart_cards(charts, "gpu") + breakdown_table(data));
  std::string facts = run_facts(data);
  for (std::size_t i = 0; i < data.at("pools").size(); ++i) facts += pool_facts(data, i);
  out += section_html("Fleet and cost", "Counts are of the measured span.", facts);
  out += section_html("Assumptions", "What a reader must know before relying on the figures.",
                      assumptions_html(data));
  return out + section_html("Provenance",
                            "Same scenario, seed and version give the same page, byte for byte.",
                            provenance_html(data));
}

}  // namespace

std::string report_html(const Json& data) {
  const auto charts = report_charts(data);
  Page page;
  for (const ReportChart& chart : charts) page.charts[chart.name] = chart.spec;
  page.title =
      data.at("summary").at("scenario").at("name").get<std::string>() + ": " + headline(data);
  page.header = header_html(data);
  page.main = main_html(data, charts);
  return page_html(page);
}

}  // namespace fleetsim
