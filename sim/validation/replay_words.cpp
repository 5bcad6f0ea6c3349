#include "sim/validation/replay_words.h"

#include <fmt/format.h>

#include "sim/report/decimal_text.h"

namespace fleetsim {
namespace {

std::vector<std::string> score_cells(const ErrorScores& scores) {
  return {count_text(scores.count), percent_text(scores.median), percent_text(scores.p90),
          signed_percent_text(scores.bias)};
}

std::vector<std::string> joined_cells(std::vector<std::string> first,
                                      const std::vector<std::string>& rest) {
  first.insert(first.end(), rest.begin(), rest.end());
  return first;
}

}  // namespace

std::string signed_percent_text(double share) {
  const std::string text = fmt::format("{:+.1f} %", 100 * share);
  return text == "-0.0 %" ? "+0.0 %" : text;
}

std::string replay_headline(const ReplayScores& scores) {
  if (scores.all.count == 0) return "No iteration could be compared";
  std::string missed;
  for (const ReplayGate& gate : scores.gates())
    if (!gate.met())
      missed += fmt::format("{}{} beyond {}", missed.empty() ? "" : ", ", gate.name,
                            percent_text(gate.limit));
  if (scores.under_floor > 0)
    missed += fmt::format("{}{} measured faster than the GPU can be", missed.empty() ? "" : ", ",
                          scores.under_floor);
  return fmt::format(
      "{} replayed iterations on {}: median error {}, 90th percentile {}, bias {}: {}",
      scores.all.count, scores.gpu, percent_text(scores.all.median), percent_text(scores.all.p90),
      signed_percent_text(scores.all.bias), missed.empty() ? "within the gates" : missed);
}

ReplayTable kinds_table(const ReplayScores& scores) {
  ReplayTable table{
      "Error of whole iterations by kind", {"iterations", "n", "median", "p90", "bias"}, {}};
  for (const KindScores& one : scores.kinds)
    table.rows.push_back(joined_cells({name_of(one.kind)}, score_cells(one.scores)));
  table.rows.push_back(joined_cells({"all"}, score_cells(scores.all)));
  std::vector<std::string> gates = {"gate", ""};
  for (const ReplayGate& gate : scores.gates()) gates.push_back(percent_text(gate.limit));
  table.rows.push_back(std::move(gates));
  return table;
}

ReplayTable parts_table(const ReplayScores& scores) {
  ReplayTable table{"Error by operator, over all layers",
                    {"operator", "share of time", "n", "median", "p90", "bias"},
                    {}};
  for (const PartScores& one : scores.parts)
    table.rows.push_back(
        joined_cells({one.part, percent_text(one.share)}, score_cells(one.scores)));
  return table;
}

ReplayTable operators_table(const ReplayedIteration& one) {
  ReplayTable table{
      iteration_text(one), {"operator", "predicted", "measured", "error", "from"}, {}};
  for (const PredictedPart& part : one.predicted.parts) {
    std::string measured = "-", error = "-";
    for (const auto& [name, seconds] : one.measured.parts)
      if (name == part.name) {
        measured = duration_text(seconds);
        error = signed_percent_text(part.seconds / seconds - 1);
      }
    table.rows.push_back({part.name, duration_text(part.seconds), measured, error, part.source});
  }
  return table;
}

std::string iteration_text(const ReplayedIteration& one) {
  return fmt::format("{}: {} measured, {} predicted: {} ({})",
                     signed_percent_text(one.pair().error()), duration_text(*one.measured.graph),
                     duration_text(one.predicted.seconds), text_of(one.measured.composition),
                     name_of(one.kind()));
}

std::vector<std::string> replay_findings(const ReplayScores& scores) {
  std::vector<std::string> out;
  out.push_back(fmt::format("Predicted by {}. No row of a replayed iteration is used in any fit.",
                            scores.prediction));
  out.push_back(
      "GPU time alone: a graph needs no host between kernels, so the host's time and collectives "
      "between GPUs are in neither side.");
  if (scores.gap)
    out.push_back(fmt::format(
        "Operators measured one by one add up to {} of the whole in the median ({} iterations, at "
        "most {} off at the 90th percentile): launches, overlap and what stays in the cache.",
        signed_percent_text(scores.gap->bias), scores.gap->count, percent_text(scores.gap->p90)));
  if (scores.all.count > 0) {
    std::string node = fmt::format(
        "Measured less predicted is {:.2f} µs for each kernel of a graph in the median; it is in "
        "no prediction.",
        scores.node_residual_seconds * 1e6);
    if (scores.graph_node_seconds > 0)
      node += fmt::format(" An empty node takes {:.2f} µs here.", scores.graph_node_seconds * 1e6);
    if (scores.with_residual)
      node += fmt::format(
          " With it, found on the other half of the iterations, the errors would be: median {}, "
          "90th percentile {}, bias {}.",
          percent_text(scores.with_residual->median), percent_text(scores.with_residual->p90),
          signed_percent_text(scores.with_residual->bias));
    out.push_back(std::move(node));
  }
  if (scores.eager_over_graph)
    out.push_back(fmt::format(
        "Launched one by one, iterations with chunks take {:.2f} times their time as a graph in "
        "the median.",
        *scores.eager_over_graph));
  out.push_back(scores.under_floor == 0
                    ? std::string("No iteration is faster than its bytes and FLOPs at the "
                                  "datasheet's rates allow.")
                    : fmt::format("{} iterations are faster than their bytes and FLOPs at the "
                                  "datasheet's rates allow: the measurement is at fault.",
                                  scores.under_floor));
  std::int64_t noisy = 0;
  for (const ReplayedIteration& one : scores.iterations) noisy += one.measured.noisy ? 1 : 0;
  if (noisy > 0) out.push_back(fmt::format("{} iterations have noisy times.", noisy));
  if (!scores.stopped.empty())
    out.push_back(fmt::format("The measurement is partial: {}.", scores.stopped));
  for (const std::string& warning : scores.warnings)
    out.push_back(fmt::format("While measuring: {}", warning));
  for (const std::string& one : scores.not_compared)
    out.push_back(fmt::format("Not compared: {}", one));
  return out;
}

}  // namespace fleetsim
