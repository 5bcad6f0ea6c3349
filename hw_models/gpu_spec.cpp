// The GPU catalogue: gpus/*.yaml, linked into the program, read once.
// Every figure is {value: number unit, source: text}; a figure without either is a CHECK at first
// use.

#include "hw_models/gpu_spec.h"

#include <algorithm>
#include <cmath>

#include "embedded/gpus.h"
#include "hw_models/catalogue_file.h"
#include "hw_models/check.h"

namespace fleetsim {
namespace {

/// One figure of a file: its key, what it measures, and where it goes.
struct FigureRow {
  const char* key;
  Dimension dimension;
  bool required;
  void (*store)(GpuSpec&, double);
};

constexpr FigureRow kFigures[] = {
    {"architecture_sm", Dimension::count, true,
     [](GpuSpec& g, double v) { g.architecture_sm = static_cast<int>(v); }},
    {"memory_bandwidth", Dimension::bytes_per_second, true,
     [](GpuSpec& g, double v) { g.memory_bandwidth = {v}; }},
    {"memory_datasheet", Dimension::bytes, true,
     [](GpuSpec& g, double v) { g.memory_datasheet = {std::llround(v)}; }},
    {"memory_reported", Dimension::bytes, false,
     [](GpuSpec& g, double v) { g.memory_reported = {std::llround(v)}; }},
    {"l2_bytes", Dimension::bytes, true, [](GpuSpec& g, double v) { g.l2_bytes = v; }},
    {"sms", Dimension::count, true, [](GpuSpec& g, double v) { g.sms = static_cast<int>(v); }},
    {"tensor_clock", Dimension::hertz, true, [](GpuSpec& g, double v) { g.tensor_clock_hz = v; }},
    {"bf16_flops_per_clock_per_sm", Dimension::count, true,
     [](GpuSpec& g, double v) { g.bf16_flops_per_clock_per_sm = v; }},
    {"nvlink_per_direction", Dimension::bytes_per_second, false,
     [](GpuSpec& g, double v) { g.nvlink_per_direction = BytesPerSecond{v}; }},
    {"pcie_per_direction", Dimension::bytes_per_second, true,
     [](GpuSpec& g, double v) { g.pcie_per_direction = {v}; }},
    {"tdp", Dimension::watts, true, [](GpuSpec& g, double v) { g.tdp_watts = v; }},
    {"gemm_floor", Dimension::seconds, true, [](GpuSpec& g, double v) { g.gemm_floor = {v}; }},
    {"attention_floor", Dimension::seconds, true,
     [](GpuSpec& g, double v) { g.attention_floor = {v}; }},
    {"gemm_efficiency", Dimension::share, true,
     [](GpuSpec& g, double v) { g.gemm_efficiency = v; }},
    {"gemm_bandwidth_share", Dimension::share, true,
     [](GpuSpec& g, double v) { g.gemm_bandwidth_share = v; }},
    {"attention_bandwidth_share", Dimension::share, true,
     [](GpuSpec& g, double v) { g.attention_bandwidth_share = v; }},
    {"attention_bandwidth_share_fp8", Dimension::share, false,
     [](GpuSpec& g, double v) { g.attention_bandwidth_share_fp8 = v; }},
    {"attention_efficiency", Dimension::share, true,
     [](GpuSpec& g, double v) { g.attention_efficiency = v; }},
};

NumberFormat format_of_key(const std::string& key) {
  const auto format = number_format_named(key);
  CHECK(format.has_value(), "unknown number format " + key);
  return *format;
}

void read_figures(CatalogueMap& file, GpuSpec& gpu) {
  for (const FigureRow& row : kFigures) {
    if (!row.required && !file.has(row.key)) continue;
    const SourcedValue figure = file.quantity(row.key, row.dimension);
    CHECK(std::isfinite(figure.value) && figure.value > 0, gpu.name + ": " + row.key);
    CHECK(row.dimension != Dimension::share || figure.value <= 1, gpu.name + ": " + row.key);
    row.store(gpu, figure.value);
    gpu.sources[row.key] = figure.source;
  }
}

void read_formats(CatalogueMap& file, GpuSpec& gpu) {
  CatalogueMap peaks = file.map("dense_peak");
  for (const std::string& key : peaks.keys()) {
    const SourcedValue peak = peaks.quantity(key, Dimension::flops_per_second);
    gpu.dense_peak[format_of_key(key)] = {peak.value};
    gpu.sources["dense_peak." + key] = peak.source;
  }
  if (!file.has("gemm_efficiency_by_format")) return;
  CatalogueMap shares = file.map("gemm_efficiency_by_format");
  for (const std::string& key : shares.keys()) {
    const SourcedValue share = shares.quantity(key, Dimension::share);
    gpu.gemm_efficiency_by_format[format_of_key(key)] = share.value;
    gpu.sources["gemm_efficiency_by_format." + key] = share.source;
  }
}

void read_power(CatalogueMap& file, GpuSpec& gpu) {
  if (!file.has("power")) return;
  CatalogueMap figures = file.map("power");
  const auto watts = [&](const char* key) {
    const SourcedValue figure = figures.quantity(key, Dimension::watts);
    gpu.sources[std::string("power.") + key] = figure.source;
    return figure.value;
  };
  gpu.power = GpuPower{watts("idle"), watts("memory_bound"), watts("compute_bound")};
  figures.finish();
  const GpuPower& power = *gpu.power;
  CHECK(power.idle_watts > 0 && power.idle_watts < power.memory_bound_watts &&
            power.memory_bound_watts <= power.compute_bound_watts &&
            power.compute_bound_watts <= gpu.tdp_watts,
        gpu.name + ": power");
}

void read_all_reduce(CatalogueMap& file, GpuSpec& gpu) {
  for (CatalogueMap& entry : file.maps("all_reduce")) {
    AllReduceCurve curve;
    curve.gpus = entry.integer("gpus");
    curve.source = entry.text("source");
    const auto bytes = entry.quantities("bytes", Dimension::bytes);
    const auto times = entry.quantities("time", Dimension::seconds);
    entry.finish();
    CHECK(bytes.size() == times.size() && bytes.size() >= 2, gpu.name + ": all_reduce");
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      CHECK(i == 0 || (bytes[i] > bytes[i - 1] && times[i] >= times[i - 1]), gpu.name);
      curve.points.emplace_back(bytes[i], Seconds{times[i]});
    }
    gpu.sources["all_reduce." + std::to_string(curve.gpus)] = curve.source;
    gpu.all_reduce.push_back(std::move(curve));
  }
}

GpuSpec read_gpu(const EmbeddedFile& embedded) {
  const YamlNode root = CatalogueMap::parse(embedded);
  CatalogueMap file(root, std::string(embedded.name));
  GpuSpec gpu;
  gpu.name = file.text("name");
  gpu.title = file.text("title");
  gpu.aliases = file.texts("aliases");
  CatalogueMap data_centre = file.map("data_centre");
  gpu.data_centre = data_centre.flag_or("value", true);
  gpu.sources["data_centre"] = data_centre.text("source");
  read_figures(file, gpu);
  read_formats(file, gpu);
  read_power(file, gpu);
  read_all_reduce(file, gpu);
  file.finish();
  gpu.memory_reported_is_nominal = gpu.memory_reported.value == 0;
  if (gpu.memory_reported_is_nominal) {
    gpu.memory_reported = gpu.memory_datasheet;
    gpu.sources["memory_reported"] = "nominal: the datasheet's figure, not read on a device";
  }
  if (gpu.attention_bandwidth_share_fp8 == 0)
    gpu.attention_bandwidth_share_fp8 = gpu.attention_bandwidth_share;
  CHECK(std::string(embedded.name) == gpu.name + ".yaml", gpu.name);
  return gpu;
}

std::vector<GpuSpec> read_catalogue() {
  std::vector<GpuSpec> gpus;
  for (const EmbeddedFile& file : embedded_gpus()) gpus.push_back(read_gpu(file));
  return gpus;
}

}  // namespace

double GpuSpec::gemm_efficiency_at(NumberFormat format) const {
  const auto found = gemm_efficiency_by_format.find(format);
  return found == gemm_efficiency_by_format.end() ? gemm_efficiency : found->second;
}

const std::vector<GpuSpec>& gpu_catalogue() {
  static const std::vector<GpuSpec> catalogue = read_catalogue();
  return catalogue;
}

const GpuSpec* find_gpu(const std::string& name) {
  for (const GpuSpec& gpu : gpu_catalogue()) {
    if (gpu.name == name) return &gpu;
    if (std::find(gpu.aliases.begin(), gpu.aliases.end(), name) != gpu.aliases.end()) return &gpu;
  }
  return nullptr;
}

std::vector<std::string> gpu_names() {
  std::vector<std::string> names;
  for (const GpuSpec& gpu : gpu_catalogue()) names.push_back(gpu.name);
  return names;
}

}  // namespace fleetsim
