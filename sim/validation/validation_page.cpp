// The report page's style with plots drawn here: some thousand points need no chart library.

#include "sim/validation/validation_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "sim/report/chart_spec.h"
#include "sim/report/page.h"
#include "sim/report/summary_json.h"
#include "sim/validation/scatter_plot.h"
#include "sim/validation/validation_tables.h"

namespace fleetsim {
namespace {

template <typename... Args>
void append(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

/// Fourteen colours told apart in both schemes; then they repeat.
constexpr const char* kPlotStyle = R"(
.scatter { width: 100%; height: auto; display: block; }
.scatter text { fill: var(--soft); font-size: 11px; }
.scatter .axis { font-size: 12.5px; }
.scatter .rule { stroke: var(--line); stroke-width: 1; fill: none; }
.scatter .band { fill: var(--accent); opacity: .12; }
.scatter .diagonal { stroke: var(--accent); stroke-width: 1.4; fill: none; }
.scatter circle { fill-opacity: .72; }
.s0 { fill: #4c78a8; } .s1 { fill: #f58518; } .s2 { fill: #54a24b; } .s3 { fill: #e45756; }
.s4 { fill: #b279a2; } .s5 { fill: #72b7b2; } .s6 { fill: #ff9da6; } .s7 { fill: #9d755d; }
.s8 { fill: #eeca3b; } .s9 { fill: #8a8f98; } .s10 { fill: #2f8f9d; } .s11 { fill: #c2452d; }
.s12 { fill: #7b61c9; } .s13 { fill: #8cb83d; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 14px; padding: 0; list-style: none; font-size: 13px; color: var(--soft); }
.legend svg { width: 11px; height: 11px; margin-right: 6px; }
td:first-child { white-space: normal; min-width: 15em; }
)";
constexpr std::size_t kColours = 14;

std::string unit_of(ServiceMetric metric) {
  return metric == ServiceMetric::throughput ? "output tokens/s" : "ms";
}

/// Models by name, each with its place among the colours.
std::map<std::string, std::size_t> colours(const ServiceValidation& services) {
  std::map<std::string, std::size_t> places;
  for (const ValidatedRow& row : services.rows)
    if (row.predicted()) places[catalogue_model(row.row.model)] = 0;
  std::size_t next = 0;
  for (auto& [model, place] : places) place = next++ % kColours;
  return places;
}

std::string plots_html(const ServiceValidation& services) {
  const std::map<std::string, std::size_t> places = colours(services);
  std::string out =
      "<section><h2>Predicted against measured</h2>\n<p class=\"lead\">One point a row; the line "
      "is "
      "a perfect prediction, the band 10 % around it. Rest the pointer on a point for its "
      "row.</p>\n"
      "<ul class=\"legend\">";
  for (const auto& [model, place] : places)
    append(out,
           "<li><svg viewBox=\"0 0 10 10\"><circle class=\"s{}\" cx=\"5\" cy=\"5\" "
           "r=\"5\"/></svg>{}</li>",
           place, html_text(model));
  out += "</ul>\n<div class=\"grid\">\n";
  for (const ServiceMetric metric : kAllServiceMetrics) {
    const double scale = metric == ServiceMetric::throughput ? 1 : 1e3;
    std::vector<ScatterPoint> points;
    for (const ValidatedRow& row : services.rows) {
      const auto& pair = row.pair(metric);
      if (!pair) continue;
      points.push_back({pair->measured * scale, pair->predicted * scale,
                        places.at(catalogue_model(row.row.model)),
                        fmt::format("{} {} {}, {}: {:.4g} measured, {:.4g} predicted ({:+.1f} %)",
                                    row.row.source, catalogue_model(row.row.model), row.engine(),
                                    configuration_of(row.row), pair->measured * scale,
                                    pair->predicted * scale, pair->error() * 100)});
    }
    append(out, "<div class=\"card\"><h3>{}</h3>\n<p class=\"caption\">{} rows</p>\n{}</div>\n",
           name_of(metric), points.size(), scatter_svg(name_of(metric), unit_of(metric), points));
  }
  return out + "</div></section>\n";
}

std::string table_html(const ValidationTable& table) {
  std::string out = fmt::format("<section><h2>{}</h2>\n", html_text(table.title));
  if (!table.lead.empty()) append(out, "<p class=\"lead\">{}</p>\n", html_text(table.lead));
  out += "<div class=\"card\">";
  if (!table.rows.empty()) {
    out += "<div class=\"scroll\"><table><thead><tr>";
    for (const std::string& cell : table.head) append(out, "<th>{}</th>", html_text(cell));
    out += "</tr></thead><tbody>\n";
    for (const auto& row : table.rows) {
      out += "<tr>";
      for (const std::string& cell : row) append(out, "<td>{}</td>", html_text(cell));
      out += "</tr>\n";
    }
    out += "</tbody></table></div>";
  }
  if (!table.notes.empty()) {
    out += "<ul class=\"plain\">";
    for (const std::string& note : table.notes) append(out, "<li>{}</li>\n", html_text(note));
    out += "</ul>";
  }
  return out + "</div></section>\n";
}

}  // namespace

std::string validation_html(const Validation& validation) {
  std::string out =
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'; img-src data:\">\n<link rel=\"icon\" href=\"data:,\">\n"
      "<title>fleetsim: predictions beside measurements</title>\n<style>";
  out += plot_file("report.css") + kPlotStyle;
  append(out,
         "</style>\n</head>\n<body>\n<header class=\"top\"><p class=\"name\"><b>validation</b> "
         "&nbsp;·&nbsp; fleetsim {}</p>\n<h1>How far predictions are from what others "
         "measured</h1></header>\n<main>\n",
         html_text(fleetsim_version()));
  if (validation.services) out += plots_html(*validation.services);
  for (const ValidationTable& table : validation_tables(validation, false))
    out += table_html(table);
  return out + "</main>\n<footer>Written by fleetsim validate.</footer>\n</body>\n</html>\n";
}

}  // namespace fleetsim
