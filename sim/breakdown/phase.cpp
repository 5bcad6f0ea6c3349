// Times and work come from StepTime alone; operators of several iterations are summed by name
// before they are judged.

#include "sim/breakdown/phase.h"

#include <algorithm>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

/// A sum says all the sources that its parts have.
void merge_source(std::string& source, const std::string& other) {
  if (source.find(other) == std::string::npos) source += ", " + other;
}

void add_costs(const std::vector<OperatorCost>& more, std::vector<OperatorCost>& costs) {
  for (const OperatorCost& cost : more) {
    const auto same = std::find_if(costs.begin(), costs.end(), [&](const OperatorCost& one) {
      return one.name == cost.name && one.group == cost.group;
    });
    if (same == costs.end()) {
      costs.push_back(cost);
      continue;
    }
    same->launches += cost.launches;
    same->flops = same->flops + cost.flops;
    same->bytes += cost.bytes;
    same->wire_bytes += cost.wire_bytes;
    same->time += cost.time;
    merge_source(same->source, cost.source);
  }
}

}  // namespace

BatchShape decode_shape(const StepTime& step, std::int64_t batch, std::int64_t context) {
  BatchShape shape;
  shape.tokens = shape.sampled_rows = shape.decode_requests = batch;
  shape.decode_context = batch * context;
  shape.decode_window_context =
      batch * (step.window() > 0 ? std::min(context, step.window()) : context);
  return shape;
}

std::vector<BatchShape> prefill_shapes(const StepTime& step, std::int64_t prompt,
                                       std::int64_t budget) {
  CHECK(prompt >= 1 && budget >= 1, "a prompt and a budget");
  std::vector<BatchShape> shapes;
  for (std::int64_t cached = 0; cached < prompt;) {
    const std::int64_t queries = std::min(budget, prompt - cached);
    BatchShape shape;
    shape.tokens = queries;
    shape.sampled_rows = shape.prefill_requests = 1;
    shape.prefill_context = cached + queries;
    shape.prefill_pairs = queries * cached + queries * (queries + 1) / 2;
    shape.prefill_window_pairs = shape.prefill_pairs;
    if (step.window() > 0) {
      // The first queries of the chunk see fewer keys than the window, the rest see all of it.
      const std::int64_t fewer = std::clamp<std::int64_t>(step.window() - cached, 0, queries);
      shape.prefill_window_pairs =
          fewer * cached + fewer * (fewer + 1) / 2 + (queries - fewer) * step.window();
    }
    shapes.push_back(shape);
    cached += queries;
  }
  return shapes;
}

PhaseBreakdown break_phase_down(const std::string& name, const StepTime& step,
                                const std::vector<BatchShape>& shapes, const Roofs& roofs,
                                FlopsPerSecond gemm_peak) {
  CHECK(!shapes.empty(), "a phase without iterations");
  PhaseBreakdown phase;
  phase.name = name;
  phase.iterations = static_cast<std::int64_t>(shapes.size());
  std::vector<OperatorCost> costs;
  for (const BatchShape& shape : shapes) {
    add_costs(step.explain(shape), costs);
    phase.tokens += shape.tokens;
    phase.useful_flops = phase.useful_flops + step.useful_flops(shape);
    phase.minimum_bytes += step.minimum_bytes(shape);
  }
  for (const OperatorCost& cost : costs) {
    phase.time += cost.time;
    phase.flops = phase.flops + cost.flops;
    phase.bytes += cost.bytes;
    phase.wire_bytes += cost.wire_bytes;
    phase.launches += cost.launches;
    phase.by_group[static_cast<std::size_t>(cost.group)] += cost.time;
  }
  for (const OperatorCost& cost : costs) {
    phase.operators.push_back(judge(cost, phase.time, roofs));
    const OperatorShare& one = phase.operators.back();
    phase.share_by_bound[static_cast<std::size_t>(one.bound)] += one.share;
  }
  const auto largest = std::max_element(phase.share_by_bound.begin(), phase.share_by_bound.end());
  phase.bound = static_cast<Bound>(largest - phase.share_by_bound.begin());
  const double gpu_seconds = static_cast<double>(roofs.tp) * phase.time.value;
  CHECK(gpu_seconds > 0, "an iteration that takes no time");
  phase.mfu = phase.useful_flops.value / (gpu_seconds * gemm_peak.value);
  phase.mbu = phase.minimum_bytes / (gpu_seconds * roofs.gpu->memory_bandwidth.value);
  return phase;
}

}  // namespace fleetsim
