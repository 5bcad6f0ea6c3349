#pragma once
// How far the model behind a run's iteration times has been held against measurements: one sentence
// for the summary and the report, from the recorded gates of tests/validation/gates.yaml.

#include <nlohmann/json.hpp>
#include <string>

namespace fleetsim {

/// "" where no hardware is priced. `data`: a run's report data; its pools name their cost models.
std::string model_evidence(const nlohmann::ordered_json& data);
/// Whether any pool is priced by the roofline, which no service measurement stands behind.
bool roofline_priced(const nlohmann::ordered_json& data);

}  // namespace fleetsim
