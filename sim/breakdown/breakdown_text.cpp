// One screen: findings, memory, the two phases by kind of work, the batch sweep. Every operator and
// the context sweep with --operators.

#include "sim/breakdown/breakdown_text.h"

#include <fmt/format.h>

#include <cmath>

#include "sim/breakdown/headline.h"
#include "sim/breakdown/text_table.h"
#include "sim/report/decimal_text.h"
#include "sim/report/report_charts.h"

namespace fleetsim {
namespace {

constexpr std::size_t kOverviewBatches = 6;

std::string bytes_cell(Bytes bytes) { return count_text(bytes.value); }

std::string memory_table(const Breakdown& b, bool color) {
  const MemoryPlan& plan = b.memory.plan;
  const double total = static_cast<double>(plan.total.value);
  TextTable table({"memory of one GPU", "bytes", "", "share"});
  const auto add = [&](const std::string& name, Bytes bytes) {
    table.add({name, bytes_cell(bytes), size_text(static_cast<double>(bytes.value)),
               percent_text(static_cast<double>(bytes.value) / total)});
  };
  for (const WeightPart& part : b.memory.weights) add("weights: " + part.name, part.bytes);
  if (b.memory.rotary_table > Bytes{0}) add("weights: rotary table", b.memory.rotary_table);
  add(fmt::format("KV cache, this batch ({} x {})", count_text(b.question.batch),
                  size_text(static_cast<double>(b.memory.kv.per_request.value))),
      b.memory.kv_of_batch);
  add("KV cache, room left", plan.kv_cache - b.memory.kv_of_batch);
  add("activations", plan.activations);
  add("CUDA graphs", plan.cuda_graphs);
  add(part_title("non_torch"), plan.non_torch);
  add("free", plan.free);
  add("all", plan.total);
  return table.text(color);
}

std::string groups_table(const Breakdown& b, bool color) {
  TextTable table({"time by kind of work", "prefill", "share", "decode", "share"});
  for (int group = 0; group < kCostGroups; ++group) {
    const auto at = static_cast<std::size_t>(group);
    const Seconds prefill = b.prefill.by_group[at], decode = b.decode.by_group[at];
    if (prefill == Seconds{} && decode == Seconds{}) continue;
    table.add({part_title(name_of(static_cast<CostGroup>(group))), duration_text(prefill.value),
               percent_text(prefill / b.prefill.time), duration_text(decode.value),
               percent_text(decode / b.decode.time)});
  }
  table.add(
      {"all", duration_text(b.prefill.time.value), "", duration_text(b.decode.time.value), ""});
  table.add({"MFU", percent_text(b.prefill.mfu), "", percent_text(b.decode.mfu), ""});
  table.add({"MBU", percent_text(b.prefill.mbu), "", percent_text(b.decode.mbu), ""});
  return table.text(color);
}

std::string sweep_table(const char* title, const std::vector<SweepPoint>& points, bool batches,
                        std::size_t most, bool color) {
  TextTable table({title, "iteration", "tokens/s", "MFU", "MBU", "GEMM", "attention", "bound"});
  const std::size_t step = (points.size() + most - 1) / most;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if ((points.size() - 1 - i) % step != 0) continue;  // the last always stays
    const SweepPoint& one = points[i];
    const auto part = [&](CostGroup group) {
      return percent_text(one.iteration.by_group[static_cast<std::size_t>(group)] /
                          one.iteration.time);
    };
    table.add({count_text(batches ? one.batch : one.context),
               duration_text(one.iteration.time.value), number_text(one.tokens_per_second),
               percent_text(one.iteration.mfu), percent_text(one.iteration.mbu),
               part(CostGroup::gemm), part(CostGroup::attention), name_of(one.iteration.bound)});
  }
  return table.text(color, 7);
}

std::string operators_table(const PhaseBreakdown& phase, bool color) {
  TextTable table({phase.name, "launches", "FLOP", "bytes", "wire bytes", "time", "share", "FLOP/s",
                   "bytes/s", "MFU", "MBU", "FLOP/byte", "bound", "time from"});
  for (const OperatorShare& one : phase.operators) {
    const bool host = one.cost.group == CostGroup::host_overhead;
    const auto rate = [&](double value) { return value > 0 ? si_text(value) : "-"; };
    table.add(
        {one.cost.name, host ? "-" : count_text(one.cost.launches), rate(one.cost.flops.value),
         rate(one.cost.bytes), rate(one.cost.wire_bytes), duration_text(one.cost.time.value),
         percent_text(one.share), rate(one.flops_per_second), rate(one.bytes_per_second),
         one.math && !host ? percent_text(one.mfu) : "-",
         one.cost.bytes > 0 ? percent_text(one.mbu) : "-",
         one.intensity ? number_text(*one.intensity) : "-", name_of(one.bound), one.cost.source});
  }
  table.add({"all", count_text(phase.launches), si_text(phase.flops.value), si_text(phase.bytes),
             phase.wire_bytes > 0 ? si_text(phase.wire_bytes) : "-",
             duration_text(phase.time.value), "100 %",
             si_text(phase.flops.value / phase.time.value), si_text(phase.bytes / phase.time.value),
             percent_text(phase.mfu), percent_text(phase.mbu),
             number_text(phase.flops.value / phase.bytes), name_of(phase.bound), ""});
  return table.text(color, 12);
}

}  // namespace

std::string breakdown_text(const Breakdown& b, const BreakdownTextOptions& options) {
  const bool color = options.color;
  std::string out = styled_text(breakdown_headline(b), "1", color) + "\n";
  for (const std::string& finding : breakdown_findings(b)) out += fmt::format("  - {}\n", finding);
  out += "\n" + memory_table(b, color);
  out += "\n" + groups_table(b, color);
  const std::size_t most = options.operators ? b.sweeps.batches.size() : kOverviewBatches;
  out += "\n" + sweep_table(
                    fmt::format("decode batch, context {}", count_text(b.question.context)).c_str(),
                    b.sweeps.batches, true, most, color);
  if (options.operators) {
    out += "\n" + sweep_table(
                      fmt::format("decode context, batch {}", count_text(b.question.batch)).c_str(),
                      b.sweeps.contexts, false, b.sweeps.contexts.size(), color);
    out += "\n" + operators_table(b.prefill, color) + "\n" + operators_table(b.decode, color);
  }
  out += fmt::format(
      "\n  precision weights {}, activations {}, KV cache {}; iteration times: {}; per GPU\n",
      name_of(b.precision.weights), name_of(b.precision.activations), name_of(b.precision.kv_cache),
      b.deployment.step_time->kind());
  for (const std::string& note : b.deployment.notes) out += fmt::format("  note: {}\n", note);
  if (!options.operators) out += "  every operator: --operators; report and figures: --out DIR\n";
  return out;
}

}  // namespace fleetsim
