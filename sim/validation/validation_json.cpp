#include "sim/validation/validation_json.h"

#include <nlohmann/json.hpp>

#include "hw_models/operators.h"
#include "sim/report/summary_json.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

Json scores_json(const ErrorScores& scores) {
  return {{"rows", scores.count},
          {"median", scores.median},
          {"p90", scores.p90},
          {"bias", scores.bias}};
}

const char* key_of(ServiceMetric metric) {
  switch (metric) {
    case ServiceMetric::ttft:
      return "ttft";
    case ServiceMetric::tpot:
      return "tpot";
    case ServiceMetric::e2e:
      return "e2e";
    case ServiceMetric::throughput:
      return "throughput";
  }
  return "";
}

Json class_json(const ClassScores& one) {
  Json json = {{"class", one.name()},
               {"scope", name_of(one.scope)},
               {"fitted", one.fitted},
               {"rows", one.rows},
               {"predicted", one.predicted}};
  for (const ServiceMetric metric : kAllServiceMetrics)
    if (const auto& scores = one.of(metric)) json[key_of(metric)] = scores_json(*scores);
  return json;
}

Json classes_json(const std::vector<ClassScores>& classes) {
  Json list = Json::array();
  for (const ClassScores& one : classes) list.push_back(class_json(one));
  return list;
}

Json row_json(const ValidatedRow& row) {
  Json json = {{"row_id", row.row.row_id}, {"source", row.row.source},
               {"model", row.row.model},   {"gpu", row.row.gpu},
               {"engine", row.engine()},   {"scope", name_of(row.scenario.scope)}};
  if (!row.scenario.reason.empty()) json["reason"] = row.scenario.reason;
  if (!row.prediction.refused.empty()) json["refused"] = row.prediction.refused;
  if (!row.scenario.assumptions.empty()) json["assumptions"] = row.scenario.assumptions;
  if (!row.predicted()) return json;
  for (const ServiceMetric metric : kAllServiceMetrics)
    if (const auto& pair = row.pair(metric))
      json[key_of(metric)] = {{"measured", pair->measured}, {"predicted", pair->predicted}};
  json["batch_mean"] = row.prediction.batch_mean;
  Json parts = Json::object();
  for (int i = 0; i < kCostGroups; ++i)
    parts[name_of(static_cast<CostGroup>(i))] = row.prediction.parts_s[static_cast<std::size_t>(i)];
  json["iteration"] = {{"mean_s", row.prediction.iteration_s}, {"parts_s", parts}};
  return json;
}

Json services_json(const ServiceValidation& services) {
  Json json;
  json["sources"] = classes_json(services.sources);
  json["fitted"] = classes_json(services.fitted);
  json["unseen"] = classes_json(services.unseen);
  json["classes"] = classes_json(services.classes);
  json["ranks"] = Json::array();
  for (const RankScores& one : services.ranks)
    json["ranks"].push_back({{"source", one.source},
                             {"model", one.model},
                             {"rows", one.rows},
                             {"groups", one.groups},
                             {"correlation", one.correlation}});
  json["rows"] = Json::array();
  for (const ValidatedRow& row : services.rows) json["rows"].push_back(row_json(row));
  return json;
}

Json operators_json(const OperatorValidation& operators) {
  Json list = Json::array();
  for (const FamilyScores& one : operators.families) {
    Json json = {{"gpu", one.gpu},
                 {"owner", one.owner},
                 {"engine", one.engine},
                 {"family", one.family},
                 {"rows", one.rows},
                 {"flagged", one.flagged},
                 {"without_fit", one.without_fit}};
    if (one.scores.count > 0) json["scores"] = scores_json(one.scores);
    if (one.held_out_rows > 0)
      json["held_out"] = {{"rows", one.held_out_rows},
                          {"median", one.held_out_median},
                          {"p90", one.held_out_p90},
                          {"what", one.held_out}};
    Json provenance = Json::object();
    for (int i = 0; i < kProvenances; ++i)
      provenance[name_of(static_cast<Provenance>(i))] = one.provenance[static_cast<std::size_t>(i)];
    json["provenance"] = provenance;
    list.push_back(std::move(json));
  }
  return list;
}

Json ratios_json(const RatioValidation& ratios) {
  Json list = Json::array();
  for (const GpuRatio& one : ratios.ratios)
    list.push_back({{"source", one.source},
                    {"version", one.version},
                    {"model", one.model},
                    {"prompt_tokens", one.prompt_tokens},
                    {"output_tokens", one.output_tokens},
                    {"base", one.base},
                    {"gpu", one.gpu},
                    {"measured", one.ratio.measured},
                    {"predicted", one.ratio.predicted}});
  return list;
}

}  // namespace

std::string validation_json(const Validation& validation) {
  Json json = {{"schema", "fleetsim.validation/1"}, {"version", fleetsim_version()}};
  if (validation.services) json["services"] = services_json(*validation.services);
  if (validation.ratios) json["gpu_ratios"] = ratios_json(*validation.ratios);
  if (validation.operators) json["operators"] = operators_json(*validation.operators);
  return json_text(json);
}

}  // namespace fleetsim
