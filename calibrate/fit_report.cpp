// What a fit is worth, a line a family.

#include <fmt/format.h>

#include <iterator>

#include "calibrate/operator_fit.h"

namespace fleetsim {
namespace {

std::string share_text(double share) { return fmt::format("{:.1f}%", 100 * share); }

std::string rate_text(double rate, double unit) {
  return rate > 0 ? fmt::format("{:.0f}", rate / unit) : "-";
}

}  // namespace

std::string fit_report(const GpuFit& fit) {
  fmt::memory_buffer text;
  const auto out = std::back_inserter(text);
  fmt::format_to(out, "{}\n{:<36} {:>7} {:>9} {:>8} {:>7} {:>7} {:>7} {:>7}   {:>7} {:>7} {:>7}\n",
                 fit.fitted.gpu, "family", "rows", "floor us", "TFLOP/s", "GB/s", "knots", "median",
                 "p90", "unseen", "median", "p90");
  std::int64_t other = 0, off = 0;
  for (const OperatorFamily& family : fit.fitted.families) {
    const FitQuality& quality = family.quality;
    fmt::format_to(out, "{:<36} {:>7} {:>9.3g} {:>8} {:>7} {:>7}", family.name, quality.rows,
                   family.floor_seconds * 1e6, rate_text(family.flops_per_second, 1e12),
                   rate_text(family.bytes_per_second, 1e9), family.surface.ln_factor().size());
    if (quality.rows == 0) {
      fmt::format_to(out, "   {}\n", family.source);
      continue;
    }
    const bool blind = quality.held_out_rows > 0;
    fmt::format_to(out, " {:>7} {:>7}   {:>7} {:>7} {:>7}\n", share_text(quality.median_error),
                   share_text(quality.p90_error), quality.held_out_rows,
                   blind ? share_text(quality.held_out_median_error) : "-",
                   blind ? share_text(quality.held_out_p90_error) : "-");
  }
  for (const FittedFamily& family : fit.families) {
    other += family.rows_of_other_kernels;
    off += family.rows_off_grid;
  }
  fmt::format_to(out,
                 "left out: {} rows of kernels that the engine does not run here, {} beyond the "
                 "knots\n",
                 other, off);
  for (const std::string& name : fit.too_few_rows)
    fmt::format_to(out, "not fitted: {} (fewer than {} sound rows)\n", name, kLeastRows);
  return fmt::to_string(text);
}

}  // namespace fleetsim
