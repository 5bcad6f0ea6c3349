// Each chart is a spec and rows; figures come with the text that a reader sees when pointing at
// them.

#include "sim/breakdown/breakdown_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "sim/breakdown/headline.h"
#include "sim/report/chart_spec.h"
#include "sim/report/decimal_text.h"
#include "sim/report/report_charts.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kGib = 1024.0 * 1024 * 1024;
constexpr std::size_t kWeightKinds = 6;  // and "other": a range has seven colours

struct Part {
  std::string name;
  double value = 0;
  std::string text;
};
/// A stacked bar: what it is called and its parts.
struct Bar {
  std::string name;
  std::vector<Part> parts;
};

Json bars_spec(const std::vector<Bar>& bars, const char* format, const char* suffix,
               const char* what) {
  Json rows = Json::array(), domain = Json::array();
  for (const Bar& bar : bars) {
    int order = 0;
    for (const Part& part : bar.parts) {
      if (std::find(domain.begin(), domain.end(), part.name) == domain.end())
        domain.push_back(part.name);
      rows.push_back({{"pool", bar.name},
                      {"part", part.name},
                      {"order", order++},
                      {"value", part.value},
                      {"text", part.text}});
    }
  }
  Json spec = spec_with("breakdown.vl.json", {{"rows", std::move(rows)}});
  spec["height"] = 48 * bars.size();
  spec.at("encoding").at("color").at("scale")["domain"] = std::move(domain);
  spec.at("encoding").at("tooltip").at(0)["title"] = what;
  set_parameter(spec, "x_format", format);
  set_parameter(spec, "x_suffix", suffix);
  return spec;
}

Part memory_part(const std::string& name, Bytes bytes) {
  const auto value = static_cast<double>(bytes.value);
  return {name, value / kGib,
          fmt::format("{} ({} bytes)", size_text(value), count_text(bytes.value))};
}

void add_memory(const Breakdown& b, std::vector<BreakdownChart>& charts) {
  const MemoryPlan& plan = b.memory.plan;
  const Bar all{
      "one GPU",
      {memory_part("weights", plan.weights),
       memory_part("KV cache, this batch", b.memory.kv_of_batch),
       memory_part("KV cache, room left", plan.kv_cache - b.memory.kv_of_batch),
       memory_part("activations", plan.activations), memory_part("CUDA graphs", plan.cuda_graphs),
       memory_part(part_title("non_torch"), plan.non_torch), memory_part("free", plan.free)}};
  charts.push_back({"memory", "memory", "The memory of one GPU",
                    fmt::format("{} as planned at start-up; the batch is {} requests of {} tokens.",
                                size_text(static_cast<double>(plan.total.value)),
                                count_text(b.question.batch), count_text(b.question.context)),
                    false, bars_spec({all}, "~g", " GiB", "of")});

  std::vector<WeightPart> kinds = b.memory.weights;
  std::stable_sort(kinds.begin(), kinds.end(), [](const WeightPart& x, const WeightPart& y) {
    return x.bytes.value > y.bytes.value;
  });
  Bar weights{"weights", {}};
  Bytes other = b.memory.rotary_table;
  for (std::size_t i = 0; i < kinds.size(); ++i)
    if (i < kWeightKinds)
      weights.parts.push_back(memory_part(kinds[i].name, kinds[i].bytes));
    else
      other = other + kinds[i].bytes;
  weights.parts.push_back(memory_part("other", other));
  charts.push_back({"memory", "weights", "Weights by kind of matrix",
                    "Largest first, of one GPU, over all its layers.", false,
                    bars_spec({weights}, "~g", " GiB", "of")});
}

void add_time(const Breakdown& b, std::vector<BreakdownChart>& charts) {
  std::vector<Bar> groups, bounds;
  for (const PhaseBreakdown* phase : {&b.prefill, &b.decode}) {
    Bar by_group{phase->name, {}}, by_bound{phase->name, {}};
    for (int group = 0; group < kCostGroups; ++group) {
      const Seconds time = phase->by_group[static_cast<std::size_t>(group)];
      if (time.value <= 0) continue;
      by_group.parts.push_back(
          {part_title(name_of(static_cast<CostGroup>(group))), time / phase->time,
           fmt::format("{}, {}", duration_text(time.value), percent_text(time / phase->time))});
    }
    for (int bound = 0; bound < kBounds; ++bound) {
      const double share = phase->share_by_bound[static_cast<std::size_t>(bound)];
      if (share <= 0) continue;
      by_bound.parts.push_back(
          {name_of(static_cast<Bound>(bound)), share,
           fmt::format("{}, {}", duration_text(share * phase->time.value), percent_text(share))});
    }
    groups.push_back(std::move(by_group));
    bounds.push_back(std::move(by_bound));
  }
  charts.push_back({"time", "time_by_group", "By kind of work",
                    fmt::format("A prompt of {} tokens in {}, a decode iteration of {} in {}.",
                                count_text(b.question.prompt), duration_text(b.prefill.time.value),
                                count_text(b.question.batch), duration_text(b.decode.time.value)),
                    false, bars_spec(groups, ".0%", "", "phase")});
  charts.push_back({"time", "time_by_bound", "By what it waits for",
                    "Each operator's time under its verdict.", false,
                    bars_spec(bounds, ".0%", "", "phase")});
}

struct Roof {
  std::string name;
  double peak = 0, bandwidth = 0;
  const char* kind = "gpu";
};

/// The roofs of the formats that the operators multiply in, and the link where there are several
/// GPUs: FLOPs for each byte on the wire instead of each byte of HBM.
std::vector<Roof> roofs_of(const Breakdown& b) {
  const GpuSpec& gpu = *b.deployment.gpu;
  std::set<NumberFormat> formats;
  for (const PhaseBreakdown* phase : {&b.prefill, &b.decode})
    for (const OperatorShare& one : phase->operators)
      if (one.math && one.cost.flops.value > 0) formats.insert(*one.math);
  std::vector<Roof> roofs;
  double highest = 0;
  for (const NumberFormat format : formats) {
    const double peak = gpu.dense_peak.at(format).value;
    highest = std::max(highest, peak);
    roofs.push_back({fmt::format("{} {}FLOP/s", name_of(format), si_text(peak)), peak,
                     gpu.memory_bandwidth.value});
  }
  if (b.tp > 1)
    roofs.push_back({fmt::format("link {}B/s", si_text(link_of(gpu).value)), highest,
                     link_of(gpu).value, "link"});
  return roofs;
}

Json point_row(const std::string& name, const PhaseBreakdown& phase, const char* kind,
               double intensity, double rate, double share, const std::string& bound) {
  return {{"name", name},
          {"phase", phase.name},
          {"kind", kind},
          {"intensity", intensity},
          {"rate", rate},
          {"share", share},
          {"bound", bound},
          {"intensity_text", number_text(intensity)},
          {"rate_text", si_text(rate) + "FLOP/s"},
          {"share_text", percent_text(share)}};
}

/// The operator of each kind of work that takes longest gets its name written beside it.
std::vector<const OperatorShare*> named_points(const PhaseBreakdown& phase) {
  std::vector<const OperatorShare*> named;
  for (const CostGroup group : {CostGroup::gemm, CostGroup::attention}) {
    const OperatorShare* longest = nullptr;
    for (const OperatorShare& one : phase.operators)
      if (one.cost.group == group && one.intensity &&
          (longest == nullptr || one.share > longest->share))
        longest = &one;
    if (longest != nullptr) named.push_back(longest);
  }
  return named;
}

void add_roofline(const Breakdown& b, std::vector<BreakdownChart>& charts) {
  Json points = Json::array(), labels = Json::array();
  for (const PhaseBreakdown* phase : {&b.prefill, &b.decode}) {
    for (const OperatorShare& one : phase->operators)
      if (one.intensity && one.flops_per_second > 0)
        points.push_back(point_row(one.cost.name, *phase, "operator", *one.intensity,
                                   one.flops_per_second, one.share, name_of(one.bound)));
    if (b.tp > 1 && phase->wire_bytes > 0)
      points.push_back(point_row("whole iteration, FLOP per byte on the wire", *phase, "link",
                                 phase->flops.value / phase->wire_bytes,
                                 phase->flops.value / phase->time.value, 0.1,
                                 name_of(phase->bound)));
    for (const OperatorShare* one : named_points(*phase))
      labels.push_back({{"name", one->cost.name},
                        {"phase", phase->name},
                        {"intensity", *one->intensity},
                        {"rate", one->flops_per_second}});
  }
  if (points.empty()) return;
  const std::vector<Roof> roofs = roofs_of(b);
  double x_min = 1e300, x_max = 0, y_min = 1e300, y_max = 0;
  for (const Json& point : points) {
    x_min = std::min(x_min, point.at("intensity").get<double>());
    x_max = std::max(x_max, point.at("intensity").get<double>());
    y_min = std::min(y_min, point.at("rate").get<double>());
  }
  for (const Roof& roof : roofs) {
    x_max = std::max(x_max, roof.peak / roof.bandwidth);
    y_max = std::max(y_max, roof.peak);
  }
  x_min /= 3, x_max *= 4, y_min /= 4, y_max *= 2.5;
  Json lines = Json::array(), names = Json::array();
  for (const Roof& roof : roofs) {
    const double ridge = roof.peak / roof.bandwidth;
    for (const double at : {x_min, ridge, x_max})
      if (at == ridge || at == x_min || std::string(roof.kind) == "gpu")
        lines.push_back({{"intensity", at},
                         {"rate", std::min(roof.peak, roof.bandwidth * at)},
                         {"roof", roof.name},
                         {"kind", roof.kind}});
    const bool link = std::string(roof.kind) == "link";
    const double at = link ? std::sqrt(ridge * std::max(x_min, y_min / roof.bandwidth)) : x_max;
    names.push_back({{"intensity", at},
                     {"rate", std::min(roof.peak, roof.bandwidth * at)},
                     {"words", roof.name}});
  }
  Json spec = spec_with("roofline.vl.json", {{"roofs", std::move(lines)},
                                             {"roof_names", std::move(names)},
                                             {"points", std::move(points)},
                                             {"labels", std::move(labels)}});
  Json decades = Json::array();  // the axis would choose uneven steps by itself
  for (double at = 1e6; at < y_max; at *= 10)
    if (at > y_min) decades.push_back(at);
  for (Json& layer : spec.at("layer"))
    if (layer.at("encoding").at("y").contains("axis"))
      layer["encoding"]["y"]["axis"]["values"] = decades;
  set_parameter(spec, "x_min", x_min);
  set_parameter(spec, "x_max", x_max);
  set_parameter(spec, "y_min", y_min);
  set_parameter(spec, "y_max", y_max);
  std::string caption = fmt::format(
      "A point an operator, as large as its share of the time; lines are the datasheet's "
      "peaks and {}B/s of memory. Left of the ridge bytes decide, right of it FLOPs; "
      "below the lines is what a kernel leaves.",
      si_text(b.deployment.gpu->memory_bandwidth.value));
  if (b.tp > 1)
    caption +=
        " Triangles: whole iterations by FLOPs for each byte on the wire, against the dashed link.";
  charts.push_back({"roofline", "roofline", "FLOPs for each byte against achieved FLOP/s", caption,
                    true, std::move(spec)});
}

void add_sweep(const std::vector<SweepPoint>& points, bool batches, std::int64_t asked,
               BreakdownChart chart, std::vector<BreakdownChart>& charts) {
  Json rows = Json::array();
  const auto add = [&](const SweepPoint& point, const std::string& part, Seconds time) {
    const std::int64_t at = batches ? point.batch : point.context;
    rows.push_back({{"at", at},
                    {"seconds", time.value},
                    {"part", part},
                    {"where", fmt::format("{} {}", batches ? "batch" : "context", count_text(at))},
                    {"text", duration_text(time.value)}});
  };
  for (const SweepPoint& point : points) add(point, "whole iteration", point.iteration.time);
  for (int group = 0; group < kCostGroups; ++group)
    for (const SweepPoint& point : points) {
      const Seconds time = point.iteration.by_group[static_cast<std::size_t>(group)];
      if (time.value > 0) add(point, part_title(name_of(static_cast<CostGroup>(group))), time);
    }
  const Json line = Json::array({{{"at", asked}}});
  chart.spec = spec_with("decode_sweep.vl.json", {{"asked", line}, {"rows", std::move(rows)}});
  charts.push_back(std::move(chart));
}

}  // namespace

std::vector<BreakdownChart> breakdown_charts(const Breakdown& b) {
  std::vector<BreakdownChart> charts;
  add_memory(b, charts);
  add_time(b, charts);
  add_roofline(b, charts);
  add_sweep(b.sweeps.batches, true, b.question.batch,
            {"sweeps",
             "batch_sweep",
             "Decode iteration by batch",
             fmt::format("At context {}; the line marks batch {}.", count_text(b.question.context),
                         count_text(b.question.batch)),
             false,
             {}},
            charts);
  add_sweep(b.sweeps.contexts, false, b.question.context,
            {"sweeps",
             "context_sweep",
             "Decode iteration by context",
             fmt::format("At batch {}; the line marks context {}.", count_text(b.question.batch),
                         count_text(b.question.context)),
             false,
             {}},
            charts);
  return charts;
}

}  // namespace fleetsim
