#include "sim/validation/replay_json.h"

#include <nlohmann/json.hpp>

#include "sim/report/summary_json.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

Json scores_json(const ErrorScores& scores) {
  return {{"iterations", scores.count},
          {"median", scores.median},
          {"p90", scores.p90},
          {"bias", scores.bias}};
}

Json parts_json(const ReplayedIteration& one) {
  Json parts = Json::array();
  for (const PredictedPart& part : one.predicted.parts) {
    Json json = {{"part", part.name}, {"predicted_s", part.seconds}, {"source", part.source}};
    for (const auto& [name, seconds] : one.measured.parts)
      if (name == part.name) json["measured_s"] = seconds;
    parts.push_back(std::move(json));
  }
  return parts;
}

Json iteration_json(const ReplayedIteration& one) {
  Json json = {{"kind", name_of(one.kind())},
               {"stack", one.measured.stack.name},
               {"weights", one.measured.stack.weights},
               {"kv_dtype", one.measured.stack.kv_dtype},
               {"page_tokens", one.measured.stack.page_tokens},
               {"new_tokens", one.measured.composition.fresh},
               {"cached_tokens", one.measured.composition.cached},
               {"measured_s", *one.measured.graph},
               {"predicted_s", one.predicted.seconds},
               {"error", one.pair().error()},
               {"floor_s", one.predicted.floor_seconds},
               {"noisy", one.measured.noisy}};
  if (one.measured.eager) json["eager_s"] = *one.measured.eager;
  if (const auto sum = one.measured.sum_of_parts()) json["sum_of_parts_s"] = *sum;
  json["parts"] = parts_json(one);
  return json;
}

}  // namespace

std::string replay_json(const ReplayScores& scores) {
  Json json = {{"schema", "fleetsim.replay/1"},
               {"version", fleetsim_version()},
               {"gpu", scores.gpu},
               {"measured", scores.started_utc},
               {"prediction", scores.prediction}};
  if (!scores.stopped.empty()) json["stopped"] = scores.stopped;
  if (scores.all.count > 0) {
    json["scores"] = scores_json(scores.all);
    json["gates"] = Json::array();
    for (const ReplayGate& gate : scores.gates())
      json["gates"].push_back({{"name", gate.name},
                               {"limit", gate.limit},
                               {"reached", gate.reached},
                               {"met", gate.met()}});
    json["node_residual_s"] = scores.node_residual_seconds;
  }
  if (scores.with_residual) json["with_node_residual"] = scores_json(*scores.with_residual);
  if (scores.graph_node_seconds > 0) json["empty_node_s"] = scores.graph_node_seconds;
  if (scores.gap) json["sum_of_parts_against_whole"] = scores_json(*scores.gap);
  if (scores.eager_over_graph) json["eager_over_graph"] = *scores.eager_over_graph;
  json["under_floor"] = scores.under_floor;
  json["kinds"] = Json::array();
  for (const KindScores& one : scores.kinds) {
    Json kind = {{"kind", name_of(one.kind)}};
    kind.update(scores_json(one.scores));
    json["kinds"].push_back(std::move(kind));
  }
  json["parts"] = Json::array();
  for (const PartScores& one : scores.parts) {
    Json part = {{"part", one.part}, {"share", one.share}};
    part.update(scores_json(one.scores));
    json["parts"].push_back(std::move(part));
  }
  json["iterations"] = Json::array();
  for (const ReplayedIteration& one : scores.iterations)
    json["iterations"].push_back(iteration_json(one));
  json["not_compared"] = scores.not_compared;
  json["warnings"] = scores.warnings;
  return json_text(json);
}

}  // namespace fleetsim
