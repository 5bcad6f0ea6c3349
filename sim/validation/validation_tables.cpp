#include "sim/validation/validation_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <set>
#include <tuple>

#include "hw_models/operators.h"
#include "sim/validation/fitted_on.h"

namespace fleetsim {
namespace {

constexpr std::size_t kWorstRows = 10;

std::string percent(double share) { return fmt::format("{:.1f}", share * 100); }

/// "6.1 / 20.3 / +2.0": median, 90th percentile, bias.
std::string three_scores(const std::optional<ErrorScores>& scores) {
  if (!scores) return "";
  return fmt::format("{:.1f} / {:.1f} / {:+.1f}", scores->median * 100, scores->p90 * 100,
                     scores->bias * 100);
}

constexpr const char* kScoresLead =
    "Errors of the prediction in % of the measured value: median of |error| / its 90th percentile "
    "/ "
    "bias (median of the signed error).";

ValidationTable score_table(const std::string& title, const std::string& lead,
                            const std::vector<ClassScores>& classes) {
  ValidationTable table{
      title, lead, {"class", "rows", "TTFT", "TPOT", "E2E", "throughput"}, {}, {}};
  for (const ClassScores& one : classes) {
    std::vector<std::string> cells = {one.name() +
                                          (one.scope == RowScope::assumed ? " (assumed)" : "") +
                                          (one.fitted ? " *" : ""),
                                      fmt::format("{}/{}", one.predicted, one.rows)};
    for (const ServiceMetric metric : kAllServiceMetrics)
      cells.push_back(three_scores(one.of(metric)));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

ValidationTable coverage_table(const ServiceValidation& services) {
  ValidationTable table{
      "Coverage",
      "Coverage is the share of rows with a known configuration in scope (vLLM, no "
      "speculation, no DP attention, one node) that can be simulated.",
      {"", "rows", "predicted"},
      {},
      {}};
  std::map<RowScope, std::pair<std::int64_t, std::int64_t>> counts;
  for (const ValidatedRow& row : services.rows) {
    auto& [rows, predicted] = counts[row.scenario.scope];
    ++rows;
    predicted += row.predicted() ? 1 : 0;
  }
  for (const auto& [scope, count] : counts)
    table.rows.push_back({name_of(scope), fmt::format("{}", count.first),
                          scope == RowScope::simulated || scope == RowScope::assumed
                              ? fmt::format("{}", count.second)
                              : ""});
  const auto [rows, predicted] = counts[RowScope::simulated];
  if (rows > 0)
    table.notes.push_back(
        fmt::format("Coverage: {} % of {} rows.",
                    percent(static_cast<double>(predicted) / static_cast<double>(rows)), rows));
  return table;
}

ValidationTable rank_table(const ServiceValidation& services) {
  ValidationTable table{
      "Does it pick the right configuration?",
      "Spearman's rank correlation of throughput per GPU over configurations of one model at equal "
      "lengths (GPU, precision, parallelism, concurrency).",
      {"model", "rows", "groups of equal lengths", "correlation"},
      {},
      {}};
  for (const RankScores& one : services.ranks)
    table.rows.push_back({fmt::format("{} {}", one.source, one.model), fmt::format("{}", one.rows),
                          fmt::format("{}", one.groups), fmt::format("{:.3f}", one.correlation)});
  return table;
}

ValidationTable worst_table(const ServiceValidation& services) {
  ValidationTable table{"The ten worst rows",
                        "By the error of the end-to-end time, among rows of known configuration.",
                        {"row", "E2E error in %"},
                        {},
                        {}};
  std::vector<const ValidatedRow*> rows;
  for (const ValidatedRow& row : services.rows)
    if (row.scenario.scope == RowScope::simulated && row.pair(ServiceMetric::e2e))
      rows.push_back(&row);
  const auto size_of_error = [](const ValidatedRow* row) {
    return std::abs(row->pair(ServiceMetric::e2e)->error());
  };
  std::stable_sort(rows.begin(), rows.end(), [&](const ValidatedRow* a, const ValidatedRow* b) {
    return size_of_error(a) > size_of_error(b);
  });
  rows.resize(std::min(rows.size(), kWorstRows));
  for (const ValidatedRow* row : rows) {
    table.rows.push_back({fmt::format("{} {} {}: {}", row->row.row_id, row->row.source,
                                      catalogue_model(row->row.model), configuration_of(row->row)),
                          fmt::format("{:+.1f}", row->pair(ServiceMetric::e2e)->error() * 100)});
    table.notes.push_back(fmt::format("{}: {}", row->row.row_id, explained(*row)));
  }
  return table;
}

ValidationTable left_out_table(const std::string& title, const std::string& lead,
                               const std::vector<LeftOut>& list, bool brief) {
  ValidationTable table{title, lead, {"what, why", "rows"}, {}, {}};
  std::map<std::string, std::int64_t> counts;
  for (const LeftOut& one : list) {
    const std::string reason = one.reason.substr(0, one.reason.find(" (known:"));
    counts[brief ? fmt::format("{}: {}", one.scope, reason)
                 : fmt::format("{} {} {}: {}", one.source, one.model, one.gpu, reason)] += one.rows;
  }
  for (const auto& [text, count] : counts) table.rows.push_back({text, fmt::format("{}", count)});
  return table;
}

ValidationTable assumption_table(const ServiceValidation& services) {
  ValidationTable table{"What was assumed",
                        "What the source of a row does not say; none of it is chosen row by row.",
                        {"assumption", "rows"},
                        {},
                        {}};
  std::map<std::pair<std::string, std::string>, std::int64_t> counts;
  for (const ValidatedRow& row : services.rows)
    for (const std::string& text : row.scenario.assumptions) ++counts[{row.row.source, text}];
  for (const auto& [key, count] : counts)
    table.rows.push_back({fmt::format("{}: {}", key.first, key.second), fmt::format("{}", count)});
  return table;
}

ValidationTable ratio_table(const RatioValidation& ratios) {
  ValidationTable table{
      "GPU against GPU at maximum throughput",
      "Ratio of output tokens/s per GPU to the base GPU's, for the same model and lengths, each as "
      "it was run. Measured with TensorRT-LLM, simulated with the engine that exists.",
      {"source, model, base to GPU", "ratios", "measured, median", "median / p90 / bias in %"},
      {},
      ratios.assumptions};
  std::map<std::string, std::vector<MeasuredPair>> groups;
  for (const GpuRatio& one : ratios.ratios)
    groups[fmt::format("{} {}: {} to {}", one.source, one.model, one.base, one.gpu)].push_back(
        one.ratio);
  std::vector<MeasuredPair> all;
  for (const auto& [name, pairs] : groups) {
    std::vector<double> measured;
    for (const MeasuredPair& pair : pairs) measured.push_back(pair.measured);
    std::sort(measured.begin(), measured.end());
    table.rows.push_back({name, fmt::format("{}", pairs.size()),
                          fmt::format("{:.2f}", measured[measured.size() / 2]),
                          three_scores(error_scores(pairs))});
    all.insert(all.end(), pairs.begin(), pairs.end());
  }
  if (!all.empty())
    table.rows.push_back(
        {"all", fmt::format("{}", all.size()), "", three_scores(error_scores(all))});
  table.notes.push_back(
      fmt::format("{} of {} rows stand in a ratio; DP attention, pipeline stages "
                  "and open loops are left out.",
                  ratios.rows_in_ratios, ratios.rows));
  for (const std::string& refused : ratios.refused) table.notes.push_back("refused: " + refused);
  return table;
}

ValidationTable operator_table(const OperatorValidation& operators) {
  ValidationTable table{
      "Operators",
      "Every sound row of the imported tables against the fitted families; \"kept out\" is the "
      "fit's "
      "own score on sites that it had not seen. Shares: measured / interpolated / extrapolated / "
      "transferred or by published rates.",
      {"GPU, owner/engine, family", "rows", "median / p90 / bias in %", "kept out: rows",
       "median / p90", "shares in %", "flagged"},
      {},
      {}};
  for (const FamilyScores& one : operators.families) {
    const auto share = [&](std::int64_t count) {
      return one.scores.count > 0 ? std::llround(100.0 * static_cast<double>(count) /
                                                 static_cast<double>(one.scores.count))
                                  : 0;
    };
    const bool fitted = one.scores.count > 0;
    table.rows.push_back(
        {fmt::format("{} {}{} {}{}", one.gpu, one.owner, one.engine.empty() ? "" : "/" + one.engine,
                     one.family,
                     one.transferred_from.empty() ? "" : " from " + one.transferred_from),
         fmt::format("{}", one.rows), fitted ? three_scores(one.scores) : "no fit",
         one.held_out_rows > 0 ? fmt::format("{}", one.held_out_rows) : "",
         one.held_out_rows > 0
             ? fmt::format("{:.1f} / {:.1f}", one.held_out_median * 100, one.held_out_p90 * 100)
             : "",
         fitted ? fmt::format("{} / {} / {} / {}", share(one.provenance[0]),
                              share(one.provenance[1]), share(one.provenance[2]),
                              share(one.provenance[3] + one.provenance[4] + one.provenance[5]))
                : "",
         fmt::format("{}", one.flagged)});
  }
  return table;
}

void add_services(const ServiceValidation& services, bool brief,
                  std::vector<ValidationTable>& out) {
  out.push_back(coverage_table(services));
  out.push_back(score_table("Whole services, by source", kScoresLead, services.sources));
  if (!services.fitted.empty()) {
    out.push_back(score_table("Rows like those that parameters were fitted on",
                              "Marked * in the table of classes.", services.fitted));
    for (const FittedRows& rows : fitted_rows())
      out.back().notes.push_back(fmt::format("{} {} {} {}: {}", rows.source, rows.model, rows.gpu,
                                             rows.version, rows.parameter));
    out.push_back(score_table("Rows that no fit has seen", "", services.unseen));
  }
  out.push_back(
      score_table("Whole services, by class",
                  "Rows: predicted / in the data. (assumed): the version, the load or the "
                  "settings are not published, outside coverage.",
                  services.classes));
  out.push_back(rank_table(services));
  out.push_back(worst_table(services));
  if (!services.refused.empty())
    out.push_back(left_out_table("Refused", "In scope, but there is no price or no room.",
                                 services.refused, brief));
  out.push_back(left_out_table("Outside the scope", "Listed until their engines exist.",
                               services.other, brief));
  if (!brief) out.push_back(assumption_table(services));
}

}  // namespace

std::string configuration_of(const ServiceRow& row) {
  std::string text = fmt::format("{} {} tp{}", row.gpu, row.precision, row.tp.value_or(1));
  if (row.ep.value_or(1) > 1) text += fmt::format(" ep{}", *row.ep);
  text +=
      fmt::format(", {}/{} tokens", row.prompt_tokens.value_or(0), row.output_tokens.value_or(0));
  if (row.clients) text += fmt::format(", {} clients", *row.clients);
  if (!row.workload.empty()) text += fmt::format(", {} stage {}", row.workload, row.stage);
  return text;
}

std::string explained(const ValidatedRow& row) {
  std::string text;
  for (const ServiceMetric metric : {ServiceMetric::ttft, ServiceMetric::tpot}) {
    const auto& pair = row.pair(metric);
    if (!pair) continue;
    fmt::format_to(std::back_inserter(text), "{} {:.4g} ms predicted, {:.4g} ms measured; ",
                   name_of(metric), pair->predicted * 1e3, pair->measured * 1e3);
  }
  const ServicePrediction& sim = row.prediction;
  fmt::format_to(std::back_inserter(text), "mean iteration {:.4g} ms over {:.3g} requests",
                 sim.iteration_s * 1e3, sim.batch_mean);
  if (sim.iteration_s > 0) {
    std::vector<std::pair<double, std::string>> parts;
    for (int i = 0; i < kCostGroups; ++i)
      parts.emplace_back(sim.parts_s[static_cast<std::size_t>(i)],
                         name_of(static_cast<CostGroup>(i)));
    std::stable_sort(parts.begin(), parts.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    text += ":";
    for (const auto& [seconds, name] : parts)
      if (seconds > 0)
        fmt::format_to(std::back_inserter(text), " {} {:.0f} %", name,
                       100 * seconds / sim.iteration_s);
  }
  fmt::format_to(std::back_inserter(text), "; KV blocks {:.0f} % at the peak",
                 100 * sim.kv_blocks_peak_share);
  if (sim.preemptions > 0)
    fmt::format_to(std::back_inserter(text), ", {} preemptions", sim.preemptions);
  if (!row.scenario.assumptions.empty())
    text += "; assumed: " + fmt::format("{}", fmt::join(row.scenario.assumptions, "; "));
  return text;
}

std::vector<ValidationTable> validation_tables(const Validation& validation, bool brief) {
  std::vector<ValidationTable> out;
  if (validation.services) add_services(*validation.services, brief, out);
  if (validation.ratios && !validation.ratios->ratios.empty())
    out.push_back(ratio_table(*validation.ratios));
  if (validation.operators) out.push_back(operator_table(*validation.operators));
  return out;
}

}  // namespace fleetsim
