#include "tests/calibrate/planted_gpu.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "calibrate/replay_prediction.h"
#include "kernels/measure/grid.h"
#include "kernels/measure/profile_writer.h"
#include "kernels/measure/stack_shape.h"
#include "kernels/measure/work.h"

namespace fleetsim {
namespace {

using kernels::MathRate;
using kernels::MeasuredRow;
using kernels::Point;
using kernels::sound_point;

constexpr double kBytesPerSecond = 4.0e12, kBf16 = 600e12, kFp8 = 1100e12, kFloor = 2e-6;

double rate_of(MathRate rate) {
  if (rate == MathRate::plain) return 1e30;  // their bytes take longer
  return rate == MathRate::bf16 ? kBf16 : kFp8;
}

double busy_seconds(const kernels::Work& work) {
  return std::max(work.bytes / kBytesPerSecond, work.flops / rate_of(work.rate));
}

MeasuredRow row_of(const Point& point, double seconds) {
  MeasuredRow row;
  row.point = point;
  row.median_ns = row.p10_ns = row.p90_ns = std::llround(seconds * 1e9);
  row.n = 20;
  row.check_err = 0.001;
  return row;
}

kernels::RunFacts planted_facts() {
  kernels::RunFacts facts;
  facts.device = {"NVIDIA H200", 90, 132, 62914560, 150000000000, "1.2", "13.0", "13.0", ""};
  facts.host = {"invented", "6.1"};
  facts.software = {"0123456789abcdef", false, "13.0.88", "13.0", "-O3"};
  facts.started_utc = "2026-11-21T09:30:00Z";
  return facts;
}

/// Better than every operator reaches: nothing lies under a floor.
void add_ceilings(kernels::ProfileWriter& writer) {
  const auto add = [&](const char* kind, const char* bytes, const char* edge, double seconds) {
    writer.add(row_of(sound_point("ceiling", {{"kind", kind}, {"bytes", bytes}, {"edge", edge}}),
                      seconds));
  };
  const double gemm = 2 * std::pow(8192.0, 3);
  add("read", "4294967296", "0", 4294967296.0 / (1.15 * kBytesPerSecond));
  add("gemm_bf16", "0", "8192", gemm / (1.15 * kBf16));
  add("gemm_fp8", "0", "8192", gemm / (1.15 * kFp8));
  add("graph_node", "0", "0", 1.1e-6);
}

}  // namespace

double planted_seconds(const Point& point) {
  if (point.op() != "iteration") {
    // engines take the first choice: a fit must not see how much faster the best is
    const bool best = point.op() == "gemm" && point.word("algo") == "best8";
    return (best ? 0.9 : 1) * (kFloor + busy_seconds(kernels::work_of(point)));
  }
  const std::string& part = point.word("part");
  if (const kernels::StackPart* one = kernels::find_stack_part(part)) {
    const kernels::StackShape& shape = kernels::stack_shape(point.word("stack"));
    const double layers = shape.layers;
    double quantise = 0;  // attention's output, by a kernel of its own
    if (*one == kernels::StackPart::output && point.word("weights") == "fp8") {
      double tokens = 0;
      for (const std::int64_t fresh : point.lengths("new_lengths"))
        tokens += static_cast<double>(fresh);
      quantise = layers * (kFloor + 3 * shape.query_width() * tokens / kBytesPerSecond);
    }
    return (kernels::runs_in_each_layer(*one) ? layers : 1) * kFloor +
           busy_seconds(kernels::work_of(point)) + quantise;
  }
  double sum = 0;
  for (int i = 0; i < kernels::kStackParts; ++i) {
    kernels::Point::Values values = point.values();
    for (auto& [axis, value] : values)
      if (axis == "part") value = kernels::name_of(static_cast<kernels::StackPart>(i));
    sum += planted_seconds(sound_point("iteration", values));
  }
  return sum;
}

Point iteration_point(const ReplayStack& stack, const Composition& composition,
                      const std::string& mode, const std::string& part) {
  return sound_point("iteration", {{"stack", stack.name},
                                   {"weights", stack.weights},
                                   {"kv_dtype", stack.kv_dtype},
                                   {"page_tokens", std::to_string(stack.page_tokens)},
                                   {"mode", mode},
                                   {"part", part},
                                   {"new_lengths", kernels::lengths_text(composition.fresh)},
                                   {"cached_lengths", kernels::lengths_text(composition.cached)}});
}

void write_planted_profile(const std::string& folder) {
  kernels::ProfileWriter writer(folder, planted_facts(), false);
  add_ceilings(writer);
  for (const char* op : {"gemm", "decode_attention", "prefill_attention", "rope_kv_write",
                         "rms_norm", "silu_mul", "embedding", "sampling"})
    for (const Point& point : kernels::bench_grid(kernels::GridSize::full, op, 1)) {
      if (point.op() != op) continue;
      const bool other =
          point.op() == "gemm" && point.word("dtype") != "bf16" && point.word("dtype") != "fp8";
      if (!other) writer.add(row_of(point, planted_seconds(point)));
    }
  writer.finish("");
}

void write_planted_replay(const std::string& folder, const ReplayStack& stack,
                          const std::vector<Composition>& compositions,
                          const PlantedReplay& planted) {
  kernels::ProfileWriter writer(folder, planted_facts(), false);
  add_ceilings(writer);
  for (std::size_t i = 0; i < compositions.size(); ++i) {
    const Composition& composition = compositions[i];
    const Point whole = iteration_point(stack, composition);
    const double seconds =
        planted_seconds(whole) + planted.node_seconds * static_cast<double>(stack_nodes(stack));
    writer.add(row_of(whole, planted.factor(i) * seconds));
    for (int part = 0; planted.parts && part < kernels::kStackParts; ++part) {
      const Point alone = iteration_point(stack, composition, "graph",
                                          name_of(static_cast<kernels::StackPart>(part)));
      writer.add(row_of(alone, planted_seconds(alone)));
    }
    const CompositionKind kind = kind_of(composition);
    const bool chunks = kind == CompositionKind::prefill || kind == CompositionKind::mixed;
    if (planted.eager && chunks)
      writer.add(row_of(iteration_point(stack, composition, "eager"), 2 * seconds));
  }
  if (!planted.stopped.empty()) writer.add_warning("an invented warning");
  writer.finish(planted.stopped);
}

Composition batch_of(std::int64_t decodes, std::int64_t context,
                     const std::vector<std::pair<std::int64_t, std::int64_t>>& chunks) {
  Composition composition;
  for (const auto& [fresh, cached] : chunks) {
    composition.fresh.push_back(fresh);
    composition.cached.push_back(cached);
  }
  for (std::int64_t i = 0; i < decodes; ++i) {
    composition.fresh.push_back(1);
    composition.cached.push_back(context);
  }
  return composition;
}

std::vector<Composition> planted_compositions() {
  std::vector<Composition> all;
  for (const std::int64_t batch : {1, 4, 16, 64, 256}) all.push_back(batch_of(batch, 1023));
  for (const std::int64_t context : {127, 8191}) all.push_back(batch_of(32, context));
  Composition ragged = batch_of(31, 255);
  ragged.fresh.push_back(1);
  ragged.cached.push_back(32767);
  all.push_back(ragged);
  for (const std::int64_t prompt : {128, 512, 2048, 4096})
    all.push_back(batch_of(0, 0, {{prompt, 0}}));
  all.push_back(batch_of(0, 0, {{512, 8192}}));
  all.push_back(batch_of(0, 0, {{1024, 0}, {1024, 0}}));
  all.push_back(batch_of(32, 1023, {{512, 0}}));
  all.push_back(batch_of(63, 2047, {{1024, 1024}}));
  return all;
}

}  // namespace fleetsim
