// Words and tables of replay_words, charts as data that plots/report.js draws.

#include "sim/validation/replay_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sim/report/chart_spec.h"
#include "sim/report/decimal_text.h"
#include "sim/report/page.h"
#include "sim/report/summary_json.h"
#include "sim/validation/replay_words.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kWorst = 5;
constexpr double kRoom = 1.2;  // beyond the outermost points, on both axes

std::string table_html(const ReplayTable& table, bool wide) {
  if (table.rows.empty()) return "";
  std::string out = fmt::format("<div class=\"card{} scroll\"><h3>{}</h3><table><thead><tr>",
                                wide ? " wide" : "", html_text(table.title));
  for (const std::string& cell : table.head) out += fmt::format("<th>{}</th>", html_text(cell));
  out += "</tr></thead><tbody>";
  for (const std::vector<std::string>& row : table.rows) {
    out += row.front() == "all" ? "<tr class=\"total\">" : "<tr>";
    for (const std::string& cell : row) out += fmt::format("<td>{}</td>", html_text(cell));
    out += "</tr>";
  }
  return out + "</tbody></table></div>\n";
}

std::string chart_html(const char* name, const char* title, const std::string& caption) {
  return fmt::format(
      "<div class=\"card\"><h3>{}</h3><p class=\"caption\">{}</p><div class=\"chart\" "
      "data-chart=\"{}\"></div></div>\n",
      html_text(title), html_text(caption), name);
}

Json points_of(const ReplayScores& scores) {
  Json points = Json::array();
  for (const ReplayedIteration& one : scores.iterations)
    points.push_back({{"kind", name_of(one.kind())},
                      {"measured", *one.measured.graph},
                      {"predicted", one.predicted.seconds},
                      {"error", one.pair().error()},
                      {"what", text_of(one.measured.composition)},
                      {"measured_text", duration_text(*one.measured.graph)},
                      {"predicted_text", duration_text(one.predicted.seconds)},
                      {"error_text", signed_percent_text(one.pair().error())}});
  return points;
}

Json scatter_spec(const ReplayScores& scores) {
  double low = *scores.iterations.front().measured.graph, high = low;
  for (const ReplayedIteration& one : scores.iterations) {
    low = std::min({low, *one.measured.graph, one.predicted.seconds});
    high = std::max({high, *one.measured.graph, one.predicted.seconds});
  }
  low /= kRoom;
  high *= kRoom;
  Json guides = Json::array();
  for (const double factor : {1 - kReplayP90Limit, 1.0, 1 + kReplayP90Limit})
    for (const double at : {low, high})
      guides.push_back({{"measured", at},
                        {"predicted", at * factor},
                        {"guide", fmt::format("{:.2f}", factor)},
                        {"exact", factor == 1.0 ? "yes" : "no"}});
  Json spec = spec_with("replay_scatter.vl.json",
                        {{"guides", std::move(guides)}, {"points", points_of(scores)}});
  set_parameter(spec, "low", low);
  set_parameter(spec, "high", high);
  return spec;
}

Json errors_spec(const ReplayScores& scores) {
  Json gates = Json::array(), medians = Json::array(), kinds = Json::array();
  for (const double limit : {-kReplayMedianLimit, 0.0, kReplayMedianLimit})
    gates.push_back({{"error", limit}, {"exact", limit == 0 ? "yes" : "no"}});
  for (const KindScores& one : scores.kinds) {
    kinds.push_back(name_of(one.kind));
    medians.push_back({{"kind", name_of(one.kind)},
                       {"error", one.scores.bias},
                       {"error_text", signed_percent_text(one.scores.bias)},
                       {"what", fmt::format("bias of {} iterations", one.scores.count)}});
  }
  Json spec = spec_with("replay_errors.vl.json", {{"gates", std::move(gates)},
                                                  {"points", points_of(scores)},
                                                  {"medians", std::move(medians)}});
  spec["height"] = 60 * scores.kinds.size() + 30;
  return spec;
}

std::string tiles_html(const ReplayScores& scores) {
  std::string out;
  for (const ReplayGate& gate : scores.gates())
    out += tile_html(
        gate.name, percent_text(gate.reached),
        fmt::format("gate {}\n{}", percent_text(gate.limit), gate.met() ? "met" : "missed"),
        gate.met() ? "met" : "missed");
  out += tile_html("Iterations", count_text(scores.all.count),
                   fmt::format("on {}\n{}", scores.gpu, scores.started_utc.substr(0, 10)));
  out +=
      tile_html("Left over a kernel", fmt::format("{:.2f} µs", scores.node_residual_seconds * 1e6),
                "measured less predicted\nin no prediction");
  if (scores.gap)
    out += tile_html("Sum of operators", signed_percent_text(scores.gap->bias),
                     fmt::format("against the whole\n{} iterations", scores.gap->count));
  return tile_rows_html(out);
}

}  // namespace

std::string replay_html(const ReplayScores& scores) {
  Page page;
  page.title = replay_headline(scores);
  page.header = fmt::format(
      "<p class=\"name\"><b>replay</b> &nbsp;·&nbsp; fleetsim {}</p>\n<span "
      "class=\"badge\">calibrate</span>\n<h1>{}</h1>\n<p class=\"question\">Does the model "
      "predict whole iterations that a simulation produced and real kernels ran?</p>\n",
      html_text(fleetsim_version()), html_text(page.title));
  if (scores.all.count > 0) {
    page.charts["replay_scatter"] = scatter_spec(scores);
    page.charts["replay_errors"] = errors_spec(scores);
    page.main = tiles_html(scores);
    page.main += section_html(
        "Whole iterations", "Each point is an iteration, run as one CUDA graph.",
        chart_html(
            "replay_scatter", "Predicted against measured",
            fmt::format("On the line: exact. Dashed: {} off.", percent_text(kReplayP90Limit))) +
            chart_html("replay_errors", "Error by kind of iteration",
                       fmt::format("Right of zero the model is too slow. Dashed: {}. Bars: bias.",
                                   percent_text(kReplayMedianLimit))) +
            table_html(kinds_table(scores), true));
    page.main += section_html("Operators", "Of iterations whose operators were measured alone.",
                              scores.parts.empty()
                                  ? std::string("<div class=\"card wide\"><p>No operator was "
                                                "measured alone.</p></div>\n")
                                  : table_html(parts_table(scores), true));
    std::string worst;
    for (const std::size_t place : scores.worst(kWorst))
      worst += table_html(operators_table(scores.iterations[place]), true);
    page.main += section_html("The worst", "Operator by operator, over all layers.", worst);
  }
  std::string findings = "<div class=\"card wide\"><ul class=\"plain\">";
  for (const std::string& finding : replay_findings(scores))
    findings += fmt::format("<li>{}</li>\n", html_text(finding));
  page.main += section_html("What the figures rest on", "How it was measured and compared.",
                            findings + "</ul></div>\n");
  return page_html(page);
}

}  // namespace fleetsim
