#pragma once
// Measured operators of one GPU become fitted families (hw_models/fitted_gpu.h).

#include <cstdint>
#include <string>
#include <vector>

#include "calibrate/measured_table.h"
#include "hw_models/fitted_gpu.h"
#include "hw_models/gpu_spec.h"

namespace fleetsim {

/// One row as fits see it.
struct FitRow {
  OperatorShape shape;
  OperatorWork work;
  double seconds = 0;
};

/// What the base form of a family is: the floor and the two rates of OperatorFamily.
struct BaseForm {
  double floor_seconds = 0, flops_per_second = 0, bytes_per_second = 0;
};
/// What the datasheet allows a family on this GPU; 0 where it states nothing.
struct RateLimits {
  double flops_per_second = 0, bytes_per_second = 0;
  double datasheet_bytes_per_second = 0;
  bool bytes_are_known = false;  // bytes_per_second is the rate itself, not a limit
};
RateLimits rate_limits(const OperatorShape& shape, const GpuSpec& gpu);

/// Least squares on the relative error with less weight on outliers; a term is the larger of
/// compute and memory, so rows change sides until none does. No rate above its limit. CHECKs that
/// there are rows.
BaseForm fit_base(const std::vector<FitRow>& rows, const RateLimits& limits);

/// Of every five sites (by a hash of what makes one) the first is kept out to score the fit: GEMM:
/// (n, k); experts: (hidden, experts, experts_per_token); attention: heads; collectives: bytes.
bool is_held_out(const OperatorShape& shape);

/// A row beside what a fit says of it that has seen no row of its site.
struct KeptOutRow {
  OperatorShape shape;
  double measured_seconds = 0, predicted_seconds = 0;
};
/// What is kept out of fits to score them: the sites of is_held_out; or, one after the other, every
/// fold of sites, so that each row is scored once by a fit that has not seen its site.
enum class KeptOut { held_out, every_fold };
inline constexpr std::int64_t kFolds = 5;  // fewer where a family has fewer sites: one each

struct FittedFamily {
  OperatorFamily family;
  std::int64_t sites = 0;                  // distinct ones among the rows of the fit
  std::vector<KeptOutRow> kept_out;        // by fold, in the order of the rows
  std::int64_t rows_of_other_kernels = 0;  // not what the engine runs on this GPU
  std::int64_t rows_off_grid = 0;          // beyond the knots
  std::string skewed;                      // how experts with skewed routing are met, in words
};
/// Base form, surface and quality of rows of one family. Experts are fitted to balanced routing:
/// skew enters through the work of the busiest GPU, and rows with it only score that. CHECKs that
/// rows are left.
FittedFamily fit_family(const std::string& name, const std::vector<FitRow>& rows,
                        const RateLimits& limits, KeptOut kept_out = KeptOut::held_out);

struct GpuFit {
  FittedGpu fitted;
  std::vector<FittedFamily> families;     // measured ones, as in `fitted`
  std::vector<std::string> too_few_rows;  // families that got no fit
};
/// Fits every family that the tables hold at least kLeastRows sound rows of, from the kernel that
/// an engine runs by default on this GPU (vLLM's where it was measured). Adds the families that no
/// table holds and every iteration needs by published rates: gemm/int8, gemm/w4a16, elementwise.
/// The same for any order of rows. CHECKs that the tables are of this GPU.
GpuFit fit_gpu(const GpuSpec& gpu, const std::vector<MeasuredTable>& tables,
               KeptOut kept_out = KeptOut::held_out);
inline constexpr std::int64_t kLeastRows = 10;

/// A table of families for people: rows, floor, rates, errors. Ends with a line end.
std::string fit_report(const GpuFit& fit);

}  // namespace fleetsim
