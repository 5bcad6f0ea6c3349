#include <nlohmann/json.hpp>

#include "calibrate/shape_columns.h"
#include "sim/report/summary_json.h"
#include "sim/validation/kept_out_scores.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

Json scores_json(const ErrorScores& scores) {
  return {{"rows", scores.count},
          {"median", scores.median},
          {"p90", scores.p90},
          {"bias", scores.bias}};
}

Json family_json(const KeptOutFamily& family) {
  Json json = {{"family", family.name}, {"rows", family.rows}, {"sites", family.sites}};
  if (family.scores) json["kept_out"] = scores_json(*family.scores);
  Json worst = Json::array();
  for (const KeptOutRow& row : family.worst)
    worst.push_back({{"call", text_of(row.shape)},
                     {"measured_s", row.measured_seconds},
                     {"predicted_s", row.predicted_seconds}});
  json["worst"] = std::move(worst);
  return json;
}

}  // namespace

std::string kept_out_json(const KeptOutScores& scores) {
  Json json = {{"schema", "fleetsim.kept_out/1"},
               {"version", fleetsim_version()},
               {"gpu", scores.gpu},
               {"families", Json::array()},
               {"not_fitted", scores.too_few_rows},
               {"replays", Json::array()}};
  for (const KeptOutFamily& family : scores.families)
    json["families"].push_back(family_json(family));
  for (const ReplayScores& replay : scores.replays) {
    Json one = {{"folder", replay.folder}, {"prediction", replay.prediction}};
    if (replay.all.count > 0) one["scores"] = scores_json(replay.all);
    one["passed"] = replay.passed();
    json["replays"].push_back(std::move(one));
  }
  return json_text(json);
}

}  // namespace fleetsim
