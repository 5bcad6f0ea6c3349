// Words and tables here, charts as data that plots/report.js draws; the frame is every report's.

#include "sim/breakdown/breakdown_page.h"

#include <fmt/format.h>

#include <iterator>
#include <map>

#include "sim/breakdown/breakdown_charts.h"
#include "sim/breakdown/headline.h"
#include "sim/report/decimal_text.h"
#include "sim/report/page.h"
#include "sim/report/report_charts.h"
#include "sim/report/summary_json.h"

namespace fleetsim {
namespace {

template <typename... Args>
void append(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

/// A table in a card over the whole width; cells are HTML.
class HtmlTable {
 public:
  explicit HtmlTable(const std::vector<std::string>& head, bool wide = true) {
    append(out_, "<div class=\"card{} scroll\"><table><thead><tr>", wide ? " wide" : "");
    for (const std::string& cell : head) append(out_, "<th>{}</th>", html_text(cell));
    out_ += "</tr></thead><tbody>";
  }
  void add(const std::vector<std::string>& row, bool total = false) {
    out_ += total ? "<tr class=\"total\">" : "<tr>";
    for (const std::string& cell : row) append(out_, "<td>{}</td>", html_text(cell));
    out_ += "</tr>";
  }
  std::string html() const { return out_ + "</tbody></table></div>\n"; }

 private:
  std::string out_;
};

std::string header_html(const Breakdown& b) {
  std::string out = fmt::format(
      "<p class=\"name\"><b>{}</b> &nbsp;·&nbsp; fleetsim {}</p>\n<span "
      "class=\"badge\">breakdown</span>\n<h1>{}</h1>\n",
      html_text(b.scenario), fleetsim_version(), html_text(breakdown_headline(b)));
  append(out,
         "<p class=\"question\">Where do memory, FLOPs, bytes and time go? {} weights, {} "
         "activations, {} KV cache; decode at batch {} with {} tokens each, prefill of {} "
         "tokens.</p>\n<ul class=\"why\">",
         name_of(b.precision.weights), name_of(b.precision.activations),
         name_of(b.precision.kv_cache), count_text(b.question.batch),
         count_text(b.question.context), count_text(b.question.prompt));
  for (const std::string& finding : breakdown_findings(b))
    append(out, "<li>{}</li>", html_text(finding));
  return out + "</ul>\n";
}

std::string tiles_html(const Breakdown& b) {
  std::string out;
  out += tile_html(
      "Decode iteration", duration_text(b.decode.time.value),
      fmt::format("{} tokens/s\nMFU {}\nMBU {}",
                  number_text(static_cast<double>(b.question.batch) / b.decode.time.value),
                  percent_text(b.decode.mfu), percent_text(b.decode.mbu)));
  out += tile_html(
      "Prompt", duration_text(b.prefill.time.value),
      fmt::format("{} tokens/s\nMFU {}\nMBU {}",
                  number_text(static_cast<double>(b.question.prompt) / b.prefill.time.value),
                  percent_text(b.prefill.mfu), percent_text(b.prefill.mbu)));
  out += tile_html("A decoded token", si_text(b.request.flops()) + "FLOP",
                   size_text(b.request.bytes) + " of HBM traffic\nat this batch");
  out +=
      tile_html("KV cache of a token", size_text(static_cast<double>(b.memory.kv.per_token.value)),
                size_text(static_cast<double>(b.memory.kv.per_request.value)) +
                    " a request\nof this context");
  out += tile_html("Weights", size_text(static_cast<double>(b.memory.plan.weights.value)),
                   count_text(b.memory.parameters) + "\nparameters on a GPU");
  out += tile_html("Requests that fit", count_text(b.memory.kv.batch_fits),
                   "of " + count_text(b.question.context) + " tokens\nin the KV pool");
  return tile_rows_html(out);
}

std::string memory_table(const Breakdown& b) {
  const MemoryPlan& plan = b.memory.plan;
  const double total = static_cast<double>(plan.total.value);
  HtmlTable table({"memory of one GPU", "parameters", "bytes each", "bytes", "", "share"});
  const auto add = [&](const std::string& name, Bytes bytes, const std::string& parameters = "",
                       const std::string& each = "", bool sum = false) {
    table.add({name, parameters, each, count_text(bytes.value),
               size_text(static_cast<double>(bytes.value)),
               percent_text(static_cast<double>(bytes.value) / total)},
              sum);
  };
  for (const WeightPart& part : b.memory.weights)
    add("weights: " + part.name, part.bytes, count_text(part.parameters),
        number_text(part.bytes_per_weight, 5));
  add("weights: rotary table", b.memory.rotary_table);
  add("weights", plan.weights, count_text(b.memory.parameters), "", true);
  add("KV cache, this batch", b.memory.kv_of_batch);
  add("KV cache, room left", plan.kv_cache - b.memory.kv_of_batch);
  add("KV cache", plan.kv_cache, "", "", true);
  add("activations", plan.activations);
  add("CUDA graphs", plan.cuda_graphs);
  add(part_title("non_torch"), plan.non_torch);
  add("free", plan.free);
  add("all", plan.total, "", "", true);
  return table.html();
}

std::string operators_table(const PhaseBreakdown& phase) {
  HtmlTable table({phase.name, "launches", "FLOP", "bytes", "wire bytes", "time", "share", "FLOP/s",
                   "bytes/s", "MFU", "MBU", "FLOP/byte", "verdict", "time from"});
  for (const OperatorShare& one : phase.operators) {
    const bool host = one.cost.group == CostGroup::host_overhead;
    const auto rate = [](double value) { return value > 0 ? si_text(value) : "–"; };
    table.add(
        {one.cost.name, host ? "–" : count_text(one.cost.launches), rate(one.cost.flops.value),
         rate(one.cost.bytes), rate(one.cost.wire_bytes), duration_text(one.cost.time.value),
         percent_text(one.share), rate(one.flops_per_second), rate(one.bytes_per_second),
         one.math ? percent_text(one.mfu) : "–", one.cost.bytes > 0 ? percent_text(one.mbu) : "–",
         one.intensity ? number_text(*one.intensity) : "–", name_of(one.bound), one.cost.source});
  }
  table.add(
      {"all", count_text(phase.launches), si_text(phase.flops.value), si_text(phase.bytes),
       phase.wire_bytes > 0 ? si_text(phase.wire_bytes) : "–", duration_text(phase.time.value),
       "100 %", si_text(phase.flops.value / phase.time.value),
       si_text(phase.bytes / phase.time.value), percent_text(phase.mfu), percent_text(phase.mbu),
       number_text(phase.flops.value / phase.bytes), name_of(phase.bound), ""},
      true);
  return table.html();
}

std::string sweep_table(const std::vector<SweepPoint>& points, bool batches) {
  HtmlTable table({batches ? "batch" : "context", "iteration", "tokens/s", "MFU", "MBU", "bound"},
                  false);
  for (const SweepPoint& one : points)
    table.add({count_text(batches ? one.batch : one.context),
               duration_text(one.iteration.time.value), number_text(one.tokens_per_second),
               percent_text(one.iteration.mfu), percent_text(one.iteration.mbu),
               name_of(one.iteration.bound)});
  return table.html();
}

std::string claims_html(const Breakdown& b) {
  std::string out =
      "<div class=\"card wide\"><table class=\"facts\"><thead><tr><th>what is often said</th><th>"
      "here</th></tr></thead><tbody>";
  for (const CheckedClaim& claim : checked_claims(b))
    append(out, "<tr><td>{}</td><td>{}</td></tr>", html_text(claim.claim), html_text(claim.here));
  return out + "</tbody></table></div>\n";
}

/// Shares of the time of both phases by where it comes from.
std::string provenance_html(const Breakdown& b) {
  std::string out = "<div class=\"card wide\"><ul class=\"plain\">";
  for (const PhaseBreakdown* phase : {&b.prefill, &b.decode}) {
    std::map<std::string, double> shares;
    for (const OperatorShare& one : phase->operators) shares[one.cost.source] += one.share;
    std::string words;
    for (const auto& [source, share] : shares)
      if (share > 0)
        words += fmt::format("{}{} {}", words.empty() ? "" : ", ", source, percent_text(share));
    append(out, "<li>Time of the {} from: {}.</li>", phase->name, html_text(words));
  }
  for (const std::string& note : b.deployment.notes) append(out, "<li>{}</li>", html_text(note));
  out +=
      "<li>MFU: useful FLOPs over the peak of the matrix products' format. MBU: the fewest bytes "
      "that must move over the datasheet's bandwidth; an operator's own counts its activations "
      "too.</li>"
      "<li>Verdicts: latency-bound where the fixed cost of launches is half of the time or more "
      "(of "
      "collectives: what the wire does not need); else the resource whose share of its datasheet "
      "rate is highest.</li>"
      "<li>FLOPs are useful ones; times include the padding to CUDA-graph sizes. PCIe and link "
      "times "
      "are at datasheet rates.</li>";
  return out + "</ul></div>\n";
}

std::string chart_cards(const std::vector<BreakdownChart>& charts, const std::string& section) {
  std::string out;
  for (const BreakdownChart& chart : charts)
    if (chart.section == section)
      append(out,
             "<div class=\"card{}\"><h3>{}</h3><p class=\"caption\">{}</p><div class=\"chart\" "
             "data-chart=\"{}\"></div></div>\n",
             chart.wide ? " wide" : "", html_text(chart.title), html_text(chart.caption),
             html_text(chart.name));
  return out;
}

}  // namespace

std::string breakdown_html(const Breakdown& b) {
  const std::vector<BreakdownChart> charts = breakdown_charts(b);
  Page page;
  for (const BreakdownChart& chart : charts) page.charts[chart.name] = chart.spec;
  page.title = breakdown_headline(b);
  page.header = header_html(b);
  page.main = tiles_html(b);
  page.main += section_html("Memory", "To the byte, of one GPU.",
                            chart_cards(charts, "memory") + memory_table(b));
  page.main += section_html("Time", "Of one prompt's prefill and of one decode iteration.",
                            chart_cards(charts, "time"));
  page.main +=
      section_html("Roofline", "Which resource an operator runs out of, and how near it comes.",
                   chart_cards(charts, "roofline"));
  page.main += section_html("Every operator", "Work and time of one GPU, over all layers.",
                            operators_table(b.prefill) + operators_table(b.decode));
  page.main += section_html("Other batches and contexts",
                            "How far the KV cache reaches, and what decides there.",
                            chart_cards(charts, "sweeps") + sweep_table(b.sweeps.batches, true) +
                                sweep_table(b.sweeps.contexts, false));
  page.main += section_html("What is often said, and what it is here",
                            "Common claims about where an LLM's resources go.", claims_html(b));
  page.main += section_html("What the figures rest on", "Sources of the times, and definitions.",
                            provenance_html(b));
  return page_html(page);
}

}  // namespace fleetsim
