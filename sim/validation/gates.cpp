#include "sim/validation/gates.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "hw_models/yaml_reader.h"
#include "sim/report/output_folder.h"

namespace fleetsim {
namespace {

constexpr std::int64_t kRowsOfAGate = 3;

std::optional<ServiceMetric> metric_named(const std::string& name) {
  if (name == "ttft") return ServiceMetric::ttft;
  if (name == "tpot") return ServiceMetric::tpot;
  if (name == "e2e") return ServiceMetric::e2e;
  if (name == "throughput") return ServiceMetric::throughput;
  return std::nullopt;
}

Gate read_gate(const YamlNode& node, const std::string& path, Problems& problems) {
  Gate gate;
  const auto number = [&](const YamlNode& value) {
    double parsed = 0;
    const std::string& text = value.scalar;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
    if (error != std::errc() || end != text.data() + text.size() || !(parsed >= 0))
      problems.add(path, value.position, fmt::format("'{}' is no share or count", shown(text)));
    return parsed;
  };
  for (const YamlEntry& entry : node.entries) {
    if (entry.key == "of") {
      gate.of = entry.value.scalar;
    } else if (entry.key == "metric") {
      gate.metric = entry.value.scalar;
      if (gate.metric != "time" && !metric_named(gate.metric))
        problems.add(path, entry.value.position, "a metric is ttft, tpot, e2e, throughput or time");
    } else if (entry.key == "median") {
      gate.median = number(entry.value);
    } else if (entry.key == "p90") {
      gate.p90 = number(entry.value);
    } else if (entry.key == "rows") {
      gate.rows = std::llround(number(entry.value));
    } else {
      problems.add(path, entry.position, fmt::format("unknown key '{}'", shown(entry.key)));
    }
  }
  if (gate.of.empty() || gate.metric.empty())
    problems.add(path, node.position, "a gate needs `of` and `metric`");
  return gate;
}

/// The scores that a gate is about; nullptr when nothing was predicted.
const ErrorScores* scores_of(const Gate& gate, const Validation& validation) {
  if (gate.metric == "time") {
    if (!validation.operators) return nullptr;
    for (const FamilyScores& one : validation.operators->families)
      if (fmt::format("operators {} {}/{} {}", one.gpu, one.owner, one.engine, one.family) ==
          gate.of)
        return one.scores.count > 0 ? &one.scores : nullptr;
    return nullptr;
  }
  if (!validation.services) return nullptr;
  for (const auto* classes : {&validation.services->classes, &validation.services->sources})
    for (const ClassScores& one : *classes) {
      if (one.name() != gate.of || one.scope != RowScope::simulated) continue;
      const auto& scores = one.of(*metric_named(gate.metric));
      if (scores) return &*scores;
    }
  return nullptr;
}

}  // namespace

std::vector<Gate> read_gates(const std::string& path, Problems& problems) {
  std::vector<Gate> gates;
  const auto document = parse_yaml(read_whole_file(path), path, problems);
  if (!document) return gates;
  const YamlNode* list = document->find("gates");
  if (list == nullptr || list->kind != YamlNode::Kind::sequence) {
    problems.add(path, document->position, "`gates` must be a list");
    return gates;
  }
  for (const YamlNode& node : list->items) gates.push_back(read_gate(node, path, problems));
  return gates;
}

std::string gates_yaml(const Validation& validation) {
  std::string out =
      "# Errors that must not grow, as shares of the measured value. Recorded by\n"
      "#   fleetsim validate --services --record-gates tests/validation/gates.yaml\n"
      "# and only ever with a reason in the commit when one becomes wider.\ngates:\n";
  if (!validation.services) return out;
  const auto rounded_up = [](double share) { return std::ceil(share * 1000) / 1000; };
  const std::pair<ServiceMetric, const char*> metrics[] = {
      {ServiceMetric::ttft, "ttft"}, {ServiceMetric::tpot, "tpot"}, {ServiceMetric::e2e, "e2e"}};
  for (const auto* classes : {&validation.services->sources, &validation.services->classes})
    for (const ClassScores& one : *classes) {
      if (one.scope != RowScope::simulated || one.predicted < kRowsOfAGate) continue;
      for (const auto& [metric, name] : metrics)
        if (const auto& scores = one.of(metric))
          out += fmt::format("  - {{of: \"{}\", metric: {}, median: {}, p90: {}, rows: {}}}\n",
                             one.name(), name, rounded_up(scores->median * 1.05),
                             rounded_up(scores->p90 * 1.1), scores->count);
    }
  return out;
}

std::vector<std::string> broken_gates(const std::vector<Gate>& gates,
                                      const Validation& validation) {
  std::vector<std::string> broken;
  const auto judge = [&](const Gate& gate, const char* what, double limit, double value) {
    if (limit > 0 && value > limit)
      broken.push_back(fmt::format("{}: {} {} error {:.2f} % is beyond its gate of {:.2f} %",
                                   gate.of, gate.metric, what, value * 100, limit * 100));
  };
  for (const Gate& gate : gates) {
    const ErrorScores* scores = scores_of(gate, validation);
    if (scores == nullptr) {
      broken.push_back(fmt::format("{}: no {} was predicted", gate.of, gate.metric));
      continue;
    }
    if (scores->count < gate.rows)
      broken.push_back(
          fmt::format("{}: {} rows of {} were predicted", gate.of, scores->count, gate.rows));
    judge(gate, "median", gate.median, scores->median);
    judge(gate, "p90", gate.p90, scores->p90);
  }
  return broken;
}

}  // namespace fleetsim
