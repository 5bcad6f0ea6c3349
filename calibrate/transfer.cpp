// Scaling by ceilings, and refitting three figures of a family to anchors.

#include "calibrate/transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "hw_models/check.h"
#include "hw_models/fitted_file.h"

namespace fleetsim {
namespace {

constexpr double kOverlap = 4;  // power in which memory's and the kernel's seconds a byte add up

// The finest step of the search for a family's figures, as a share of each.
constexpr double kFirstStep = 0.4, kFinestStep = 0.001;

bool starts(const std::string& text, std::string_view with) { return text.starts_with(with); }

bool is_gemm(const std::string& family) {
  return starts(family, "gemm/") || starts(family, "experts/");
}
bool is_attention(const std::string& family) {
  return family.find("-attention/") != std::string::npos || starts(family, "latent-");
}
bool is_prefill(const std::string& family) {
  return starts(family, "prefill-attention/") || starts(family, "latent-prefill/");
}
bool is_collective(const std::string& family) {
  return starts(family, "all-") || starts(family, "reduce-scatter");
}

/// The tensor cores' format, and what the weights need besides.
struct FormatNeeds {
  NumberFormat math, weights;
};
std::optional<FormatNeeds> needs_of(const std::string& family) {
  if (is_attention(family)) return FormatNeeds{NumberFormat::bf16, NumberFormat::bf16};
  if (!is_gemm(family)) return std::nullopt;
  const std::string format = family.substr(family.find('/') + 1);
  if (format == "bf16") return FormatNeeds{NumberFormat::bf16, NumberFormat::bf16};
  if (format == "w4a16") return FormatNeeds{NumberFormat::bf16, NumberFormat::bf16};
  if (starts(format, "fp8")) return FormatNeeds{NumberFormat::fp8, NumberFormat::fp8};
  if (format == "nvfp4") return FormatNeeds{NumberFormat::fp4, NumberFormat::fp4};
  if (format == "w4a8") return FormatNeeds{NumberFormat::fp8, NumberFormat::fp4};
  if (format == "int8") return FormatNeeds{NumberFormat::int8, NumberFormat::int8};
  CHECK(false, "number format of " + family);
  return std::nullopt;
}

constexpr int kHopper = 90, kBlackwell = 100, kBlackwellWorkstation = 120;
constexpr std::string_view kFa3 = "/fa3/", kTrtllm = "/trtllm/";

/// Data-centre Blackwell runs TensorRT-LLM's attention where Hopper runs FlashAttention 3: the one
/// stands in for the other unless the source has the kernel itself.
void rename_for(OperatorFamily& family, const FittedGpu& from, const GpuSpec& to) {
  const std::size_t place = family.name.find(kFa3);
  if (place == std::string::npos || to.architecture_sm < kBlackwell ||
      to.architecture_sm >= kBlackwellWorkstation)
    return;
  std::string name = family.name;
  name.replace(place, kFa3.size(), kTrtllm);
  if (from.find(name) != nullptr) return;
  family.source += "; FlashAttention 3 in place of TensorRT-LLM's kernel";
  family.name = std::move(name);
}

/// Why the target cannot run the family; empty when it can.
std::string why_left_out(const OperatorFamily& family, const GpuSpec& to) {
  if (!family.transferred_from.empty())
    return fmt::format("transferred from {} itself", family.transferred_from);
  if (const auto needs = needs_of(family.name)) {
    for (const NumberFormat format : {needs->math, needs->weights})
      if (!to.has(format)) return fmt::format("{} has no {}", to.name, name_of(format));
  }
  if (is_attention(family.name)) {
    if (family.name.find("/kv1") != std::string::npos && !to.has(NumberFormat::fp8))
      return fmt::format("{} has no fp8", to.name);
    const bool fa3 = family.name.find(kFa3) != std::string::npos;
    if (fa3 && to.architecture_sm != kHopper)
      return "FlashAttention 3 runs on Hopper's instructions";
  }
  if (is_collective(family.name) && !to.nvlink_per_direction)
    return fmt::format("{} has no NVLink", to.name);
  return "";
}

double achieved_flops(const std::string& family, const GpuSpec& gpu) {
  const auto needs = needs_of(family);
  if (!needs) return 1;
  const double peak = gpu.dense_peak.at(needs->math).value;
  return peak *
         (is_attention(family) ? gpu.attention_efficiency : gpu.gemm_efficiency_at(needs->math));
}

/// The best that anything read from memory (kernels-and-cost-models §2.1).
double achieved_bandwidth(const GpuSpec& gpu) {
  return gpu.attention_bandwidth_share * gpu.memory_bandwidth.value;
}

double clocked_sms(const GpuSpec& gpu) { return gpu.sms * gpu.tensor_clock_hz; }

double byte_rate(double rate, const GpuSpec& from, const GpuSpec& to) {
  const double ceiling = achieved_bandwidth(from);
  if (rate >= ceiling) return rate * achieved_bandwidth(to) / ceiling;
  const double kernel = std::pow(rate, -kOverlap) - std::pow(ceiling, -kOverlap);
  const double clocks = clocked_sms(to) / clocked_sms(from);
  return std::pow(
      kernel * std::pow(clocks, -kOverlap) + std::pow(achieved_bandwidth(to), -kOverlap),
      -1 / kOverlap);
}

void scale_rates(OperatorFamily& family, const GpuSpec& from, const GpuSpec& to) {
  family.flops_per_second *= achieved_flops(family.name, to) / achieved_flops(family.name, from);
  if (const auto needs = needs_of(family.name))
    family.flop_limit *=
        to.dense_peak.at(needs->math).value / from.dense_peak.at(needs->math).value;
  if (is_collective(family.name)) {
    CHECK(from.nvlink_per_direction.has_value(), from.name);
    const double links = to.nvlink_per_direction->value / from.nvlink_per_direction->value;
    family.bytes_per_second *= links;
    family.byte_limit *= links;
  } else if (is_prefill(family.name)) {
    family.bytes_per_second *= clocked_sms(to) / clocked_sms(from);
    family.byte_limit *= to.memory_bandwidth.value / from.memory_bandwidth.value;
  } else if (family.bytes_per_second > 0) {
    family.bytes_per_second = byte_rate(family.bytes_per_second, from, to);
    family.byte_limit *= to.memory_bandwidth.value / from.memory_bandwidth.value;
  }
}

struct Point {
  OperatorWork work;
  double seconds = 0;
};

/// Rows by family, in their order; those with a flag left out, and where vLLM was measured those of
/// other engines, as fits do.
std::map<std::string, std::vector<Point>> points_by_family(
    const std::vector<MeasuredOperator>& rows) {
  const auto is_vllm = [](const MeasuredOperator& row) { return row.engine == "vllm"; };
  std::set<std::string> by_vllm;
  for (const MeasuredOperator& row : rows)
    if (row.flag == RowFlag::none && is_vllm(row)) by_vllm.insert(family_of(row.shape));
  std::map<std::string, std::vector<Point>> points;
  for (const MeasuredOperator& row : rows) {
    if (row.flag != RowFlag::none) continue;
    CHECK(row.seconds > 0, family_of(row.shape));
    const std::string family = family_of(row.shape);
    if (is_vllm(row) || by_vllm.count(family) == 0)
      points[family].push_back({work_of(row.shape), row.seconds});
  }
  return points;
}

double mean_ln_error(const OperatorFamily& family, const std::vector<Point>& points) {
  double sum = 0;
  for (const Point& point : points)
    sum += std::abs(std::log(family.time(point.work).time.value / point.seconds));
  return sum / static_cast<double>(points.size());
}

/// Floor and rates, each up and down by ever smaller shares while that helps.
void refit(OperatorFamily& family, const std::vector<Point>& anchors) {
  double best = mean_ln_error(family, anchors);
  for (double step = kFirstStep; step > kFinestStep; step /= 2) {
    bool better = true;
    while (better) {
      better = false;
      for (double* figure :
           {&family.floor_seconds, &family.flops_per_second, &family.bytes_per_second}) {
        for (const double factor : {1 + step, 1 / (1 + step)}) {
          const double before = *figure;
          *figure *= factor;
          const double error = mean_ln_error(family, anchors);
          if (error < best) {
            best = error;
            better = true;
          } else {
            *figure = before;
          }
        }
      }
    }
  }
}

/// The value that a share of the sorted `values` lies under, between its neighbours.
double quantile(std::vector<double> values, double share) {
  CHECK(!values.empty(), "no values");
  std::sort(values.begin(), values.end());
  const double place = share * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(place);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (values[high] - values[low]) * (place - static_cast<double>(low));
}

FamilyScore score_of(const OperatorFamily& family, const std::vector<Point>& points) {
  std::vector<double> errors, ratios;
  for (const Point& point : points) {
    ratios.push_back(family.time(point.work).time.value / point.seconds);
    errors.push_back(std::abs(ratios.back() - 1));
  }
  return {family.name, static_cast<std::int64_t>(points.size()), quantile(errors, 0.5),
          quantile(errors, 0.9), quantile(ratios, 0.5) - 1};
}

}  // namespace

Transfer transfer(const FittedGpu& from, const GpuSpec& from_gpu, const GpuSpec& to_gpu,
                  const std::vector<MeasuredOperator>& anchors) {
  CHECK(from.gpu == from_gpu.name, from.gpu + " is not " + from_gpu.name);
  const auto points = points_by_family(anchors);
  Transfer result;
  result.fitted.gpu = to_gpu.name;
  result.fitted.provenance =
      fmt::format("transferred from {} by the GPUs' ceilings{}; {}", from.gpu,
                  anchors.empty() ? "" : " and anchors measured on the target", from.provenance);
  for (OperatorFamily family : from.families) {
    rename_for(family, from, to_gpu);
    const std::string reason = why_left_out(family, to_gpu);
    if (!reason.empty()) {
      result.left_out.push_back({family.name, reason});
      continue;
    }
    family.transferred_from = from.gpu;
    family.quality = FitQuality{};
    scale_rates(family, from_gpu, to_gpu);
    const auto own = points.find(family.name);
    if (own != points.end() && static_cast<std::int64_t>(own->second.size()) >= kFewestAnchors) {
      refit(family, own->second);
      const FamilyScore reached = score_of(family, own->second);
      family.quality.rows = reached.rows;
      family.quality.median_error = reached.median_error;
      family.quality.p90_error = reached.p90_error;
    }
    round_as_in_file(family);
    result.fitted.families.push_back(std::move(family));
  }
  std::sort(result.fitted.families.begin(), result.fitted.families.end(),
            [](const OperatorFamily& a, const OperatorFamily& b) { return a.name < b.name; });
  return result;
}

std::vector<FamilyScore> score(const FittedGpu& fitted, const std::vector<MeasuredOperator>& rows) {
  std::vector<FamilyScore> scores;
  for (const auto& [name, points] : points_by_family(rows)) {
    const OperatorFamily* family = fitted.find(name);
    if (family != nullptr) scores.push_back(score_of(*family, points));
  }
  return scores;
}

}  // namespace fleetsim
