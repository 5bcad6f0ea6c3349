// Errors of whole services as VALIDATION.md has them, linked into the program with the gates.

#include "sim/report/model_evidence.h"

#include <fmt/format.h>

#include <charconv>

#include "embedded/gates.h"
#include "hw_models/check.h"
#include "hw_models/problems.h"
#include "hw_models/yaml_reader.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

/// The median error in % that CI holds a class to, and how many rows it has.
struct Gate {
  double percent = 0;
  std::string rows;
};

const YamlNode& required(const YamlNode& node, const char* key) {
  const YamlNode* found = node.find(key);
  CHECK(found != nullptr, key);
  return *found;
}

Gate gate(const std::string& of, const std::string& metric) {
  static const YamlNode gates = [] {
    Problems problems;
    auto file = parse_yaml(std::string(embedded_gates().front().content), "gates.yaml", problems);
    CHECK(file && problems.size() == 0, problems.text());
    return required(*file, "gates");
  }();
  for (const YamlNode& entry : gates.items) {
    if (required(entry, "of").scalar != of || required(entry, "metric").scalar != metric) continue;
    const std::string& median = required(entry, "median").scalar;
    Gate found{0, required(entry, "rows").scalar};
    const auto [end, error] =
        std::from_chars(median.data(), median.data() + median.size(), found.percent);
    CHECK(error == std::errc() && end == median.data() + median.size(), median);
    found.percent *= 100;
    return found;
  }
  CHECK(false, of + " " + metric);
  return {};
}

bool any_pool(const Json& data, const char* kind) {
  for (const Json& pool : data.at("pools"))
    if (pool.at("cost_model").get<std::string>() == kind) return true;
  return false;
}

}  // namespace

bool roofline_priced(const Json& data) { return any_pool(data, "roofline"); }

std::string model_evidence(const Json& data) {
  if (roofline_priced(data))
    return "hardware model not yet validated: treat fleet sizes as estimates";
  if (!any_pool(data, "calibrated")) return "";
  const Gate closed = gate("inferencex", "e2e"), first = gate("inferencex", "ttft");
  const Gate open = gate("vllm-openloop", "e2e"), soon = gate("vllm-openloop", "ttft");
  return fmt::format(
      "operators fitted to measurements; on measured vLLM services (H100, H200, B200, B300) E2E "
      "was "
      "within {:.1f} % in the median and TTFT {:.0f} % (closed loop, {} rows), {:.1f} % and {:.0f} "
      "% "
      "(open loop, {}); other set-ups are less certain: VALIDATION.md",
      closed.percent, first.percent, closed.rows, open.percent, soon.percent, open.rows);
}

}  // namespace fleetsim
