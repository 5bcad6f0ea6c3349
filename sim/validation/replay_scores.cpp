#include "sim/validation/replay_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace fleetsim {
namespace {

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double residual_of(const ReplayedIteration& one) {
  return (*one.measured.graph - one.predicted.seconds) /
         static_cast<double>(stack_nodes(one.measured.stack));
}

/// Each half of the iterations scored with the constant that the other half gives.
std::optional<ErrorScores> scores_with_residual(const std::vector<ReplayedIteration>& iterations) {
  std::array<std::vector<double>, 2> residuals;
  for (std::size_t i = 0; i < iterations.size(); ++i)
    residuals[i % 2].push_back(residual_of(iterations[i]));
  if (residuals[0].empty() || residuals[1].empty()) return std::nullopt;
  std::vector<MeasuredPair> pairs;
  for (std::size_t i = 0; i < iterations.size(); ++i) {
    MeasuredPair pair = iterations[i].pair();
    pair.predicted += median_of(residuals[1 - i % 2]) *
                      static_cast<double>(stack_nodes(iterations[i].measured.stack));
    pairs.push_back(pair);
  }
  return error_scores(pairs);
}

void score_parts(ReplayScores& scores) {
  std::map<std::string, std::vector<MeasuredPair>> by_part;
  std::map<std::string, double> seconds;
  std::vector<MeasuredPair> sums;
  double all = 0;
  for (const ReplayedIteration& one : scores.iterations) {
    for (const auto& [name, measured] : one.measured.parts) {
      for (const PredictedPart& part : one.predicted.parts)
        if (part.name == name) by_part[name].push_back({measured, part.seconds});
      seconds[name] += measured;
      all += measured;
    }
    if (const auto sum = one.measured.sum_of_parts()) sums.push_back({*one.measured.graph, *sum});
  }
  for (const std::string& name : stack_part_names())
    if (const auto found = error_scores(by_part[name]))
      scores.parts.push_back({name, *found, seconds[name] / all});
  scores.gap = error_scores(sums);
}

}  // namespace

std::array<ReplayGate, 3> ReplayScores::gates() const {
  return {{{"median error", kReplayMedianLimit, all.median},
           {"90th percentile", kReplayP90Limit, all.p90},
           {"bias", kReplayBiasLimit, std::abs(all.bias)}}};
}

bool ReplayScores::passed() const {
  const auto all_gates = gates();
  return all.count > 0 && under_floor == 0 &&
         std::all_of(all_gates.begin(), all_gates.end(),
                     [](const ReplayGate& gate) { return gate.met(); });
}

std::vector<std::size_t> ReplayScores::worst(std::size_t count) const {
  std::vector<std::size_t> order(iterations.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::abs(iterations[a].pair().error()) > std::abs(iterations[b].pair().error());
  });
  order.resize(std::min(count, order.size()));
  return order;
}

ReplayScores score_replay(const MeasuredReplay& replay, ReplayPredictor& predictor) {
  ReplayScores scores;
  scores.folder = replay.folder;
  scores.gpu = replay.gpu;
  scores.started_utc = replay.started_utc;
  scores.stopped = replay.complete ? "" : replay.stopped;
  scores.prediction = predictor.kind();
  scores.warnings = replay.warnings;
  scores.graph_node_seconds = replay.graph_node_seconds;
  std::vector<double> eager;
  for (const MeasuredIteration& one : replay.iterations) {
    if (one.graph && one.eager) eager.push_back(*one.eager / *one.graph);
    const auto problem = predictor.problem(one.stack);
    if (!one.graph || problem) {
      scores.not_compared.push_back(fmt::format(
          "{} on {}: {}", text_of(one.composition), one.stack.name,
          problem ? *problem : std::string("its whole time as a graph was not measured")));
      continue;
    }
    scores.iterations.push_back({one, predictor.predict(one.stack, one.composition)});
    scores.under_floor += scores.iterations.back().under_floor() ? 1 : 0;
  }
  if (!eager.empty()) scores.eager_over_graph = median_of(std::move(eager));
  std::vector<MeasuredPair> pairs;
  std::map<CompositionKind, std::vector<MeasuredPair>> by_kind;
  std::vector<double> residuals;
  for (const ReplayedIteration& one : scores.iterations) {
    pairs.push_back(one.pair());
    by_kind[one.kind()].push_back(one.pair());
    residuals.push_back(residual_of(one));
  }
  if (const auto all = error_scores(pairs)) scores.all = *all;
  for (const auto& [kind, of_kind] : by_kind)
    if (const auto found = error_scores(of_kind)) scores.kinds.push_back({kind, *found});
  if (!residuals.empty()) scores.node_residual_seconds = median_of(std::move(residuals));
  scores.with_residual = scores_with_residual(scores.iterations);
  score_parts(scores);
  return scores;
}

}  // namespace fleetsim
