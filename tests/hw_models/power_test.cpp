// Power between its three figures, and every GPU has them.

#include "hw_models/power.h"

#include "tests/catch.h"

using namespace fleetsim;

TEST_CASE("power is idle without work, and the file's figures where memory or arithmetic binds",
          "[unit]") {
  const GpuSpec& gpu = *find_gpu("h200");
  const PowerLaw law = *power_law(gpu, {});
  const double flops = gpu.gemm_efficiency * gpu.dense_peak.at(NumberFormat::bf16).value;
  const double bytes = gpu.attention_bandwidth_share * gpu.memory_bandwidth.value;
  CHECK(law.watts({0}, {0}, 0) == 80);
  CHECK(law.watts({0}, {bytes}, 1) == Approx(520).epsilon(1e-12));
  CHECK(law.watts({flops}, {0}, 1) == Approx(700).epsilon(1e-12));
}

TEST_CASE("power never exceeds the limit, and only busy time draws above idle", "[unit]") {
  const GpuSpec& gpu = *find_gpu("h200");
  const PowerLaw law = *power_law(gpu, {});
  const FlopsPerSecond flops = gpu.dense_peak.at(NumberFormat::bf16);
  CHECK(law.watts(flops, gpu.memory_bandwidth, 1) == Approx(700).epsilon(1e-12));
  CHECK(law.watts(flops, gpu.memory_bandwidth, 0.25) == Approx(80 + 0.25 * 620).epsilon(1e-12));
  CHECK(law.watts({flops.value / 10}, {0}, 1) < 200);
}

TEST_CASE("a FLOP in fp8 takes less than one in bf16; a byte takes the same", "[unit]") {
  const GpuSpec& gpu = *find_gpu("h100");
  Precision fp8;
  fp8.weights = fp8.activations = NumberFormat::fp8;
  const PowerLaw half = *power_law(gpu, fp8), whole = *power_law(gpu, {});
  CHECK(half.joules_per_flop < 0.8 * whole.joules_per_flop);
  CHECK(half.joules_per_byte == whole.joules_per_byte);
}

TEST_CASE("figures of power ascend, stay below the limit and have sources", "[unit]") {
  for (const GpuSpec& gpu : gpu_catalogue()) {
    INFO(gpu.name);
    REQUIRE(gpu.power.has_value());
    CHECK(gpu.power->idle_watts < 0.2 * gpu.tdp_watts);
    CHECK(gpu.power->memory_bound_watts > 0.6 * gpu.tdp_watts);
    CHECK(gpu.power->compute_bound_watts <= gpu.tdp_watts);
    for (const char* figure : {"power.idle", "power.memory_bound", "power.compute_bound"})
      CHECK(gpu.sources.count(figure) == 1);
  }
}

TEST_CASE("without figures of power there is no law", "[unit]") {
  GpuSpec gpu = *find_gpu("h100");
  gpu.power.reset();
  CHECK_FALSE(power_law(gpu, {}).has_value());
}
