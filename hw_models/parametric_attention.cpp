// Rates of fa2 and naive attention, with where they come from.

#include "hw_models/parametric_attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "hw_models/attention_work.h"
#include "hw_models/check.h"

namespace fleetsim {
namespace {

// FlashAttention 2, forward, causal, 16 bits, width 128, on H100 by sequence length (figure in
// FlashAttention-3's repository, kernels-and-cost-models §2.3): TFLOP/s as shares of the best, 335.
constexpr std::array<std::pair<double, double>, 6> kFa2ByLength = {{{512, 191.0 / 335},
                                                                    {1024, 260.0 / 335},
                                                                    {2048, 298.0 / 335},
                                                                    {4096, 319.0 / 335},
                                                                    {8192, 333.0 / 335},
                                                                    {16384, 1.0}}};
constexpr double kFa2TileRows = 128;
// mma.sync, which FA2 runs on, does per SM and clock on Hopper: 335 TF / (132 SMs x 1.83 GHz).
// Later data-centre chips still have it beside their own instructions; taken to be no faster there.
constexpr double kFa2FlopsPerClockPerSm = 335e12 / (132 * 1.83e9);
// Ampere's and Ada's tensor cores are mma.sync: A100 176 of 312 TF, L40S 210 of 362.
constexpr double kFa2ShareOfPeak = 0.56;
constexpr int kHopper = 90, kBlackwellWorkstation = 120;

// A100, vLLM, KV bf16 (kernels-and-cost-models §2.4): 20 us at one request of 1k, 343 us at 128 of
// 1k, 107 us at one of 32k; 20 us + bytes at 77 % of 2039 GB/s is within 15 % of all seven rows
// there.
constexpr double kFa2DecodeFloor = 20e-6, kFa2BandwidthShare = 0.77;

// Copies on an H200 move 4.3 of 4.8 TB/s (kernels-and-cost-models §2.1).
constexpr double kCopyShare = 0.9;
// Repeating keys and values, two products, scale, mask, softmax, rounding.
constexpr double kNaiveKernels = 8;

double fa2_flops_per_second(const GpuSpec& gpu) {
  const bool mma_sync_is_second =
      gpu.architecture_sm >= kHopper && gpu.architecture_sm < kBlackwellWorkstation;
  if (mma_sync_is_second) return kFa2FlopsPerClockPerSm * gpu.sms * gpu.tensor_clock_hz;
  return kFa2ShareOfPeak * gpu.dense_peak.at(NumberFormat::bf16).value;
}

/// Seconds of a call with `longest` and `rows` as its coordinates, over the seconds that floor and
/// work say: shorter sequences are slower, and fewer row tiles than SMs take as long as the
/// longest.
LogSurface fa2_prefill_surface(const OperatorFamily& family, double head_dim, const GpuSpec& gpu) {
  LogSurface::Axis longest{"longest", {}}, rows{"rows", {}};
  for (const auto& [length, share] : kFa2ByLength) longest.knots.push_back(length);
  // a prompt's work is half of all row tiles as long as the longest: full with two tiles an SM
  const double full = 2 * gpu.sms * kFa2TileRows;
  for (double knot = kFa2TileRows; knot < full; knot *= 2) rows.knots.push_back(knot);
  // beyond, the floor goes on losing weight
  for (const double more : {1.0, 4.0, 16.0, 64.0}) rows.knots.push_back(more * full);
  std::vector<double> ln_factor;
  for (const auto& [length, share] : kFa2ByLength) {
    for (const double row_count : rows.knots) {
      const double flops = 2 * head_dim * row_count * (length + 1);
      const double work = flops / family.flops_per_second;
      const double seconds = family.floor_seconds + work / share * std::max(1.0, full / row_count);
      ln_factor.push_back(std::log(seconds / (family.floor_seconds + work)));
    }
  }
  std::vector<char> measured(ln_factor.size(), 1);
  return LogSurface({std::move(longest), std::move(rows)}, std::move(ln_factor),
                    std::move(measured));
}

OperatorFamily naive_family(const std::string& name, const GpuSpec& gpu) {
  OperatorFamily family;
  family.name = name;
  family.source =
      "scores in memory as in Hugging Face's eager attention; rates of large GEMMs and copies";
  family.floor_seconds = kNaiveKernels * gpu.gemm_floor.value;
  family.flops_per_second = gpu.gemm_efficiency * gpu.dense_peak.at(NumberFormat::bf16).value;
  family.bytes_per_second = kCopyShare * gpu.memory_bandwidth.value;
  return family;
}

}  // namespace

OperatorFamily parametric_attention(const PrefillAttentionShape& shape, const GpuSpec& gpu) {
  if (shape.backend == AttentionBackend::naive) return naive_family(family_of(shape), gpu);
  CHECK(shape.backend == AttentionBackend::fa2, family_of(shape));
  OperatorFamily family;
  family.name = family_of(shape);
  family.source =
      "FlashAttention 2 on H100 by length (FlashAttention-3's figures), A100 and L40S shares of "
      "the peak";
  family.floor_seconds = gpu.attention_floor.value;
  family.flops_per_second = fa2_flops_per_second(gpu);
  family.bytes_per_second = kFa2BandwidthShare * gpu.memory_bandwidth.value;
  // a window evens the rows of tiles out, and decodes among the chunks fill the SMs
  if (!shape.windowed && shape.decodes == 0)
    family.surface = fa2_prefill_surface(family, shape.head_dim, gpu);
  return family;
}

OperatorFamily parametric_attention(const DecodeAttentionShape& shape, const GpuSpec& gpu) {
  if (shape.backend == AttentionBackend::naive) return naive_family(family_of(shape), gpu);
  CHECK(shape.backend == AttentionBackend::fa2, family_of(shape));
  OperatorFamily family;
  family.name = family_of(shape);
  family.source =
      "FlashAttention 2 on A100 (AIConfigurator's tables): floor and share of bandwidth";
  family.floor_seconds = kFa2DecodeFloor;
  family.flops_per_second = fa2_flops_per_second(gpu);
  family.bytes_per_second = kFa2BandwidthShare * gpu.memory_bandwidth.value;
  return family;
}

}  // namespace fleetsim
