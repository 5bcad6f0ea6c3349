// Tables become text in one place; what they say is decided in validation_tables.

#include "sim/validation/validation_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <vector>

#include "hw_models/operators.h"
#include "sim/validation/validation_tables.h"

namespace fleetsim {
namespace {

template <typename... Args>
void append(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

/// Columns as wide as their widest cell; the first to the left, the others to the right.
std::string aligned(const ValidationTable& table) {
  std::vector<std::vector<std::string>> rows = table.rows;
  rows.insert(rows.begin(), table.head);
  std::vector<std::size_t> widths(table.head.size(), 0);
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += i == 0 ? fmt::format("  {:<{}}", row[i], widths[i])
                     : fmt::format("  {:>{}}", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

/// A cell of a Markdown table: no line ends, no column marks.
std::string markdown_cell(std::string text) {
  for (std::size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2))
    text.insert(at, "\\");
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

std::string validation_text(const Validation& validation) {
  std::string out;
  for (const ValidationTable& table : validation_tables(validation, true)) {
    append(out, "{}{}\n", out.empty() ? "" : "\n", table.title);
    if (!table.lead.empty()) append(out, "  {}\n", table.lead);
    out += aligned(table);
    for (const std::string& note : table.notes) append(out, "  - {}\n", note);
  }
  return out;
}

std::string validation_markdown(const Validation& validation) {
  std::string out =
      "# Validation\n\n"
      "Predictions beside measurements that others made. Written by `fleetsim validate --markdown "
      "VALIDATION.md`;\nnot edited by hand. Every class of rows is in it, the weak ones too.\n";
  for (const ValidationTable& table : validation_tables(validation, false)) {
    append(out, "\n## {}\n\n", table.title);
    if (!table.lead.empty()) append(out, "{}\n\n", table.lead);
    if (!table.rows.empty()) {
      append(out, "| {} |\n|", fmt::join(table.head, " | "));
      for (std::size_t i = 0; i < table.head.size(); ++i) out += i == 0 ? " --- |" : " ---: |";
      out += "\n";
      for (const auto& row : table.rows) {
        out += "|";
        for (const std::string& cell : row) append(out, " {} |", markdown_cell(cell));
        out += "\n";
      }
    }
    if (!table.notes.empty()) out += "\n";
    for (const std::string& note : table.notes) append(out, "- {}\n", note);
  }
  return out;
}

std::string rows_csv(const ServiceValidation& validation) {
  std::string out =
      "row_id,source,model,precision,gpu,version,tp,ep,isl,osl,clients,rate,scope,"
      "ttft_measured,ttft_predicted,tpot_measured,tpot_predicted,e2e_measured,e2e_predicted,"
      "ttft_error,tpot_error,e2e_error,ttft_median_predicted,batch_mean,iteration_ms,gemm_ms,"
      "attention_ms,communication_ms,elementwise_ms,host_ms,preemptions,refused\n";
  const auto text = [](const auto& value) { return value ? fmt::format("{}", *value) : ""; };
  for (const ValidatedRow& row : validation.rows) {
    if (!row.has_scenario()) continue;
    const ServiceRow& r = row.row;
    const ServicePrediction& p = row.prediction;
    append(out, "{},{},{},{},{},{},{},{},{},{},{},{},{}", r.row_id, r.source,
           catalogue_model(r.model), r.precision, r.gpu, r.version, text(r.tp), text(r.ep),
           text(r.prompt_tokens), text(r.output_tokens), text(r.clients), text(r.rate_per_s),
           name_of(row.scenario.scope));
    const std::array<ServiceMetric, 3> latencies = {ServiceMetric::ttft, ServiceMetric::tpot,
                                                    ServiceMetric::e2e};
    for (const ServiceMetric metric : latencies)
      if (const auto& pair = row.pair(metric))
        append(out, ",{:.5g},{:.5g}", pair->measured, pair->predicted);
      else
        out += ",,";
    for (const ServiceMetric metric : latencies)
      if (const auto& pair = row.pair(metric))
        append(out, ",{:.4f}", pair->error());
      else
        out += ",";
    append(out, ",{:.5g},{:.4g},{:.5g}", p.ttft_median_s, p.batch_mean, p.iteration_s * 1e3);
    for (const double part : p.parts_s) append(out, ",{:.5g}", part * 1e3);
    std::string refused = p.refused;
    std::replace(refused.begin(), refused.end(), ',', ';');
    append(out, ",{},{}\n", p.preemptions, refused);
  }
  return out;
}

}  // namespace fleetsim
