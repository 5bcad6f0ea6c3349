#include "calibrate/replay_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "kernels/measure/grid.h"
#include "kernels/measure/stack_shape.h"

namespace fleetsim {
namespace {

/// Of the GPU's memory; the rest is the context's, the kernels' workspaces' and the arena's waste.
constexpr double kUsableMemory = 0.92;

double number(std::int64_t n) { return static_cast<double>(n); }

/// Bytes that the stack needs for a composition: weights, paged KV, and the activations of one
/// layer with the logits.
double bytes_needed(const ReplayStack& stack, const Composition& composition) {
  const ModelSpec& model = stack.model();
  const Precision precision = stack.precision();
  const double weights = number(model.weight_bytes_per_rank(precision, stack.tp()).value);
  const double kv =
      number(model.kv_bytes_per_token_per_rank(precision.kv_cache, stack.tp()).value) *
      number(composition.paged_kv_tokens(stack.page_tokens));
  const double ranks = number(stack.tp());
  const double width = 3 * number(model.hidden) + 2 * number(model.heads * model.head_dim) / ranks +
                       2 * number(model.kv_heads_per_rank(stack.tp()) * model.head_dim) +
                       3 * number(model.ffn) / ranks;
  const double logits =
      4 * number(model.vocab) / ranks * number(static_cast<std::int64_t>(composition.sequences()));
  return weights + kv + 2 * width * number(composition.new_tokens()) + logits;
}

/// Why a composition cannot run; empty when it can.
std::string obstacle(const ReplayStack& stack, const Composition& composition, const GpuSpec* gpu) {
  const std::int64_t longest = composition.longest(), most = stack.model().max_context;
  if (longest > most)
    return fmt::format("a sequence of {} tokens; {} takes {} at most", longest, stack.model().name,
                       most);
  if (gpu == nullptr) return "";
  const double needed = bytes_needed(stack, composition);
  const double usable = kUsableMemory * number(gpu->memory_reported.value);
  if (needed <= usable) return "";
  return fmt::format("needs {:.1f} GB of memory; {} has {:.1f} GB for it", needed / 1e9, gpu->name,
                     usable / 1e9);
}

kernels::Point point_of(const ReplayStack& stack, const Composition& composition,
                        const std::string& mode, const std::string& part) {
  return kernels::sound_point("iteration",
                              {{"stack", stack.name},
                               {"weights", stack.weights},
                               {"kv_dtype", stack.kv_dtype},
                               {"page_tokens", std::to_string(stack.page_tokens)},
                               {"mode", mode},
                               {"part", part},
                               {"new_lengths", kernels::lengths_text(composition.fresh)},
                               {"cached_lengths", kernels::lengths_text(composition.cached)}});
}

std::vector<kernels::Point> points_of(const ReplayPlan& plan, std::int64_t with_parts) {
  std::vector<kernels::Point> points;
  for (const kernels::Point& point : kernels::bench_grid(kernels::GridSize::quick, "gemm", 1))
    if (point.op() == "ceiling") points.push_back(point);  // without which no row can be judged
  const auto add = [&](const Composition& composition, const char* mode, const std::string& part) {
    points.push_back(point_of(plan.stack, composition, mode, part));
  };
  for (const ChosenComposition& one : plan.replayed) add(one.composition, "graph", "all");
  const std::size_t apart = std::min(
      plan.replayed.size(), static_cast<std::size_t>(std::max<std::int64_t>(with_parts, 0)));
  for (std::size_t i = 0; i < apart; ++i)
    for (int part = 0; part < kernels::kStackParts; ++part)
      add(plan.replayed[i].composition, "graph",
          kernels::name_of(static_cast<kernels::StackPart>(part)));
  for (const ChosenComposition& one : plan.replayed) {
    const CompositionKind kind = kind_of(one.composition);
    if (kind == CompositionKind::prefill || kind == CompositionKind::mixed)
      add(one.composition, "eager", "all");
  }
  return points;
}

}  // namespace

std::optional<ReplayPlan> plan_replay(const std::string& log, const ReplayOptions& options,
                                      Problems& problems) {
  CompositionChoice choice(options.count, options.seed);
  const auto header = read_iteration_log(
      log, [&](const Composition& composition) { choice.add(composition); }, problems);
  if (!header) return std::nullopt;
  ReplayPlan plan;
  plan.stack = stack_for(*header, options.stack, plan.notes);
  plan.iterations = choice.seen();
  std::vector<kernels::PointFault> faults;
  kernels::make_point("rope_kv_write",
                      {{"kv_dtype", plan.stack.kv_dtype},
                       {"query_heads", "1"},
                       {"kv_heads", "1"},
                       {"head_dim", "128"},
                       {"page_tokens", std::to_string(plan.stack.page_tokens)},
                       {"tokens", "1"}},
                      faults);
  for (const kernels::PointFault& fault : faults)
    problems.add(log, {1, 1},
                 fmt::format("block_size does not fit the kernels: {}", fault.message));
  if (!faults.empty()) return std::nullopt;
  std::vector<ChosenComposition> chosen = choice.choose();
  for (ChosenComposition& one : choice.adversarial(plan.stack.page_tokens)) {
    const bool again = std::any_of(
        chosen.begin(), chosen.end(),
        [&](const ChosenComposition& other) { return other.composition == one.composition; });
    if (!again) chosen.push_back(std::move(one));
  }
  for (ChosenComposition& one : chosen) {
    std::string reason = obstacle(plan.stack, one.composition, options.gpu);
    if (reason.empty())
      plan.replayed.push_back(std::move(one));
    else
      plan.left_out.push_back({std::move(one), std::move(reason)});
  }
  if (plan.replayed.empty()) {
    problems.add(log, {},
                 fmt::format("none of its iterations can run on {}: {}", plan.stack.name,
                             plan.left_out.front().reason));
    return std::nullopt;
  }
  plan.points = points_of(plan, options.with_parts);
  return plan;
}

std::string plan_text(const ReplayPlan& plan) {
  std::string text = fmt::format("{} iterations; {} are replayed on {}\n", plan.iterations,
                                 plan.replayed.size(), plan.stack.text());
  std::map<std::string, std::int64_t> strata;
  std::vector<std::string> order;
  for (const ChosenComposition& one : plan.replayed)
    if (++strata[one.stratum] == 1) order.push_back(one.stratum);
  for (const std::string& stratum : order)
    text += fmt::format("  {:>3}  {}\n", strata[stratum], stratum);
  for (const LeftOut& one : plan.left_out)
    text += fmt::format("  left out: {} ({}): {}\n", text_of(one.chosen.composition),
                        one.chosen.stratum, one.reason);
  for (const std::string& note : plan.notes) text += fmt::format("  note: {}\n", note);
  return text;
}

}  // namespace fleetsim
