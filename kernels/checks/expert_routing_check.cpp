#include "kernels/checks/expert_routing_check.h"

#include <algorithm>
#include <cmath>

#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/reference/experts.h"
#include "kernels/reference/random_inputs.h"

namespace fleetsim::kernels {
namespace {

/// Of a sigmoid and a sum of two in fp32, with ex2.approx and rcp.approx.
constexpr double kScoreTolerance = 2e-6;

std::string described(const RoutingCase& c, std::uint64_t seed) {
  return std::to_string(c.tokens) + " tokens, " + std::to_string(c.experts_per_token) + " of " +
         std::to_string(c.experts) + " experts, " +
         (c.rule.score == RouterScore::softmax ? "softmax" : "sigmoid") + ", " +
         std::to_string(c.rule.groups_chosen) + " of " + std::to_string(c.rule.groups) +
         " groups, " + (c.rule.renormalise ? "renormalised" : "as they are") +
         (c.bf16 ? ", bf16" : "") + (c.bias ? ", bias" : "") + (c.coarse ? ", ties" : "") +
         ", seed " + std::to_string(seed);
}

}  // namespace

RoutingContradictions routing_contradictions(
    const std::vector<float>& logits, const std::vector<float>& bias, const RoutingRule& rule,
    const std::vector<std::int32_t>& ids, const std::vector<float>& weights, RoutingFault fault) {
  const auto experts = static_cast<int>(logits.size());
  const bool sigmoid = rule.score == RouterScore::sigmoid;
  const double tolerance = sigmoid ? kScoreTolerance : 0;
  ExpertScores scores = reference_expert_scores(
      logits, fault == RoutingFault::bias_forgotten ? std::vector<float>{} : bias, sigmoid);
  if (fault == RoutingFault::bias_in_weights) scores.weight = scores.score;
  std::vector<int> open(1, 1);
  if (rule.groups > 1)
    open = reference_open_groups(
        scores.score, rule.groups,
        rule.groups_chosen + (fault == RoutingFault::one_group_more ? 1 : 0), tolerance);
  const auto open_of = [&](int id) {
    return open[static_cast<std::size_t>(id / (experts / static_cast<int>(open.size())))];
  };

  RoutingContradictions result;
  std::vector<bool> taken(logits.size(), false);
  double sum = 0;
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= experts || taken[static_cast<std::size_t>(id)]) {
      result.choices += experts;
      return result;
    }
    taken[static_cast<std::size_t>(id)] = true;
    if (open_of(id) < 0) ++result.choices;
    for (int other = 0; other < experts; ++other) {
      if (taken[static_cast<std::size_t>(other)] || open_of(other) <= 0) continue;
      const bool turned = fault == RoutingFault::highest_of_the_tie;
      if (standing(scores.score[static_cast<std::size_t>(other)], turned ? -other : other,
                   scores.score[static_cast<std::size_t>(id)], turned ? -id : id, tolerance) > 0)
        ++result.choices;
    }
    sum += scores.weight[static_cast<std::size_t>(id)];
  }
  const bool renormalise = rule.renormalise != (fault == RoutingFault::not_renormalised);
  for (std::size_t slot = 0; slot < ids.size(); ++slot) {
    const double expected = scores.weight[static_cast<std::size_t>(ids[slot])] /
                            (renormalise ? sum : 1) * static_cast<double>(rule.scale);
    const double off =
        std::fabs(static_cast<double>(weights[slot]) - expected) / std::max(expected, 1e-30);
    result.weight_error = std::isfinite(off) ? std::max(result.weight_error, off) : INFINITY;
  }
  return result;
}

CheckReport check_routing_case(const RoutingCase& c, std::uint64_t seed, RoutingFault fault) {
  CheckReport report{described(c, seed), 0, kRoutingErrorLimit, ""};
  RandomInputs random(seed, "expert_routing " + report.what);
  const auto experts = static_cast<std::size_t>(c.experts);
  const auto picks = static_cast<std::size_t>(c.experts_per_token);
  const auto tokens = static_cast<std::size_t>(c.tokens);
  std::vector<float> logits = random.normals(tokens * experts, 2.0F), bias;
  std::vector<Bf16> rounded;
  for (float& logit : logits) {
    if (c.coarse) logit = std::round(2 * logit) / 2;
    if (!c.bf16) continue;
    rounded.push_back(to_bf16(logit));
    logit = to_float(rounded.back());
  }
  if (c.bias) bias = random.normals(experts, 0.1F);

  const DeviceBuffer<float> device_logits(logits), device_bias(bias);
  const DeviceBuffer<Bf16> device_rounded(rounded);
  ExpertRoutingArguments a;
  a.logits = c.bf16 ? nullptr : device_logits.data();
  a.logits_bf16 = c.bf16 ? device_rounded.data() : nullptr;
  a.bias = c.bias ? device_bias.data() : nullptr;
  a.tokens = c.tokens;
  a.experts = c.experts;
  a.experts_per_token = c.experts_per_token;
  a.rule = c.rule;
  std::vector<std::vector<std::int32_t>> ids;
  std::vector<std::vector<float>> weights;
  for (int time = 0; time < 2; ++time) {
    const DeviceBuffer<std::int32_t> device_ids(tokens * picks);
    const DeviceBuffer<float> device_weights(tokens * picks);
    a.ids = device_ids.data();
    a.weights = device_weights.data();
    launch_expert_routing(a, {});
    device_synchronize();
    ids.push_back(device_ids.values());
    weights.push_back(device_weights.values());
    if (!device_ids.guards_intact() || !device_weights.guards_intact())
      report.problem = "wrote outside its output";
  }
  if (ids[0] != ids[1] || weights[0] != weights[1])
    report.problem = "a second launch gave other bytes";

  const auto part = [](const auto& all, std::size_t first, std::size_t count) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first);
    return std::vector<typename std::decay_t<decltype(all)>::value_type>(
        begin, begin + static_cast<std::ptrdiff_t>(count));
  };
  double weight_error = 0;
  for (std::size_t token = 0; token < tokens; ++token) {
    const RoutingContradictions wrong = routing_contradictions(
        part(logits, token * experts, experts), bias, c.rule, part(ids[0], token * picks, picks),
        part(weights[0], token * picks, picks), fault);
    report.error += static_cast<double>(wrong.choices);
    weight_error = std::max(weight_error, wrong.weight_error);
  }
  report.error += weight_error;
  return report;
}

std::vector<CheckReport> check_expert_routing(std::uint64_t seed, Scale scale) {
  const RoutingRule mixtral{RouterScore::softmax, true, 1, 1, 1};
  const RoutingRule plain{RouterScore::softmax, false, 1, 1, 1};
  const RoutingRule deepseek{RouterScore::sigmoid, true, 2.5F, 8, 4};
  const RoutingRule sigmoid{RouterScore::sigmoid, false, 1, 1, 1};
  const RoutingRule many{RouterScore::sigmoid, true, 1, 32, 3};
  std::vector<RoutingCase> cases = {
      {9, 8, 2, mixtral, false, false, false},
      {5, 8, 2, plain, true, false, true},
      {3, 60, 4, plain, false, false, false},
      {6, 128, 8, mixtral, true, false, false},
      {6, 128, 4, mixtral, false, false, true},
      {6, 256, 8, deepseek, false, true, false},
      {6, 256, 8, deepseek, false, false, true},
      {5, 64, 6, sigmoid, false, true, false},
      {4, 320, 16, many, true, false, false},
      {3, 512, 16, plain, false, false, true},
      {4, 40, 3, {RouterScore::sigmoid, true, 1, 4, 2}, false, true, false},
      {1, 1, 1, mixtral, false, false, false},
      {2, 16, 16, plain, false, false, true},
      {0, 8, 2, mixtral, false, false, false},
  };
  if (scale == Scale::device)
    for (const int tokens : {1, 64, 1000, 16384}) {
      cases.push_back({tokens, 128, 8, mixtral, false, false, false});
      cases.push_back({tokens, 256, 8, deepseek, false, true, false});
      cases.push_back({tokens, 512, 10, mixtral, true, false, true});
    }
  std::vector<CheckReport> reports;
  for (const RoutingCase& c : cases) reports.push_back(check_routing_case(c, seed));
  return reports;
}

}  // namespace fleetsim::kernels
