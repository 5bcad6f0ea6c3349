// A chart is a spec file and named data sets.

#include "sim/report/chart_spec.h"

#include "embedded/plots.h"
#include "hw_models/check.h"

namespace fleetsim {

using Json = nlohmann::ordered_json;

std::string plot_file(const std::string& name) {
  for (const EmbeddedFile& file : embedded_plots())
    if (file.name == name) return std::string(file.content);
  CHECK(false, "plots/" + name + " is not embedded");
  return "";
}

Json spec_with(const std::string& file, Json datasets) {
  Json spec = Json::parse(plot_file(file));
  if (spec.contains("layer")) {
    Json layers = Json::array();
    for (const Json& layer : spec["layer"])
      if (!datasets.at(layer.at("data").at("name").get<std::string>()).empty())
        layers.push_back(layer);
    spec["layer"] = std::move(layers);
  }
  spec["datasets"] = std::move(datasets);
  return spec;
}

void set_parameter(Json& spec, const std::string& name, Json value) {
  for (Json& parameter : spec.at("params"))
    if (parameter.at("name") == name) {
      parameter["value"] = std::move(value);
      return;
    }
  CHECK(false, "no parameter " + name);
}

}  // namespace fleetsim
