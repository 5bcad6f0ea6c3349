#pragma once
// The operator times of one GPU as fitted to measurements (fitted/*.yaml, written by
// `fleetsim calibrate fit`): t = (floor + max(flops / flop rate, bytes / byte rate)) x factor, the
// factor from a smooth surface over the family's coordinates (kernels-and-cost-models §4.2).

#include <cstdint>
#include <string>
#include <vector>

#include "hw_models/log_surface.h"
#include "hw_models/operator_shapes.h"
#include "hw_models/units.h"

namespace fleetsim {

/// Where a predicted time comes from, best first. measured: at a knot that measurements stand
/// behind; interpolated: between such knots; extrapolated: outside them; transferred: from another
/// GPU's surface; parametric: no surface, published rates alone; roofline: the GPU's datasheet.
enum class Provenance { measured, interpolated, extrapolated, transferred, parametric, roofline };
const char* name_of(Provenance provenance);

struct OperatorTime {
  Seconds time;
  Provenance provenance = Provenance::roofline;
};

/// How well a family's fit reproduces measurements; shares of the measured time.
struct FitQuality {
  std::int64_t rows = 0;                   // that the fit used
  double median_error = 0, p90_error = 0;  // |predicted / measured - 1| of those rows
  std::int64_t held_out_rows = 0;          // scored by a fit that had not seen them
  double held_out_median_error = 0, held_out_p90_error = 0;
  std::string held_out;  // what was kept out: "every fifth (N, K) site"
};

struct OperatorFamily {
  std::string name;              // family_of()
  std::string source;            // one line: whose measurements, on what software
  std::string transferred_from;  // GPU, or empty
  double floor_seconds = 0;      // launch and latency of an empty call
  double flops_per_second = 0;   // 0: this term does not count
  double bytes_per_second = 0;   // 0: this term does not count
  // What the datasheet allows: no time is under flops / flop_limit or bytes / byte_limit. 0: none.
  double flop_limit = 0, byte_limit = 0;
  LogSurface surface;
  FitQuality quality;

  OperatorTime time(const OperatorWork& work) const;
  /// floor + max(flops / flop rate, bytes / byte rate), without the surface.
  double base_seconds(const OperatorWork& work) const;
};

class FittedGpu {
 public:
  std::string gpu;                       // canonical name
  std::string provenance;                // what was fitted, when, with which version of the schema
  std::vector<OperatorFamily> families;  // ascending in name

  /// nullptr when no such family was fitted.
  const OperatorFamily* find(const std::string& family) const;
};

/// The fit that is linked into the program, by canonical GPU name; nullptr when there is none. Read
/// when first asked for, also from several threads; lives as long as the program.
const FittedGpu* find_fitted(const std::string& gpu);
/// All of them, ascending in name.
const std::vector<FittedGpu>& fitted_gpus();

}  // namespace fleetsim
