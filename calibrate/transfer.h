#pragma once
// Operator times of a GPU that nobody measured, from a fit of another one (kernels-and-cost-models
// §4.4): floors and surfaces are kept, rates follow the GPUs' own ceilings.

#include <cstdint>
#include <string>
#include <vector>

#include "calibrate/measured_table.h"
#include "hw_models/fitted_gpu.h"
#include "hw_models/gpu_spec.h"

namespace fleetsim {

/// A family needs this many anchors before its floor and rates are fitted to them.
inline constexpr std::int64_t kFewestAnchors = 40;

struct LeftOutFamily {
  std::string family, reason;
};

struct Transfer {
  FittedGpu fitted;                     // every family says transferred_from
  std::vector<LeftOutFamily> left_out;  // ascending in family
};

/// `from` was fitted on `from_gpu`. Rates change so:
///   FLOP rates  as the formats' achieved ceilings (dense peak x share that large GEMMs or
///               attention reach, GpuSpec);
///   byte rates  a rate near the source's memory ceiling is the memory's and follows it, one far
///               below is the kernel's and follows SMs x clock; between them the fourth powers of
///               seconds a byte add up. Prompts follow SMs x clock alone: what little of their time
///               goes with bytes is rows of tiles, not the memory;
///   links       as NVLink.
/// On data-centre Blackwell FlashAttention 3 stands in for TensorRT-LLM's kernels where the source
/// has none of these.
/// Left out: number formats and instructions that the target lacks, collectives without NVLink, and
/// what was itself transferred. `anchors`: measured rows of the target, those with a flag ignored;
/// a family with kFewestAnchors or more of them gets its floor and rates from them (least mean
/// |ln(predicted/measured)|, surface kept) and their number and errors as its quality. Others have
/// no quality: nobody measured them.
Transfer transfer(const FittedGpu& from, const GpuSpec& from_gpu, const GpuSpec& to_gpu,
                  const std::vector<MeasuredOperator>& anchors = {});

/// Errors of a fit on measured rows, by family; |predicted / measured - 1| as shares.
struct FamilyScore {
  std::string family;
  std::int64_t rows = 0;
  double median_error = 0, p90_error = 0;
  double bias = 0;  // median of predicted / measured, less 1
};
/// Ascending in family. Rows with a flag, and rows whose family was not fitted, are left out.
std::vector<FamilyScore> score(const FittedGpu& fitted, const std::vector<MeasuredOperator>& rows);

}  // namespace fleetsim
