#include "sim/validation/validation_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <vector>

#include "hw_models/operators.h"

namespace fleetsim {
namespace {

template <typename... Args>
void append(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

std::string percent(double share) { return fmt::format("{:.1f}", share * 100); }
std::string signed_percent(double share) { return fmt::format("{:+.1f}", share * 100); }

/// Columns as wide as their widest cell; the first is text, the others numbers.
std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.resize(i + 1, 0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i)
      out += i == 0 ? fmt::format("{:<{}}", row[i], widths[i])
                    : fmt::format("  {:>{}}", row[i], widths[i]);
    out += '\n';
  }
  return out;
}

std::vector<std::string> score_cells(const ClassScores& scores, const std::string& name) {
  std::vector<std::string> cells = {name, fmt::format("{}/{}", scores.predicted, scores.rows)};
  for (const ServiceMetric metric : kAllServiceMetrics) {
    const auto& of = scores.of(metric);
    cells.push_back(of ? percent(of->median) : "");
    cells.push_back(of ? percent(of->p90) : "");
    cells.push_back(of ? signed_percent(of->bias) : "");
  }
  return cells;
}

std::vector<std::vector<std::string>> score_head() {
  return {{"", "rows", "TTFT", "", "", "TPOT", "", "", "E2E", "", "", "tok/s", "", ""},
          {"error in %", "", "med", "p90", "bias", "med", "p90", "bias", "med", "p90", "bias",
           "med", "p90", "bias"}};
}

std::string score_table(const std::vector<ClassScores>& classes) {
  auto table = score_head();
  for (const ClassScores& one : classes)
    table.push_back(score_cells(one, one.name() +
                                         (one.scope == RowScope::assumed ? " (assumed)" : "") +
                                         (one.fitted ? " *" : "")));
  return aligned(table);
}

std::string left_out_table(const std::vector<LeftOut>& list) {
  std::vector<std::vector<std::string>> table;
  for (const LeftOut& one : list)
    table.push_back(
        {fmt::format("  {} {} {}: {}", one.source, one.model, one.gpu, one.reason.substr(0, 160)),
         fmt::format("{}", one.rows)});
  return aligned(table);
}

}  // namespace

std::string services_text(const ServiceValidation& validation) {
  std::string out = "Services: predicted against measured (|error| and bias are medians)\n\n";
  out += score_table(validation.classes);
  out += "\nTotals by source\n";
  out += score_table(validation.sources);
  if (!validation.fitted.empty()) {
    out += "\nRows like those that parameters were fitted on\n" + score_table(validation.fitted);
    out += "\nRows that no fit has seen\n" + score_table(validation.unseen);
  }
  out += "\nOrder of throughput per GPU over configurations of one model (Spearman)\n";
  std::vector<std::vector<std::string>> ranks;
  for (const RankScores& one : validation.ranks)
    ranks.push_back({fmt::format("  {} {}", one.source, one.model), fmt::format("{}", one.rows),
                     fmt::format("{:.3f}", one.correlation)});
  out += aligned(ranks);
  if (!validation.refused.empty())
    out += "\nRefused: no price or no room\n" + left_out_table(validation.refused);
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
