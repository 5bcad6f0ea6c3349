#include "kernels/measure/measure_on_gpu.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <new>

#include "kernels/device/device_memory.h"
#include "kernels/measure/operator_points.h"

namespace fleetsim::kernels {
namespace {

constexpr double kArenaShare = 0.85;  // of free memory: libraries load their code behind it
constexpr std::size_t kCanaryCopyBytes = 1'000'000'000;
// two ends of the copy, and sets of three 4096 x 4096 matrices in bf16 as rotation asks for them
constexpr std::size_t kCanaryBytes = 2 * kCanaryCopyBytes + 600'000'000;

/// The canary sees the GPU under load: what ran before, busy or idle, has left its clocks and power
/// limit where they were. An eighth of a second of warm-up each, then 50 ms of samples.
TimingRule canary_rule() {
  TimingRule rule;
  rule.warmups = 10'000;  // until a quarter of point_ns_max is spent
  rule.samples_enough = 1000;
  rule.sampled_ns_enough = 50'000'000;
  return rule;
}

std::size_t free_bytes() {
  std::size_t free = 0, total = 0;
  CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return free;
}

std::string number_text(double value) {
  char text[32];
  const auto [end, error] =
      std::to_chars(text, text + sizeof text, value, std::chars_format::general, 3);
  CHECK(error == std::errc());
  return std::string(text, end);
}

/// A point's inputs depend on the run's seed and on the point alone, not on what ran before.
std::uint64_t seed_of(const Point& point, std::uint64_t run_seed) {
  std::uint64_t key = 0xcbf29ce484222325ULL ^ run_seed;
  for (const char c : point.text())  // FNV-1a, 64 bits
    key = (key ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return key;
}

const PointFamily& family_of(const Point& point) {
  for (const PointFamily& family : point_families())
    if (point.op() == family.op) return family;
  CHECK(false, "no function prepares points of " + point.op());
  throw DeviceLost("unreachable");
}

PreparedPoint canary_gemm(Arena& arena, std::uint64_t seed) {
  return prepare_gemm(
      sound_point(
          "gemm",
          {{"dtype", "bf16"}, {"m", "4096"}, {"n", "4096"}, {"k", "4096"}, {"algo", "top"}}),
      arena, seed);
}

PreparedPoint canary_copy(Arena& arena, std::uint64_t seed) {
  return prepare_ceiling(
      sound_point("ceiling",
                  {{"kind", "copy"}, {"bytes", std::to_string(kCanaryCopyBytes)}, {"edge", "0"}}),
      arena, seed);
}

/// True while the device still does work for this process; forgets an error that it survived.
bool device_alive() {
  const bool alive = cudaDeviceSynchronize() == cudaSuccess;
  cudaGetLastError();
  return alive;
}

}  // namespace

MeasureOnGpu::MeasureOnGpu(std::uint64_t seed, const GpuClocks& clocks)
    : seed_(seed),
      clocks_(clocks),
      canary_arena_(kCanaryBytes),
      canary_gemm_(canary_gemm(canary_arena_, seed)),
      canary_copy_(canary_copy(canary_arena_, seed)),
      arena_(static_cast<std::size_t>(kArenaShare * static_cast<double>(free_bytes()))) {
  device_synchronize();
}

double MeasureOnGpu::time_of(const PreparedPoint& prepared) {
  GpuReplays replays(prepared, stream_.get());
  return static_cast<double>(time_replays(replays.replays(), canary_rule()).median_ns);
}

CanaryReading MeasureOnGpu::canary() {
  try {
    const double gemm_ns = time_of(canary_gemm_);
    return {gemm_ns, time_of(canary_copy_)};
  } catch (const CudaError& error) {
    throw DeviceLost(std::string("in the canary: ") + error.what());
  }
}

Outcome MeasureOnGpu::measured(const Point& point) {
  arena_.reset();
  const std::uint64_t seed = seed_of(point, seed_);
  const PreparedPoint prepared = family_of(point).prepare(point, arena_, seed);
  device_synchronize();  // operands are made on other streams
  const double error = prepared.check_error();
  device_synchronize();
  if (!(error <= prepared.error_limit))
    return {Outcome::Kind::failed, std::nullopt,
            "error " + (std::isfinite(error) ? number_text(error) : "without bounds") + " where " +
                number_text(prepared.error_limit) + " is allowed (seed " + std::to_string(seed) +
                ")"};

  const TimingRule rule;
  GpuReplays replays(prepared, stream_.get());
  const Timing timing = time_replays(replays.replays(), rule);
  MeasuredRow row;
  row.point = point;
  const std::size_t touched = std::min(arena_.used_bytes(), prepared.bytes_touched);
  row.l2 = touched >= rotated_bytes_min() ? L2State::cold : L2State::warm;
  row.median_ns = timing.median_ns, row.p10_ns = timing.p10_ns, row.p90_ns = timing.p90_ns;
  row.n = timing.samples;
  row.check_err = error;
  row.noisy = timing.noise() > rule.noise_max;
  row.note = prepared.note;
  replays.issue();  // a clock is read while the point runs, not in the pause behind it
  row.clock_mhz = clocks_.sm_mhz();
  device_synchronize();
  return {Outcome::Kind::measured, row, ""};
}

Outcome MeasureOnGpu::point(const Point& point) {
  std::string text;
  try {
    return measured(point);
  } catch (const ArenaFull& full) {
    return {Outcome::Kind::skipped, std::nullopt, full.what()};
  } catch (const NotSupportedHere& refusal) {
    return {Outcome::Kind::skipped, std::nullopt, refusal.what()};
  } catch (const std::bad_alloc&) {
    return {Outcome::Kind::skipped, std::nullopt, "the host has not enough memory"};
  } catch (const CudaError& error) {
    text = error.what();
  } catch (const InternalError& error) {
    text = error.what();
  }
  if (!device_alive()) throw DeviceLost(point.text() + ": " + text);
  return {Outcome::Kind::failed, std::nullopt, text};
}

}  // namespace fleetsim::kernels
