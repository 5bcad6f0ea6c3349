// The GPU catalogue: complete, sourced, and consistent with itself.

#include "hw_models/gpu_spec.h"

#include <cmath>
#include <set>

#include "tests/catch.h"

using namespace fleetsim;

TEST_CASE("every GPU that scenarios and the end-to-end data name is built in", "[unit]") {
  CHECK(gpu_names() == std::vector<std::string>{"a10", "a100-80gb-sxm", "b200-sxm", "b300-sxm",
                                                "gb200", "gb300", "h100-sxm", "h200-nvl",
                                                "h200-sxm", "l40s", "rtx-pro-6000", "rtx4090",
                                                "rtx5090"});
}

TEST_CASE("SMs x FLOP per clock x clock is the bf16 peak", "[unit]") {
  for (const GpuSpec& gpu : gpu_catalogue()) {
    const double product = gpu.sms * gpu.bf16_flops_per_clock_per_sm * gpu.tensor_clock_hz;
    INFO(gpu.name << " " << product / 1e12);
    CHECK(product == Approx(gpu.dense_peak.at(NumberFormat::bf16).value).epsilon(0.001));
  }
}

TEST_CASE("every figure has a source", "[unit]") {
  for (const GpuSpec& gpu : gpu_catalogue()) {
    CHECK(gpu.sources.size() >= 20);
    for (const auto& [field, source] : gpu.sources) {
      INFO(gpu.name << " " << field);
      CHECK(source.size() > 5);
    }
    for (const auto& [format, peak] : gpu.dense_peak)
      CHECK(gpu.sources.count(std::string("dense_peak.") + name_of(format)) == 1);
  }
}

TEST_CASE("names and short forms are unambiguous", "[unit]") {
  std::set<std::string> seen;
  for (const GpuSpec& gpu : gpu_catalogue()) {
    CHECK(seen.insert(gpu.name).second);
    for (const std::string& alias : gpu.aliases) {
      INFO(alias);
      CHECK(seen.insert(alias).second);
      CHECK(find_gpu(alias) == &gpu);
    }
  }
  CHECK(find_gpu("h200")->name == "h200-sxm");
  CHECK(find_gpu("a100")->name == "a100-80gb-sxm");
  CHECK(find_gpu("4090")->name == "rtx4090");
  CHECK(find_gpu("h201") == nullptr);
}

TEST_CASE("the limits are those of the table in kernels-and-cost-models §1", "[unit]") {
  const GpuSpec& h200 = *find_gpu("h200");
  CHECK(h200.memory_bandwidth.value == 4800e9);
  CHECK(h200.memory_reported.value == 143771ll * 1048576);
  CHECK_FALSE(h200.memory_reported_is_nominal);
  CHECK(h200.nvlink_per_direction->value == 450e9);
  CHECK(h200.gemm_floor.value == Approx(2.4e-6));
  const GpuSpec& h100 = *find_gpu("h100");
  CHECK(h100.memory_reported.value == 81090ll * 1048576);  // 79.19 GiB
  CHECK_FALSE(h100.memory_reported_is_nominal);
  CHECK(find_gpu("l40s")->memory_reported.value == 48000000000);
  CHECK(find_gpu("l40s")->memory_reported_is_nominal);
  CHECK(h100.dense_peak.at(NumberFormat::fp8).value == 1979e12);
  CHECK_FALSE(h100.has(NumberFormat::fp4));
  CHECK_FALSE(find_gpu("a100")->has(NumberFormat::fp8));
  CHECK_FALSE(find_gpu("l40s")->nvlink_per_direction.has_value());
  CHECK(find_gpu("b200")->dense_peak.at(NumberFormat::fp4).value == 9000e12);
  // Ridge points in bf16, FLOP per byte.
  const auto ridge = [](const char* name) {
    const GpuSpec& gpu = *find_gpu(name);
    return std::lround(gpu.dense_peak.at(NumberFormat::bf16).value / gpu.memory_bandwidth.value);
  };
  CHECK(ridge("a100") == 153);
  CHECK(ridge("h100") == 295);
  CHECK(ridge("h200") == 206);
  CHECK(ridge("b200") == 292);
  CHECK(ridge("l40s") == 419);
  CHECK(ridge("rtx5090") == 117);
  CHECK(ridge("a10") == 208);
}

TEST_CASE("achieved shares are shares, and never above the ceilings seen", "[unit]") {
  for (const GpuSpec& gpu : gpu_catalogue()) {
    INFO(gpu.name);
    for (const double share :
         {gpu.gemm_efficiency, gpu.gemm_bandwidth_share, gpu.attention_bandwidth_share,
          gpu.attention_bandwidth_share_fp8, gpu.attention_efficiency}) {
      CHECK(share > 0.3);
      CHECK(share <= 0.95);
    }
    CHECK(gpu.gemm_bandwidth_share <= gpu.attention_bandwidth_share);
    for (const auto& [format, share] : gpu.gemm_efficiency_by_format)
      CHECK(share < gpu.gemm_efficiency);
  }
  CHECK(find_gpu("h200")->gemm_efficiency_at(NumberFormat::fp8) == 0.62);
  CHECK(find_gpu("h200")->gemm_efficiency_at(NumberFormat::bf16) == 0.80);
}

TEST_CASE("number formats have the documented sizes", "[unit]") {
  CHECK(weight_bytes(NumberFormat::int4) == 0.5 + 2.5 / 128);
  CHECK(weight_bytes(NumberFormat::fp4) == 0.5625);
  CHECK(weight_bytes(NumberFormat::bf16) == 2);
  CHECK(element_bytes(NumberFormat::fp32) == 4);
  for (const std::string& name : number_format_names())
    CHECK(name_of(*number_format_named(name)) == name);
  CHECK_FALSE(number_format_named("fp6").has_value());
}
