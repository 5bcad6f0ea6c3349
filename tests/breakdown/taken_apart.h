#pragma once
// Scenarios of one pool taken apart, for tests.

#include <fmt/format.h>

#include <string>
#include <vector>

#include "sim/breakdown/breakdown.h"
#include "sim/scenario/scenario_reader.h"

namespace fleetsim::example {

struct TakenApart {
  Scenario scenario;
  Deployment deployment;
  Breakdown breakdown;
  std::string faults;  // empty: `breakdown` is usable
};

/// `sets`: overrides of a scenario with one H100 that runs Llama-3.1-8B in bf16.
inline TakenApart take_apart(const BreakdownQuestion& question,
                             const std::vector<std::string>& sets = {}) {
  static const std::string text =
      "name: example\n"
      "workload: {requests: [{id: one, arrival: 0s, prompt_tokens: 1, output_tokens: 1}]}\n"
      "model: llama-3.1-8b\n"
      "fleet: {pools: [{name: main, gpu: h100-sxm}]}\n";
  TakenApart result;
  Problems problems;
  ReadOptions options;
  options.sets = sets;
  auto scenario = read_scenario_text(text, "example.yaml", "", options, problems);
  if (scenario) {
    result.scenario = std::move(*scenario);
    result.deployment = deploy(result.scenario, problems);
  }
  if (problems.empty())
    result.breakdown = break_down(result.scenario, result.deployment, 0, question, problems);
  result.faults = problems.text();
  return result;
}

inline const OperatorShare* find_operator(const PhaseBreakdown& phase, const std::string& name) {
  for (const OperatorShare& one : phase.operators)
    if (one.cost.name == name) return &one;
  return nullptr;
}

}  // namespace fleetsim::example
